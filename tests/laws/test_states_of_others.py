"""What is loaded must be this optimizer's: other rules, shapes, names and groups are refused."""

import copy

import pytest
import torch
from cases import ALL, equal, every_program, near, parameters, slow, states, walk
from ordinary import SHAPES, of, saved

import ravine


def refused(opt, state, *words):
    """Loading raises an error with these words and leaves everything as it was."""
    before, params = copy.deepcopy(opt.state_dict()), [p.detach().clone() for p in of(opt)]
    with pytest.raises(ValueError) as raised:
        opt.load_state_dict(state)
    assert all(word in str(raised.value) for word in (type(opt).__name__, *words)), raised.value
    after = opt.state_dict()
    assert after["param_groups"] == before["param_groups"] and after["state"].keys() == before["state"].keys()
    for i, state in before["state"].items():
        assert state.keys() == after["state"][i].keys()
        for k, x in state.items():
            equal(x, after["state"][i][k])
    for p, old in zip(of(opt), params, strict=True):
        equal(p.detach(), old)


@every_program
@pytest.mark.parametrize("far", [1, 2, *slow(3, 5, 8, 13, 21, 34)])
def test_a_state_of_another_optimizer_is_refused(cls, far):
    """That of the one so many places further in the alphabet."""
    others = list(ALL.values())
    a, b = cls(parameters(SHAPES)), others[(others.index(cls) + far) % len(others)](parameters(SHAPES))
    walk(a, 2)
    walk(b, 2)
    if a.state[of(a)[0]].keys() == b.state[of(b)[0]].keys():
        pytest.skip("they remember the same things")
    refused(b, a.state_dict())


@every_program
def test_a_state_of_other_shapes_is_refused(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    if not states(a, of(a)[1]):
        pytest.skip("it has no state")
    refused(cls(parameters([(), (8,), (3, 5), (2, 3, 2, 2)])), a.state_dict(), "(7,)", "(8,)")


@every_program
def test_a_state_of_other_groups_is_refused(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    p = parameters(SHAPES)
    refused(cls([{"params": p[:2]}, {"params": p[2:]}]), a.state_dict(), "1", "2")
    refused(cls(p[:3]), a.state_dict(), "4", "3")


@pytest.mark.parametrize("wrong", ["text", [1.0], torch.ones(3, 5, dtype=torch.int8)], ids=str)
def test_a_state_of_the_wrong_kind_is_refused(wrong):
    a = ravine.Adam(parameters(SHAPES))
    walk(a, 2)
    given = a.state_dict()
    given["state"][2]["exp_avg"] = wrong
    refused(ravine.Adam(parameters(SHAPES)), given, "exp_avg")


@pytest.mark.parametrize("lr", [-1.0, float("nan"), "0.1"])
def test_hyperparameters_out_of_range_are_refused_when_loaded(lr):
    a = ravine.Adam(parameters(SHAPES))
    walk(a, 2)
    given = a.state_dict()
    given["param_groups"][0]["lr"] = lr
    with pytest.raises((ValueError, TypeError), match="lr"):
        ravine.Adam(parameters(SHAPES)).load_state_dict(given)


def test_hyperparameters_that_do_not_go_together_are_refused_when_loaded():
    a = ravine.SGD(parameters(SHAPES), momentum=0.9, nesterov=True)
    given = a.state_dict()
    given["param_groups"][0]["momentum"] = 0.0
    refused(ravine.SGD(parameters(SHAPES)), given, "nesterov")


def test_adamw_stays_adamw_whatever_is_loaded():
    a, b = torch.optim.Adam(parameters(SHAPES)), ravine.AdamW(parameters(SHAPES))
    c = torch.optim.AdamW(parameters(SHAPES))
    b.load_state_dict(a.state_dict())
    c.load_state_dict(b.state_dict())
    for opt in (b, c):
        assert opt.param_groups[0]["decoupled_weight_decay"] is True
        opt.param_groups[0]["weight_decay"] = 0.5
        walk(opt, 2)
    for p, q in zip(of(b), of(c), strict=True):
        near(p, q, 2e-6)


def test_states_are_loaded_by_name():
    shapes = {"a": (3,), "b": (3,)}
    a = ravine.Adam(list(zip(shapes, parameters(shapes.values()), strict=True)))
    walk(a, 2)
    for names in (["b", "a"], ["a", "b"]):
        b = ravine.Adam([(k, torch.nn.Parameter(torch.zeros(3))) for k in names])
        b.load_state_dict(saved(a))
        assert b.param_groups[0]["param_names"] == names
        for k, p in zip(names, of(b), strict=True):
            equal(b.state[p]["exp_avg"], a.state[of(a)["ab".index(k)]]["exp_avg"])
    plain = ravine.Adam(parameters(shapes.values()))  # without names by place
    plain.load_state_dict(saved(a))
    equal(plain.state[of(plain)[1]]["exp_avg"], a.state[of(a)[1]]["exp_avg"])
    other = ravine.Adam(list(zip("ac", parameters(shapes.values()), strict=True)))
    refused(other, a.state_dict(), "names", "b only in the state_dict", "c only here")
