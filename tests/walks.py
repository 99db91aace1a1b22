"""What tests of strategies and of local steps walk over: parameters, slopes that depend on place, step and worker."""

import io

import torch
from torch import nn

SHAPES = [(6, 4), (5,), ()]


def start(dtype=torch.float64, shapes=SHAPES, seed=3):
    made = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=made, dtype=torch.float64).to(dtype)) for s in shapes]


def slope(p, t, worker=0):
    """The gradient of a bowl and of a wave that moves, and is another's for each worker."""
    return torch.cos(3 * p.detach() + 0.7 * t + 1.3 * worker) + 0.5 * p.detach()


def give(params, t, worker=0):
    for p in params:
        p.grad = slope(p, t, worker)


def walk(opt, params, steps, first=0, worker=0):
    for t in range(first, first + steps):
        give(params, t, worker)
        opt.step()
    return params


def closure_at(opt, params, t):
    """As users write it: the loss and its gradients, added to what is there."""

    def closure():
        loss = sum((torch.sin(3 * p + 0.7 * t) / 3 + 0.25 * p**2).sum() for p in params)
        loss.backward()
        return loss

    return closure


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def near(ours, theirs, tolerance=1e-12):
    for p, q in zip(ours, theirs, strict=True):
        gap = (p.detach() - q.detach()).abs().max()
        assert gap <= tolerance, f"{float(gap):.2e} apart"


def equal(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q), f"{float((p.detach() - q.detach()).abs().max()):.2e} apart"


def copy(ours, theirs):
    with torch.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(q)
