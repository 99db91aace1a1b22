"""A rule that takes numbers: the loss, and one of its own."""

import pytest
import torch

import ravine
from ravine.words import total

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])


class Polyak(ravine.Optimizer):
    """p ← p − (f − f*) / ‖g‖² g, with f* = least."""

    def update(self, s, p, g, t, loss, least):
        return p - (loss - least) / total(g**2) * g


def opened(**hyper):
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    p.grad = 2 * p.detach()  # of ‖p‖² = 25
    return p, Polyak([p], **hyper)


@BACKENDS
def test_numbers_are_given_by_the_call(backend):
    p, opt = opened(backend=backend)
    assert opt.step(loss=25.0, least=torch.tensor(5.0)) == 25.0
    assert torch.allclose(p, torch.tensor([3.0, 4.0]) * (1 - 2 * 20 / 100))


@BACKENDS
def test_a_closure_gives_the_loss_and_a_source_the_rest(backend):
    class Known(ravine.sources.Source):
        gives = ("least",)

        def give(self, wanted):
            return {"least": 5.0}

    p, opt = opened(backend=backend, sources=[Known()])
    opt.step(lambda: torch.tensor(25.0))
    assert torch.allclose(p, torch.tensor([3.0, 4.0]) * 0.6)


def test_what_nobody_gives_and_what_nobody_takes_is_said():
    p, opt = opened()
    with pytest.raises(TypeError, match=r"Polyak needs the least: call step\(least=least\)"):
        opt.step(loss=25.0)
    with pytest.raises(TypeError, match=r"Polyak: step\(\) takes no 'least_loss'; it takes loss, least"):
        opt.step(loss=25.0, least_loss=5.0)
    with pytest.raises(TypeError, match=r"SGD: step\(\) takes no 'h'; it takes nothing, and the loss"):
        ravine.SGD([p]).step(h={p: p})
    assert p.tolist() == [3.0, 4.0] and not opt.state
