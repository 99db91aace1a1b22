"""Where torch has the method, ravine makes torch's numbers, and each loads the other's state."""

import io
import itertools

import pytest
import torch
from cases import LOW, TWINS, ci, equal, every_twin, give, near, parameters, torch_flags

from ravine.rule.hyper import fields

VALUES = {  # another value than the default for each hyperparameter that a class of torch has
    "alpha": 0.9,
    "amsgrad": True,
    "beta2_decay": -0.6,
    "betas": (0.8, 0.95),
    "centered": True,
    "d": 1.1,
    "dampening": 0.3,
    "decoupled_weight_decay": True,
    "eps": 1e-3,
    "etas": (0.4, 1.3),
    "initial_accumulator_value": 0.5,
    "lambd": 0.05,
    "lr_decay": 0.05,
    "maximize": True,
    "momentum": 0.9,
    "momentum_decay": 0.02,
    "nesterov": True,
    "rho": 0.8,
    "step_sizes": (1e-3, 0.05),
    "t0": 10.0,
    "weight_decay": 0.1,
}
OTHERWISE = {("adafactor", "eps"): (0.05, 0.5)}  # where a name has another meaning
SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2)]


def settings(cls, n):
    """Combinations of n flags: 0 is the defaults, -1 all flags together."""
    flags = [k for k in torch_flags(cls.twin) if VALUES[k] != fields(cls)[k][1]]
    for keys in itertools.combinations(flags, n if n >= 0 else len(flags)):
        hyper = {k: OTHERWISE.get((cls.__name__.lower(), k), VALUES[k]) for k in keys}
        if hyper.get("nesterov"):
            hyper = {**hyper, "momentum": 0.9, "dampening": 0.0}
        yield "+".join(keys) or "defaults", hyper


def cases(*sizes, single=pytest.mark.ci):
    """Settings of every twin: the defaults and all flags together run at every edit, single flags in CI or later."""
    every = [
        pytest.param(cls, hyper, id=f"{name}-{what}", marks=single if n == 1 else ())
        for name, cls in TWINS.items()
        for n in sizes
        for what, hyper in settings(cls, n)
    ]
    return pytest.mark.parametrize(("cls", "hyper"), every)


def pair(cls, dtype, **hyper):
    """ravine's optimizer and torch's, over equal parameters."""
    mine, theirs = parameters(SHAPES, dtype=dtype), parameters(SHAPES, dtype=dtype)
    return cls(mine, **hyper), cls.twin(
        theirs, **{k: x for k, x in hyper.items() if k in [*torch_flags(cls.twin), "lr"]}
    )


def of(opt):
    return opt.param_groups[0]["params"]


def together(mine, theirs, steps, first=0):
    """Equal random gradients for both; some parameters have none at some steps, and the last joins late."""
    for t in range(first, first + steps):
        for opt in (mine, theirs):
            give(of(opt), t, live=living(t))
            opt.step()


def living(t):
    """The parameters that have a gradient at step t."""
    return [i for i in range(len(SHAPES)) if (t + i) % 7 and (i < len(SHAPES) - 1 or t >= 20)]


def agree(mine, theirs, tolerance):
    for p, q in zip(of(mine), of(theirs), strict=True):
        near(p, q, tolerance)


@pytest.fixture
def wide():
    """torch keeps NAdam's product of momenta in the default type, ravine always in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@cases(0, 1, -1)
def test_a_hundred_steps_in_float64(cls, hyper, wide):
    mine, theirs = pair(cls, torch.float64, **hyper)
    together(mine, theirs, 100)
    agree(mine, theirs, 1e-11)


@pytest.mark.ci
@cases(2)
def test_pairs_of_flags(cls, hyper, wide):
    mine, theirs = pair(cls, torch.float64, **hyper)
    together(mine, theirs, 8, first=15)
    agree(mine, theirs, 1e-12)


@pytest.mark.ci
@cases(0, 1, -1, single=pytest.mark.slow)
def test_a_hundred_steps_in_float32(cls, hyper):
    mine, theirs = pair(cls, torch.float32, **hyper)
    together(mine, theirs, 100)
    agree(mine, theirs, 2e-5)


@every_twin
def test_rate_as_a_tensor(cls):
    rates = [torch.tensor(0.05), torch.tensor([0.05])]
    mine, _ = pair(cls, torch.float32, lr=rates[0])
    other, theirs = pair(cls, torch.float32, lr=rates[1])
    rate = theirs.param_groups[0]["lr"] = torch.tensor(0.05)
    for t in range(20):
        for lr in (*rates, rate):
            lr.fill_(0.05 / (1 + t))
        for opt in (mine, other, theirs):
            give(of(opt), t)
            opt.step()
    agree(mine, theirs, 2e-6)
    agree(other, mine, 0)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@cases(0, 1, -1)
def test_states_change_hands_in_the_middle_of_a_run(cls, hyper, wide):
    mine, theirs = pair(cls, torch.float64, **hyper)
    new_mine, new_theirs = pair(cls, torch.float64)  # its hyperparameters come with the state
    together(mine, theirs, 12, first=13)
    for old, new in ((mine, new_theirs), (theirs, new_mine)):
        new.load_state_dict(through_a_file(old.state_dict()))
        with torch.no_grad():
            for p, q in zip(of(old), of(new), strict=True):
                q.copy_(p)
    together(mine, theirs, 5, first=25)
    together(new_mine, new_theirs, 5, first=25)
    agree(mine, theirs, 1e-11)
    agree(new_mine, theirs, 1e-11)
    agree(mine, new_theirs, 1e-11)


@every_twin
@pytest.mark.parametrize("dtype", [torch.bfloat16, *ci(torch.float16)], ids=str)
def test_states_of_low_types_change_hands_exactly(cls, dtype):
    mine, theirs = pair(cls, dtype)
    new_mine, new_theirs = pair(cls, dtype)
    together(mine, theirs, 25)
    for old, new in ((mine, new_theirs), (theirs, new_mine)):
        new.load_state_dict(through_a_file(old.state_dict()))
        for p, q in zip(of(old), of(new), strict=True):
            rounded = {"mu_product", "eta", "mu", "row_var", "col_var"}  # by torch, to the type of p
            for k in old.state[p].keys() & new.state[q].keys() - rounded:
                equal(torch.as_tensor(old.state[p][k]), new.state[q][k])
    together(new_mine, new_theirs, 3, first=25)


@every_twin
@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_distance_to_torchs_rounding_of_every_operation(cls, dtype, record_property):
    """Reported, not asserted: torch rounds after every operation, ravine once, at the store."""
    mine, theirs = pair(cls, dtype)
    exact, _ = pair(cls, torch.float64)
    with torch.no_grad():
        for p, q in zip(of(exact), of(mine), strict=True):
            p.copy_(q)
    together(mine, theirs, 30)
    for t in range(30):
        give(of(mine), t, live=living(t))
        for p, q in zip(of(exact), of(mine), strict=True):
            p.grad = None if q.grad is None else q.grad.double()
        exact.step()
    far = {
        who: max((p.double() - q).abs().max().item() for p, q in zip(of(opt), of(exact), strict=True))
        for who, opt in (("ravine", mine), ("torch", theirs))
    }
    record_property("from the rule in float64", far)
    print(f"{cls.__name__} in {dtype}: ravine {far['ravine']:.1e}, torch {far['torch']:.1e} from float64")


def test_every_flag_of_torch_has_a_value_here():
    assert {k for cls in TWINS.values() for k in torch_flags(cls.twin)} <= VALUES.keys()


@every_twin
def test_names_and_defaults_are_torchs(cls):
    theirs = cls.twin(parameters([(2,)])).defaults
    mine = cls(parameters([(2,)])).defaults
    assert {k: mine[k] for k in theirs} == theirs
