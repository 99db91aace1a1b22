"""A source that gives in every k-th step: what it gave is kept, and a checkpoint has it."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import ravine
from ravine.sources import Hutchinson
from ravine.words import is_vector, maximum


class Newton(ravine.Optimizer):
    """Matrices by their curvature."""

    inputs = {"h": "r c"}

    def update(self, s, p, g, t, h):
        return p - 0.1 * (g if is_vector(p) else g / maximum(h, 0.1))


def test_between_two_estimates_the_last_is_kept_and_a_checkpoint_has_it():
    def run(steps, saved=None):
        p = nn.Parameter(torch.tensor([[1.0, 2.0]]))
        source = Hutchinson(every=3)
        opt = Newton([p], sources=[source])
        if saved:
            p.data, _ = saved[0].clone(), opt.load_state_dict(deepcopy(saved[1]))
        due = []
        for _ in range(steps):
            opt.zero_grad()
            due.append(source.due)
            source.backward((p**4).sum() + p.prod())
            opt.step()
        return p.detach(), opt.state_dict(), due

    straight, _, due = run(5)
    assert due == [True, False, False, True, False]
    half = run(2)
    again, _, due = run(3, half)
    assert due == [False, True, False] and torch.equal(straight, again) and straight.isfinite().all()


def test_what_is_wrong_is_said_before_anything_moves():
    p = nn.Parameter(torch.ones(2, 1))
    opt = Newton([p], sources=[Hutchinson()])
    p.square().sum().backward()
    with pytest.raises(RuntimeError, match="no graph in a step that takes a new estimate"):
        opt.step()
    with pytest.raises(ValueError, match="SGD: Hutchinson gives h, and update\\(\\) takes nothing"):
        ravine.SGD([p], sources=[Hutchinson()])
    assert not opt.state


def test_vectors_that_take_none_are_given_none_and_no_gradient_keeps_its_graph():
    model = nn.Linear(3, 1)
    source = Hutchinson()
    opt = Newton(model.parameters(), sources=[source])
    source.backward(model(torch.ones(2, 3)).square().mean())
    opt.step()
    assert "h" in opt.state[model.weight] and "h" not in opt.state[model.bias]
    assert not any(p.grad.requires_grad for p in model.parameters())
