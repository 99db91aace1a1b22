"""Parameters that have names, join later, are exchanged for others, tied or frozen."""

import pytest
import torch
from cases import equal, every_program, gathers, parameters, walk
from ordinary import SHAPES, agree, of
from torch import nn


@every_program
def test_named_parameters(cls):
    model = nn.Linear(3, 2)
    opt = cls(model.named_parameters())
    walk(opt, 2)
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = cls(nn.Linear(3, 2).named_parameters())
    other.load_state_dict(opt.state_dict())
    assert other.param_groups[0]["param_names"] == ["weight", "bias"]


@every_program
def test_a_group_added_later_has_its_own_hyperparameters(cls):
    p = parameters(SHAPES)
    a = cls(p[:2])
    walk(a, 2)
    a.add_param_group({"params": (x for x in p[2:]), "lr": 0.0})
    before = [x.detach().clone() for x in p]
    walk(a, 3)  # an odd number: two steps of one length may lead back
    assert [torch.equal(x, old) for x, old in zip(p, before, strict=True)][:2] == [False, False]
    if cls.__name__ != "Rprop":  # whose steps begin at lr, and are kept within step_sizes
        assert all(torch.equal(x, old) for x, old in zip(p[2:], before[2:], strict=True))
    assert [float(a.state[x]["step"]) for x in p] == [5, 5, 3, 3]


@every_program
def test_a_parameter_list_may_be_emptied_and_replaced(cls):
    p, q = parameters(SHAPES), parameters(SHAPES, 5)
    opt = cls(p)
    if gathers(opt):
        pytest.skip("what is common to all tensors outlives them")
    walk(opt, 2)
    opt.param_groups[0]["params"].clear()
    opt.step()
    opt.param_groups[0]["params"] = q
    fresh = cls(parameters(SHAPES, 5))
    walk(opt, 2)
    walk(fresh, 2)
    agree(opt, fresh, 0)


@every_program
def test_tied_weights_move_once(cls):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    opt = cls(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    opt.step()
    assert len(of(opt)) == 1 and float(opt.state[of(opt)[0]]["step"]) == 1


@every_program
def test_a_parameter_frozen_later_stays_and_goes_on_where_it_was(cls):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    opt = cls(model.parameters())

    def step():
        opt.zero_grad()
        model(torch.ones(2, 3)).pow(2).sum().backward()
        opt.step()

    step()
    model[0].requires_grad_(False)
    before = model[0].weight.detach().clone()
    step()
    equal(model[0].weight.detach(), before)
    model[0].requires_grad_(True)
    step()
    assert float(opt.state[model[0].weight]["step"]) == 2 and float(opt.state[model[1].weight]["step"]) == 3
