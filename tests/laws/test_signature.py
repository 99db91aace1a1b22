"""What a rule does, seen from outside: to one impulse, to a change of scale, on a slope."""

import math

import pytest
import torch
from cases import ALL, NO_DECAY, every, near, parameters, products, some, states, walk
from torch import nn

# How a rule answers to gradients c times as large, from 0 and without weight decay. "linear": its path is c times as
# long; "invariant": its path is the same (ε left out); "neither", with the reason beside it.
KINDS = {
    "adabelief": "neither",  # it begins as momentum, and goes on as Adam
    "adadelta": "invariant",
    "adafactor": "invariant",
    "adagrad": "invariant",
    "adagradrda": "invariant",
    "adahessian": "invariant",  # with a curvature that is as much larger; else it would be linear
    "adam": "invariant",
    "adam2k": "invariant",
    "adamax": "invariant",
    "adameps": "invariant",
    "adammini": "invariant",
    "adamp": "invariant",
    "adamuon": "invariant",
    "adamw": "invariant",
    "adan": "invariant",
    "ademamix": "invariant",
    "adopt": "invariant",
    "aggmo": "linear",
    "amsgrad": "invariant",
    "apollo": "invariant",
    "asgd": "linear",
    "came": "invariant",
    "dadaptadam": "invariant",
    "dadaptsgd": "invariant",
    "dion2": "invariant",
    "dog": "neither",  # ε counts in the sum of squares
    "dowg": "neither",  # ε is as large as the first steps
    "galore": "invariant",
    "kfac": "neither",  # long steps are cut
    "fulladagrad": "invariant",
    "klshampoo": "invariant",
    "klsoap": "invariant",
    "kron": "neither",  # its factors follow the size of gradients slowly
    "lamb": "invariant",
    "laprop": "invariant",
    "lars": "invariant",
    "ldog": "neither",  # as DoG
    "lion": "invariant",
    "lpadam": "invariant",
    "madgrad": "neither",  # the cube root of the gradient
    "mars": "neither",  # large gradients are clipped
    "marsm": "neither",  # large gradients are clipped
    "momentum": "linear",
    "momo": "neither",  # the loss is not a thousand times as large
    "momoadam": "neither",  # as MoMo
    "muon": "invariant",
    "nadam": "invariant",
    "nag": "linear",
    "normuon": "invariant",
    "novograd": "invariant",
    "prodigy": "invariant",
    "qhadam": "invariant",
    "qhm": "linear",
    "radam": "neither",  # it begins as momentum, and goes on as Adam
    "rmsprop": "invariant",
    "rprop": "invariant",
    "schedulefreeadamw": "invariant",
    "schedulefreeplus": "neither",  # the loss is not a thousand times as large
    "schedulefreeradam": "neither",  # here it begins as SGD
    "schedulefreesgd": "linear",
    "scion": "invariant",
    "sgd": "linear",
    "sgdp": "linear",
    "sgdw": "linear",
    "shampoo": "invariant",
    "signsgd": "invariant",
    "signum": "invariant",
    "simplifiedademamix": "invariant",
    "sm3": "invariant",
    "soap": "invariant",
    "sophiag": "invariant",
    "sophiah": "invariant",
    "sparseadam": "invariant",
    "splus": "invariant",
    "stableadamw": "invariant",
    "yogi": "neither",  # v begins at 1e-6, whatever the gradient
}
AS_LONG_AS_THE_WEIGHTS = {"lamb", "lars"}  # whose step is: from 0 it would not move, and it never comes to rest
# a momentum of 10 000 steps; a step of lr while the momentum is not 0, or of its own scale; one that is longer than √v
NEVER_RESTS = {
    "adamuon",
    "ademamix",
    "dion2",
    "kron",
    "lion",
    "muon",
    "normuon",
    "scion",
    "signum",
    "simplifiedademamix",
    "splus",
}
WATCHES_FIRST = {
    "adopt": 1,
    "klshampoo": 1,
    "klsoap": 1,
    "soap": 1,
}  # so many gradients are looked at only, and nothing moves
SHORT = {  # where the defaults remember longer than the paths here
    "aggmo": {"betas": (0.0, 0.9)},
    "qhm": {"momentum": 0.9},
}
NO_RATE = {"adadelta"}  # which begins slowly, and with lr = 1
FORGETS_AT_ONCE = {
    "adadelta",
    "adafactor",
    "adagrad",
    "adagradrda",
    "asgd",
    "dadaptsgd",
    "dog",
    "dowg",
    "fulladagrad",
    "ldog",
    "rmsprop",
    "rprop",
    "schedulefreeadamw",
    "schedulefreeradam",
    "schedulefreesgd",
    "sgd",
    "sgdp",
    "shampoo",
    "signsgd",
}


def name(cls):
    return cls.__name__.lower()


def path(cls, gradients, start=0.0, **hyper):
    """Where the model's weight is before the first step and after each, in float64."""
    p = nn.Parameter(torch.tensor([float(start)], dtype=torch.float64))
    opt = cls([p], **SHORT.get(name(cls), {}) | hyper)
    out = [float(start)]
    for g in gradients:
        p.grad = torch.full_like(p, g(p.item()) if callable(g) else g)
        opt.step()
        out.append(p.item())
    return torch.tensor(out, dtype=torch.float64)


def undecayed(cls):
    return {k: x for k, x in NO_DECAY.items() if k in cls.__signature__.parameters}


def tiny(cls):
    eps = cls.__signature__.parameters.get("eps")
    return {"eps": 1e-30} if eps and isinstance(eps.default, float) else {}


WAVE = [math.sin(1.7 * t) + 0.3 for t in range(40)]


# scale


@every
def test_a_thousand_times_the_gradient(cls):
    """Adaptive rules make the same path; those of momentum a thousand times as long a one."""
    start = 1.0 if name(cls) in AS_LONG_AS_THE_WEIGHTS else 0.0  # whose step is as long as the weights
    small = path(cls, WAVE, start, **undecayed(cls), **tiny(cls))
    large = path(cls, [1000 * g for g in WAVE], start, **undecayed(cls), **tiny(cls))
    if KINDS[name(cls)] == "linear":
        near(large, 1000 * small, 1e-12)
    elif name(cls) in NO_RATE:  # its first step is ε's: as long as √ε / √v allows
        assert (large / small)[1:].max() < 2
    elif KINDS[name(cls)] == "invariant":
        near(large, small, 1e-9)
    assert (small[1:] != start).any()


def test_every_rule_is_told_its_kind():
    from cases import ALL

    assert set(ALL) == set(KINDS)


@every
def test_the_first_step_goes_against_the_gradient(cls):
    for g in (3.0, -0.2):
        p = path(cls, [g] * (1 + WATCHES_FIRST.get(name(cls), 0)), 1.0, **undecayed(cls))
        assert (p[-1] - p[0]) * g < 0


# memory


@every
def test_an_impulse_is_remembered_and_forgotten(cls):
    """The step after one gradient of 1 and then silence: how far the weight moves, and that it comes to rest."""
    first = [1.0] * WATCHES_FIRST.get(name(cls), 0)
    p = path(cls, [*first, 1.0] + [0.0] * 600, 1.0, **undecayed(cls))[len(first) :]
    steps = (p[1:] - p[:-1]).abs()
    assert p.isfinite().all()
    assert steps[0] > 0
    if name(cls) not in AS_LONG_AS_THE_WEIGHTS | NEVER_RESTS:
        assert steps[500:].max() <= 1e-3 * steps.max(), "it still moves"
    assert bool(steps[1] > 0) == (name(cls) not in FORGETS_AT_ONCE)


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_momentum_forgets_at_its_rate(beta):
    import ravine

    p = path(ravine.SGD, [1.0] + [0.0] * 20, lr=1.0, momentum=beta)
    near(p[1:] - p[:-1], -(beta ** torch.arange(21, dtype=torch.float64)), 1e-14)


# slopes


@every
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_every_rule_goes_down_a_bowl_and_maximize_up(cls, backend):
    slope = torch.linspace(0.1, 2, 20)

    def loss(p):
        return (slope * p**2).sum().item()

    for maximize in (False, True):
        p = nn.Parameter(torch.linspace(-1, 1, 20) + 0.01)
        opt = cls(
            [p],
            lr=1.0 if name(cls) in NO_RATE else 1e-2,
            maximize=maximize,
            backend=backend,
            **undecayed(cls),
            **SHORT.get(name(cls), {}),
        )
        before = loss(p)
        for _ in range(30):
            p.grad = (2 * slope * p).detach()
            opt.step()
        assert (loss(p) > before) if maximize else (loss(p) < before)


@every
def test_maximize_is_the_gradient_turned_round(cls):
    a = path(cls, WAVE, 1.0, maximize=True)
    near(a, path(cls, [-g for g in WAVE], 1.0), 0)


@some(3)
def test_elements_do_not_see_each_other(cls, hyper):
    """But for rules with a norm, an element's path is the same alone and among others."""
    whole = cls(parameters([(40,)]), **hyper)
    first = whole.param_groups[0]["params"][0]
    if whole.compiled(whole.param_groups[0], first).plan.sums or products(whole):
        pytest.skip("elements meet in a sum or a matrix of this rule")
    start = first.detach().clone()
    alone = nn.Parameter(start[7:8].clone())
    single = cls([alone], **hyper)
    walk(whole, 0)
    for t in range(4):
        first.grad = torch.sin(torch.arange(40) + 0.7 * t)
        alone.grad = first.grad[7:8].clone()
        whole.step()
        single.step()
    near(alone, first[7:8], 1e-6)
    assert len(states(whole, first)) == len(states(single, alone))


@pytest.mark.parametrize("cls", [cls for cls in ALL.values() if "weight_decay" in cls.__signature__.parameters])
def test_weight_decay_pulls_towards_zero(cls):
    plain, decayed = (path(cls, [0.1, -0.1] * 3, 5.0, lr=0.1, weight_decay=w) for w in (0.0, 0.5))
    assert decayed[-1] < plain[-1]
