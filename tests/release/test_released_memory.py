"""The gradients of a released model are never all alive."""

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from two_models import batch, mlp

import ravine
from ravine.mods import ClipNorm


class Watch(TorchDispatchMode):
    """Counts the bytes that are alive of all that torch makes, at the moment when they are most."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        old = [StorageWeakRef(x.untyped_storage()) for x in tree_leaves(args) if isinstance(x, torch.Tensor)]
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and (made := StorageWeakRef(x.untyped_storage())) not in old:
                self.alive[made] = x.untyped_storage().nbytes()
        self.alive = {x: size for x, size in self.alive.items() if not x.expired()}
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def peak(model, opt, released, t):
    """The most bytes that are alive of what a backward and a step make, in units of all gradients together."""
    loss = model(batch(t, 64)).square().sum()
    with Watch() as watch:
        if released and released.exact:
            released.measure(loss)
        loss.backward()
        opt.step()
    opt.zero_grad()
    return watch.peak / sum(p.numel() * p.element_size() for p in model.parameters())


@pytest.mark.parametrize("exact", [False, True])
def test_gradients_are_never_all_alive(exact):
    model = mlp(depth=40, width=64)
    opt = ravine.AdamW(model.parameters(), mods=[ClipNorm(1.0)])
    assert [peak(model, opt, None, t) > 1 for t in range(2)] == [True, True]
    released = ravine.release(model, opt, exact=exact)
    later = [peak(model, opt, released, t) for t in range(2, 5)]
    assert max(later) < 2 / 40, later  # the gradients of less than two layers out of forty
