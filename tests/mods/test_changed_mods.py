"""A number of a modifier that changes counts without another program, a flag with one; both are checked."""

import pytest
import torch
from modifiers import differ, each, everything, parameters, walk

import ravine
from ravine.mods import EMA, Cautious, ClipNorm, ClipValue, DecoupledDecay


@each
def test_a_number_that_changes_does_not_recompile_and_counts(make, compilations):
    shapes = [(3, 5), (2, 3, 2, 2), (30, 20)]
    opt = ravine.SGD(parameters(torch.float32, shapes), lr=0.1, momentum=0.5, mods=[make()])
    walk(opt, 1)
    arranged = opt._arranged
    mod = opt.param_groups[0]["mods"][0]
    for t, factor in enumerate((0.5, 0.25), 1):
        for k in mod.numbers:
            setattr(mod, k, t if k == "seed" else factor * getattr(mod, k))
        walk(opt, 1, first=t)
    assert compilations == ["SGD"] and opt._arranged is arranged
    if any(k not in ("eps", "floor", "start", "every") for k in mod.numbers):
        still = ravine.SGD(parameters(torch.float32, shapes), lr=0.1, momentum=0.5, mods=[make()])
        walk(still, 3)
        assert differ(everything(opt), everything(still))


FLAGS = pytest.mark.parametrize(
    ("make", "flag", "value"),
    [
        (lambda: DecoupledDecay(0.1), "scale", "independent"),
        (Cautious, "plus_one", True),
        (lambda: EMA(0.9), "warmup", "ramp"),
    ],
    ids=["decay", "cautious", "ema"],
)


@FLAGS
def test_a_modifier_with_another_flag_recompiles_and_counts(make, flag, value, compilations):
    opt = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(opt, 2)
    many = len(compilations)
    (mod,) = opt.param_groups[0]["mods"]
    opt.param_groups[0]["mods"] = (type(mod)(**vars(mod) | {flag: value}),)
    walk(opt, 2, first=2)
    assert len(compilations) > many
    still = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(still, 4)
    assert differ(everything(opt), everything(still))


@FLAGS
def test_a_flag_that_is_set_in_place_counts_or_is_refused(make, flag, value):
    opt = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(opt, 2)
    try:
        setattr(opt.param_groups[0]["mods"][0], flag, value)
    except (AttributeError, TypeError, ValueError):
        return
    walk(opt, 2, first=2)
    still = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(still, 4)
    assert differ(everything(opt), everything(still))


def test_a_number_that_is_set_is_checked_and_may_be_whole(compilations):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[ClipNorm(0.5)])
    (mod,) = opt.param_groups[0]["mods"]
    walk(opt, 1)
    mod.max_norm = 1
    walk(opt, 1, first=1)
    mod.max_norm = 2
    walk(opt, 1, first=2)
    assert compilations == ["SGD"] and mod.numbers == ("max_norm", "eps")
    with pytest.raises(ValueError, match="max_norm"):
        mod.max_norm = -1.0


def test_a_number_of_one_group_is_not_that_of_another():
    p = parameters()
    given = [ClipValue(0.5)]
    opt = ravine.SGD([{"params": p[:2]}, {"params": p[2:]}], lr=0.1, mods=given)
    opt.param_groups[0]["mods"][0].max_value = 0.1
    assert opt.param_groups[1]["mods"][0].max_value == 0.5 == given[0].max_value
