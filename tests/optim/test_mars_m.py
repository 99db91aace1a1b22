"""MARS-M: Muon of corrected gradients."""

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import Experts

F64 = torch.float64


def gradients(shape, count=5, seed=0, size=0.01):
    made = torch.Generator().manual_seed(seed)
    return [size * torch.randn(shape, generator=made, dtype=F64) for _ in range(count)]


def walk(cls, shape, grads, in_place=False, **hyper):
    p = nn.Parameter(torch.zeros(shape, dtype=F64))
    opt = cls([p], **hyper)
    for g in grads:
        if in_place and p.grad is not None:
            p.grad.copy_(g)
        else:
            p.grad = g.clone()
        opt.step()
    return p.detach()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_without_correction_and_clip_it_is_muon_in_moonlights_form(shape):
    hyper = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9, "polynomials": "modula"}
    mine = walk(ravine.MARSM, shape, gradients(shape), gamma=0.0, **hyper)
    muon = walk(ravine.Muon, shape, gradients(shape), nesterov=False, adjust_lr_fn="match_rms_adamw", **hyper)
    torch.testing.assert_close(mine, muon, rtol=1e-10, atol=1e-10)


def test_its_momentum_is_that_of_mars():
    shape, states = (6, 4), []
    for cls, hyper in ((ravine.MARS, {"betas": (0.9, 0.99)}), (ravine.MARSM, {"momentum": 0.9})):
        p = nn.Parameter(torch.zeros(shape, dtype=F64))
        opt = cls([p], gamma=0.2, **hyper)
        for g in gradients(shape, size=0.06):  # some are clipped
            p.grad = g.clone()
            opt.step()
        states.append(opt.state[p])
    assert torch.equal(states[0]["m"], states[1]["m"]) and torch.equal(states[0]["last"], states[1]["last"])


def test_a_long_gradient_counts_as_one_of_length_1():
    g, h = gradients((4, 6), 2)
    for first in (g / g.norm(), 50 * g):
        p = nn.Parameter(torch.zeros(4, 6, dtype=F64))
        opt = ravine.MARSM([p], momentum=0.5, gamma=0.1)
        p.grad = first.clone()
        opt.step()
        torch.testing.assert_close(opt.state[p]["m"], 0.5 * g / g.norm())
    assert not torch.equal(g, h)


@pytest.mark.parametrize(("cls", "hyper"), [(ravine.MARSM, {"momentum": 0.9}), (ravine.MARS, {"betas": (0.9, 0.99)})])
def test_gradients_that_are_written_in_place_are_corrected_too(cls, hyper):
    """The authors' code keeps the gradient itself, and then finds no difference."""
    grads = gradients((4, 6))
    usual = walk(cls, (4, 6), grads, lr=0.1, gamma=0.2, **hyper)
    assert torch.equal(walk(cls, (4, 6), grads, in_place=True, lr=0.1, gamma=0.2, **hyper), usual)
    assert not torch.allclose(walk(cls, (4, 6), grads, lr=0.1, gamma=0.0, **hyper), usual, rtol=1e-4)


def test_each_matrix_of_a_block_has_its_own_step():
    grads = gradients((3, 4, 6))
    whole = walk(ravine.MARSM, (3, 4, 6), grads, lr=0.1, blocks=Experts())
    for i in range(3):  # short gradients: the clip, which is of all, does nothing
        alone = walk(ravine.MARSM, (4, 6), [g[i] for g in grads], lr=0.1)
        torch.testing.assert_close(whole[i], alone, rtol=1e-9, atol=1e-9)


def test_by_its_name_it_is_given_the_matrices():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))  # the last is the head
    rules = [x.rule for x in ravine.create("mars-m", model).routes() if x.name.endswith("weight")]
    assert sorted(rules) == ["AdamW", "MARSM", "MARSM"]
