"""Modifiers and their states go through files, pickles and copies; a state of other modifiers is refused."""

import copy
import io
import pickle

import pytest
import torch
from modifiers import each, each_rule, equal, everything, of, parameters, walk
from torch import nn

import ravine
from ravine.mods import EMA, Averaging, ClipNorm


@each_rule
@each
def test_a_loaded_state_continues_bit_for_bit(rule, hyper, make):
    a = rule(parameters(), mods=[make()], **hyper)
    walk(a, 3)
    mod = a.param_groups[0]["mods"][0]
    for k in mod.numbers:
        setattr(mod, k, 3 if k == "seed" else 0.9 * getattr(mod, k))
    walk(a, 2, first=3)
    file = io.BytesIO()
    torch.save(a.state_dict(), file)
    file.seek(0)
    b = rule([nn.Parameter(p.detach().clone()) for p in of(a)], mods=[make()], **hyper)
    b.load_state_dict(torch.load(file, weights_only=True))
    assert b.param_groups[0]["mods"][0].as_dict() == mod.as_dict()
    equal(everything(a), everything(b))
    walk(a, 3, first=5)
    walk(b, 3, first=5)
    equal(everything(a), everything(b))


@each
def test_copies_and_pickles_continue_bit_for_bit_and_share_nothing(make):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    a = ravine.Adam(model.parameters(), mods=[make()])
    walk(a, 3)
    (_, b), c = copy.deepcopy((model, a)), pickle.loads(pickle.dumps(a))
    for opt in (a, b, c):
        walk(opt, 3, first=3)
    equal(everything(a), everything(b))
    equal(everything(a), everything(c))
    for name in a.param_groups[0]["mods"][0].numbers:
        other = 3 if name == "seed" else 0.125
        setattr(b.param_groups[0]["mods"][0], name, other)
        assert getattr(a.param_groups[0]["mods"][0], name) != other


@pytest.mark.parametrize(
    ("saved", "here"),
    [
        ([], [EMA(0.9)]),
        ([EMA(0.9)], []),
        ([EMA(0.9)], [Averaging()]),
        ([EMA(0.9), ClipNorm()], [ClipNorm(), EMA(0.9)]),
        ([EMA(0.9)], [EMA(0.9), EMA(0.9)]),
    ],
    ids=str,
)
def test_a_state_with_other_modifiers_is_refused(saved, here):
    a, b = ravine.Adam(parameters(), mods=saved), ravine.Adam(parameters(), mods=here)
    walk(a, 2)
    before = copy.deepcopy(everything(b))
    with pytest.raises(ValueError, match="mods"):
        b.load_state_dict(a.state_dict())
    equal(everything(b), before)
    assert [type(x) for x in b.param_groups[0]["mods"]] == [type(x) for x in here]


def test_what_no_longer_counts_is_loaded_again():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.AdaBelief([p], amsgrad=True, mods=[EMA(0.5)])
    opt.step()
    opt.param_groups[0].update(mods=(), amsgrad=False)
    opt.step()
    twin, twin_p = copy.deepcopy((opt, p))
    twin_p.grad = p.grad.clone()
    opt.load_state_dict(opt.state_dict())
    opt.step()
    twin.step()
    assert torch.equal(p, twin_p)
