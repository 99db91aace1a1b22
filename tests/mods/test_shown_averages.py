"""eval() shows the average, train() the weights again: no bit is lost, whatever happens in between."""

import copy

import pytest
import torch
from modifiers import backends, each_average, equal, everything, near, of, parameters, walk
from torch import nn

import ravine
from ravine.mods import EMA, L1, Averaging


@backends
@pytest.mark.parametrize(
    ("dtype", "storage"),
    [
        (torch.float64, None),
        (torch.float32, None),
        (torch.bfloat16, None),
        (torch.bfloat16, "float32"),
        (torch.float16, "float32"),
    ],
    ids=str,
)
@each_average
def test_eval_and_train_lose_no_bit(make, dtype, storage, backend):
    opt = ravine.Adam(parameters(dtype), lr=0.01, mods=[make()], storage=storage, backend=backend)
    walk(opt, 4)
    name = type(make()).__name__.lower()
    before = copy.deepcopy(everything(opt))
    averages = [opt.state[p][f"{name}_average"].clone() for p in of(opt)]
    for _ in range(2):
        opt.eval()
        opt.eval()
        equal([p.detach() for p in of(opt)], [a.to(dtype) for a in averages])
        with pytest.raises(RuntimeError, match=r"train\(\)"):
            opt.step()
        equal([p.detach() for p in of(opt)], [a.to(dtype) for a in averages])
        opt.train()
        opt.train()
        equal(everything(opt), before)
    untouched = ravine.Adam(parameters(dtype), lr=0.01, mods=[make()], storage=storage, backend=backend)
    walk(untouched, 4)
    equal(walk(opt, 2, first=4), walk(untouched, 2, first=4))
    opt.eval()
    untouched.eval()
    equal([p.detach() for p in of(opt)], [p.detach() for p in of(untouched)])


@pytest.mark.parametrize(
    "mods", [[EMA(0.9), EMA(0.5)], [EMA(0.9), Averaging(), L1(0.1), EMA(0.5)]], ids=["two", "many"]
)
@pytest.mark.parametrize("rule", [ravine.SGD, ravine.NAG, ravine.ScheduleFreeSGD])
def test_of_several_averages_the_last_is_shown(rule, mods):
    opt = rule(parameters(), lr=0.1, mods=mods)
    alone = rule(parameters(), lr=0.1, mods=[m for m in mods[:-1] if isinstance(m, L1)] + mods[-1:])
    walk(opt, 4)
    walk(alone, 4)
    before = copy.deepcopy(everything(opt))
    opt.eval()
    alone.eval()
    near([p.detach() for p in of(opt)], [p.detach() for p in of(alone)])
    opt.train()
    equal(everything(opt), before)


def test_eval_before_the_first_step_shows_the_weights():
    opt = ravine.Adam(parameters(), mods=[EMA(0.9), Averaging()])
    opt.eval()
    near([p.detach() for p in of(opt)], [p.detach() for p in parameters()], 0)
    opt.train()
    walk(opt, 1)


@each_average
def test_the_average_is_saved_while_it_is_shown(make):
    a = ravine.Adam(parameters(), mods=[make()])
    walk(a, 3)
    a.eval()
    b = ravine.Adam([nn.Parameter(p.detach().clone()) for p in of(a)], mods=[make()])
    b.load_state_dict(a.state_dict())
    b.train()
    a.train()
    equal(walk(a, 2, first=3), walk(b, 2, first=3))


@pytest.mark.parametrize("kinds", [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)], ids=str)
@each_average
def test_the_type_may_change_while_an_average_is_shown(make, kinds):
    model = nn.Linear(3, 1).to(kinds[0])
    opt = ravine.SGD(model.parameters(), lr=0.5, mods=[make()], storage="float32")
    for _ in range(5):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        opt.step()
    weights = [p.detach().clone() for p in model.parameters()]
    opt.eval()
    model.to(kinds[1])
    opt.train()
    equal([p.detach() for p in model.parameters()], [w.to(kinds[1]) for w in weights])


@each_average
def test_an_average_of_half_precision_goes_on_in_float32(make):
    p = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    p.grad = torch.ones_like(p)
    opt = ravine.Adam([p], mods=[make()], storage="float32")
    opt.step()
    q = nn.Parameter(p.detach().float())
    other = ravine.Adam([q], mods=[make()], storage="float32")
    other.load_state_dict(opt.state_dict())
    name = f"{type(make()).__name__.lower()}_average"
    assert torch.equal(other.state[q][name], opt.state[p][name])


def test_modifiers_may_be_taken_off_while_their_average_is_shown():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.SGD([p], lr=0.1, mods=[EMA(0.5)])
    opt.step()
    weights = p.detach().clone()
    opt.eval()
    opt.param_groups[0]["mods"] = ()
    opt.train()
    assert torch.equal(p, weights)
    opt.step()
