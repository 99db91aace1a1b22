"""What the updates of several rules take is given once, and a rule as a function is given it by name."""

import copy

import pytest
import torch
from torch import nn

import ravine
from ravine.sources import Hutchinson


class Scaled(ravine.Optimizer):
    inputs = {"h": "r c"}

    def update(self, s, p, g, t, h):
        return p - self.lr * g / h


class Shrunk(ravine.Optimizer):
    def update(self, s, p, g, t, h):
        return p - self.lr * h * g


def opened():
    p, q = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))
    p.grad, q.grad = torch.full((2, 3), 2.0), torch.arange(4.0)
    return p, q


def test_each_rule_takes_its_own_of_one_step():
    (p, q), (x, y) = opened(), opened()
    opt = ravine.Routed({Scaled: [p], ravine.MoMo: [q]}, lr=0.1)
    first, second = Scaled([x], lr=0.1), ravine.MoMo([y], lr=0.1)
    for h in (torch.full((2, 3), 3.0), torch.full((2, 3), 5.0)):
        opt.step(h={p: h}, loss=2.0)
        first.step(h={x: h})
        second.step(loss=2.0)
    assert torch.equal(p, x) and torch.equal(q, y)
    with pytest.raises(TypeError, match="loss"):
        opt.step(h={p: h})
    made = copy.deepcopy(opt)
    made.step(loss=2.0)
    with pytest.raises(TypeError, match=r"step\(\) takes no 'k'; it takes h, loss"):
        made.step(loss=2.0, k=1.0)
    opt.add_param_group({"params": [nn.Parameter(torch.ones(2))], "rule": ravine.SGD})
    opt.step(loss=2.0)


def test_two_rules_cannot_take_different_things_by_one_name():
    p, q = opened()
    with pytest.raises(ValueError, match="two rules take 'h'"):
        ravine.Routed({Scaled: [p], Shrunk: [q]})
    opt = ravine.Routed({ravine.SGD: [p]})
    with pytest.raises(ValueError, match="lr is -1"):
        opt.add_param_group({"params": [q], "rule": Scaled, "lr": -1.0})
    opt.step()  # which needs no h


def test_a_source_gives_to_the_route_that_takes_it():
    p, q = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0]))
    source = Hutchinson()
    opt = ravine.Routed({Scaled: [p], ravine.SGD: [q]}, lr=1.0, sources=[source])
    source.backward((torch.tensor([2.0, 5.0]) * p**2).sum() / 2 + (q**2).sum())
    opt.step()
    assert q.item() == -3.0
    assert torch.allclose(p, torch.zeros(2), atol=1e-6) and "h" not in opt.state[q]


def test_a_function_is_given_arrays_in_the_form_of_p():
    rule, p = ravine.functional(Scaled, lr=1.0), {"a": torch.zeros(2), "b": [torch.zeros(())]}
    state, g = rule.init(p), {"a": torch.ones(2), "b": [torch.ones(())]}
    assert state == {"a": {}, "b": [{}]}
    new, state = rule.update(state, p, g, 1, h={"a": torch.full((2,), 2.0), "b": [torch.tensor(4.0)]})
    assert new["a"].tolist() == [-0.5, -0.5] and new["b"][0].item() == -0.25 and state == {"a": {}, "b": [{}]}
    with pytest.raises(TypeError, match="Scaled needs the h"):
        rule.update(state, p, g, 1)
    with pytest.raises(ValueError, match="h is a tensor"):
        rule.update(state, p, g, 1, h={"a": torch.ones(3), "b": [torch.tensor(4.0)]})
