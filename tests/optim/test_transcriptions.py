"""The rules against the papers, and the papers' transcriptions against torch: whole walks in float64."""

import inspect
import itertools
import math
import random

import pytest
import torch
from transcriptions import FOUND_EDGES, FOUND_IDLE, FOUND_SPACES, PAPERS
from transcriptions.draw import ADAM, DECAY, EITHER, EPS, RATE, choice, log, pair, uniform

import ravine

SPACES = {
    "SGD": {
        "lr": RATE,
        "momentum": [0.0, 0.8],
        "dampening": [0.0, 0.3],
        "weight_decay": DECAY,
        "nesterov": EITHER,
    },
    "Momentum": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.99),
        "weight_decay": DECAY,
        "form": ["heavy_ball", "average", "polyak"],
    },
    "NAG": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.99),
        "weight_decay": DECAY,
        "form": ["heavy_ball", "average"],
    },
    "Adagrad": {
        "lr": RATE,
        "lr_decay": uniform(0.0, 0.1),
        "weight_decay": DECAY,
        "initial_accumulator_value": uniform(0.0, 0.5),
        "eps": EPS,
        "eps_inside": EITHER,
        "square_root": EITHER,
    },
    "Adadelta": {
        "lr": uniform(0.3, 1.0),
        "rho": uniform(0.5, 0.99),
        "eps": EPS,
        "weight_decay": DECAY,
        "eps_inside": EITHER,
    },
    "Rprop": {
        "lr": RATE,
        "etas": pair(uniform(0.3, 0.9), uniform(1.1, 2.0)),
        "step_sizes": pair(log(1e-4, 1e-3), uniform(0.1, 0.3)),
        "backtracking": EITHER,
    },
    "RMSprop": {
        "lr": RATE,
        "alpha": uniform(0.5, 0.99),
        "eps": EPS,
        "weight_decay": DECAY,
        "momentum": [0.0, 0.8],
        "centered": EITHER,
        "eps_inside": EITHER,
    },
    "Adam": ADAM
    | {
        "amsgrad": EITHER,
        "decoupled_weight_decay": EITHER,
        "eps_inside": EITHER,
        "bias_correction": EITHER,
    },
    "AMSGrad": ADAM | {"eps_inside": EITHER},
    "AdamW": ADAM | {"amsgrad": EITHER, "eps_inside": EITHER, "bias_correction": EITHER},
    "Adamax": ADAM | {"eps_inside": EITHER, "bias_correction": EITHER},
    "NAdam": ADAM
    | {
        "form": ["dozat", "overview"],
        "momentum_decay": log(1e-3, 1.0),
        "decoupled_weight_decay": EITHER,
        "constant_beta": EITHER,
        "eps_inside": EITHER,
        "bias_correction": EITHER,
    },
    "RAdam": ADAM
    | {
        "decoupled_weight_decay": EITHER,
        "threshold": choice(4.0, 5.0, 7.5),
        "fallback": ["momentum", "skip"],
        "eps_inside": EITHER,
        "bias_correction": EITHER,
    },
    "LAMB": ADAM
    | {
        "eps_inside": EITHER,
        "bias_correction": EITHER,
        "trust_clip": EITHER,
        "always_adapt": EITHER,
    },
} | FOUND_SPACES

# Allowed values at the edge of their range, beside the drawn ones.
EDGES = (
    {
        "SGD": [{"momentum": 0.9, "dampening": 1.0}],
        "Momentum": [{"momentum": 0.0, "form": form} for form in ("heavy_ball", "average", "polyak")],
        "NAG": [{"momentum": 0.0, "form": form} for form in ("heavy_ball", "average")],
        "Adadelta": [{"rho": 0.0}],
        "RMSprop": [{"alpha": 0.0}],
        "RAdam": [
            {"betas": (0.9, 0.6)},  # ρ_∞ = 4: the rectification divides by zero, and is never asked for
            {"betas": (0.9, 0.3)},
            {"betas": (0.0, 0.99)},
            {"betas": (0.9, 0.6), "fallback": "skip"},  # so θ never moves
        ],
    }
    | {name: [{"betas": (0.0, 0.0)}] for name in ("Adam", "AMSGrad", "AdamW", "Adamax", "LAMB")}
    | FOUND_EDGES
)


def allowed(flags):
    return not (flags.get("nesterov") and (flags.get("momentum") == 0 or flags.get("dampening", 0) != 0))


def combinations(name):
    space = {key: values for key, values in SPACES[name].items() if isinstance(values, list)}
    rows = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
    return [flags for flags in rows if allowed(flags)]


def draws(name, flags, count=2):
    """Hyperparameters for these flags: `count` random ones, of which the first is without weight decay."""
    for i in range(count):
        rng = random.Random(f"{name} {flags} {i}")
        hyper = {key: draw(rng) for key, draw in SPACES[name].items() if callable(draw)} | flags
        if "weight_decay" in hyper and i == 0:
            hyper["weight_decay"] = 0.0
        yield hyper


def label(name, flags):
    return "-".join([name, *(f"{key}={value}" for key, value in flags.items())])


def case(name, flags):
    """One combination of flags; the first of a method is in the quick tests too."""
    first = flags == combinations(name)[0]
    return pytest.param(name, flags, id=label(name, flags), marks=() if first else pytest.mark.ci)


def cases(names):
    return [case(name, flags) for name in names for flags in combinations(name)]


def edges(names):
    return [pytest.param(name, hyper, id=label(name, hyper)) for name in names for hyper in EDGES.get(name, [])]


# The walk: several tensors of all ranks, one zero at the start, random gradients with zeros among them.

SHAPES = [(17, 19), (11,), (), (5,)]
SCALES = [1.0, 1e-2, 30.0, 0.3]


def start():
    rng = torch.Generator().manual_seed(1)
    points = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES]
    points[-1] = torch.zeros_like(points[-1])
    return points


def gradients(steps):
    rng = torch.Generator().manual_seed(2)
    for t in range(steps):
        g = [
            scale * torch.randn(shape, generator=rng, dtype=torch.float64)
            for shape, scale in zip(SHAPES, SCALES, strict=True)
        ]
        zero = [torch.rand(shape, generator=rng) < 0.1 for shape in SHAPES]
        yield t, [x.masked_fill(z, 0.0) for x, z in zip(g, zero, strict=True)]


def agree(actual, expected, what, tolerance=1e-10):
    assert actual.shape == expected.shape, f"{what}: {tuple(actual.shape)} for {tuple(expected.shape)}"
    gap = ((actual - expected).abs() / (1 + expected.abs())).max().item()
    assert gap <= tolerance, f"{what}: {gap:.1e} apart"  # a NaN fails too


def rate(lr, t):
    return lr * (1 + 0.7 * math.sin(t))


@pytest.fixture
def double():
    """torch keeps NAdam's product of momenta in the default dtype, whatever the parameter's."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def transcribe(paper, hyper):
    """The transcription of a walk: `step(gradients, loss)` gives the parameters, `evaluated()` those to judge by."""
    if getattr(paper, "whole", False):
        return Together([paper(start(), **hyper)], whole=True)
    return Together([paper(p, **hyper) for p in start()])


class Together:
    """Transcriptions of all tensors of a walk, each for one or one for all."""

    def __init__(self, papers, whole=False):
        self.papers, self.whole = papers, whole
        self.loss = getattr(papers[0], "loss", False)
        self.curvature = getattr(papers[0], "curvature", False)

    def step(self, g, loss, h=None):
        more = (loss,) if self.loss else ()
        if self.whole:
            return self.papers[0].step(g, *((h,) if self.curvature else more))
        if self.curvature:
            return [paper.step(x, y) for paper, x, y in zip(self.papers, g, h or [None] * len(g), strict=True)]
        return [paper.step(x, *more) for paper, x in zip(self.papers, g, strict=True)]

    def measured(self, t):
        return curvature_at(t, getattr(self.papers[0], "least", -0.5)) if self.curvature else None

    def evaluated(self):
        if not hasattr(self.papers[0], "evaluated"):
            return None
        return self.papers[0].evaluated() if self.whole else [paper.evaluated() for paper in self.papers]

    def rate(self, lr):
        for paper in self.papers:
            paper.lr = lr


def loss_at(t):
    """What the closure of the walk returns at step t."""
    return 3.0 + math.cos(0.9 * t) + 2.0 / (1 + t)


def curvature_at(t, least):
    """The Hessian's diagonal of the walk, measured in every third step: also negative, or zero."""
    if t % 3:
        return None
    rng = torch.Generator().manual_seed(500 + t)
    return [
        (torch.randn(shape, generator=rng, dtype=torch.float64) + 0.5).clamp(min=least) * scale
        for shape, scale in zip(SHAPES, SCALES, strict=True)
    ]


def every_row(x):
    """As a sparse gradient that leaves out no row, for a rule that takes no other."""
    rows = torch.arange(len(x))[None] if x.dim() else torch.zeros(0, 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(rows, x if x.dim() else x[None], x.shape, check_invariants=True)


def follow(make, paper, hyper, steps=50, schedule=False):
    """Asserts that `make(params, **hyper)` goes where the paper goes, tensor by tensor and step by step."""
    params = [torch.nn.Parameter(p.clone()) for p in start()]
    opt = make(params, **hyper)
    papers = transcribe(paper, hyper)
    first = papers.papers[0].lr
    for t, g in gradients(steps):
        if schedule and t > 0:
            opt.param_groups[0]["lr"] = rate(first, t)
            papers.rate(rate(first, t))
        for p, x in zip(params, g, strict=True):
            p.grad = every_row(x) if type(opt).__name__ == "SparseAdam" else x.clone()
        h = papers.measured(t)
        given = {name: dict(zip(params, h, strict=True)) for name in type(opt).inputs} if h else {}
        opt.step((lambda t=t: loss_at(t)) if papers.loss else None, **given)
        for i, (p, x) in enumerate(zip(params, papers.step(g, loss_at(t), h), strict=True)):
            agree(p.detach(), x, f"{hyper}, step {t + 1}, tensor {i}", getattr(paper, "tolerance", 1e-10))
        if hasattr(opt, "eval") and (evaluated := papers.evaluated()) and (t % 7 == 0 or t == steps - 1):
            opt.eval()
            for i, (p, x) in enumerate(zip(params, evaluated, strict=True)):
                agree(p.detach(), x, f"{hyper}, step {t + 1}, tensor {i}, evaluated")
            opt.train()


def field(t):
    """A gradient that depends on where it is asked for: of a bowl with ripples, with noise."""
    rng = torch.Generator().manual_seed(100 + t)
    noise = [0.3 * torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES]
    return [lambda x, n=n: 0.8 * x + 0.5 * torch.cos(3 * x) + n for n in noise]


def follow_nag(backend, hyper, steps=50, schedule=False):
    """The parameter holds the look-ahead point while training, θ after eval(); both must be the paper's."""
    params = [torch.nn.Parameter(p.clone()) for p in start()]
    opt = ravine.NAG(params, backend=backend, **hyper)
    papers = [PAPERS["NAG"](p, **hyper) for p in start()]
    first = papers[0].lr
    for t in range(steps):
        if schedule and t > 0:
            opt.param_groups[0]["lr"] = rate(first, t)
            for x in papers:
                x.lr = rate(first, t)
        for p, f in zip(params, field(t), strict=True):
            p.grad = f(p.detach())
        opt.step()
        thetas = [x.step(f) for x, f in zip(papers, field(t), strict=True)]
        where = f"{hyper}, step {t + 1}"
        for p, x in zip(params, papers, strict=True):
            agree(p.detach(), x.ahead, f"{where}, look-ahead")
        if t % 7 == 0 or t == steps - 1:
            opt.eval()
            for p, theta in zip(params, thetas, strict=True):
                agree(p.detach(), theta, f"{where}, θ")
            opt.train()
            for p, x in zip(params, papers, strict=True):
                agree(p.detach(), x.ahead, f"{where}, look-ahead again")


def follow_ravine(name, backend, hyper, steps=50, schedule=False):
    if name == "NAG":
        follow_nag(backend, hyper, steps, schedule=schedule)
    else:
        follow(
            lambda params, **kw: getattr(ravine, name)(params, backend=backend, **kw),
            PAPERS[name],
            hyper,
            steps,
            schedule=schedule,
        )


SEEING = 20  # steps after which a walk sees every hyperparameter: see the end of this file


@pytest.fixture(params=["reference", pytest.param("llvm", marks=pytest.mark.slow)])  # llvm is held to it by a law
def backend(request):
    return request.param


# ravine against the papers


@pytest.mark.parametrize("name, flags", cases(PAPERS))
def test_rule_is_the_paper(name, flags, backend):
    for hyper in draws(name, flags):
        follow_ravine(name, backend, hyper, SEEING)


@pytest.mark.ci
@pytest.mark.parametrize("name", PAPERS)
def test_rule_is_the_paper_by_default(name, backend):
    follow_ravine(name, backend, {})


@pytest.mark.ci
@pytest.mark.parametrize("name, hyper", edges(PAPERS))
def test_rule_is_the_paper_at_the_edges(name, hyper, backend):
    follow_ravine(name, backend, hyper, SEEING)


SCHEDULED = ["SGD", "Momentum", "NAG", "Adagrad", "Rprop", "RMSprop", "LAMB", *FOUND_SPACES]


@pytest.mark.ci
@pytest.mark.parametrize("name, flags", cases(SCHEDULED))
def test_rule_is_the_paper_while_the_rate_changes(name, flags, backend):
    for hyper in draws(name, flags, count=1):
        follow_ravine(name, backend, hyper, SEEING, schedule=True)


# The papers against torch: what the rules are measured with is measured first

# torch's Muon takes matrices only and computes in bf16: tests/optim/test_muon.py has it
IN_TORCH = [name for name in PAPERS if hasattr(torch.optim, name) and name != "Muon"]


def torch_cases():
    """The flags torch has; ravine's own stay at their defaults, which must be torch's form."""
    for name in IN_TORCH:
        own = inspect.signature(PAPERS[name]).parameters
        theirs = inspect.signature(getattr(torch.optim, name)).parameters
        for flags in combinations(name):
            if all(key in theirs or value == own[key].default for key, value in flags.items()):
                yield case(name, flags)


def only_torch(name, hyper):
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    return {key: value for key, value in hyper.items() if key in theirs}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name, flags", list(torch_cases()))
def test_paper_is_torch(name, flags):
    first, second = (only_torch(name, hyper) for hyper in draws(name, flags))
    follow(getattr(torch.optim, name), PAPERS[name], first, 100)
    follow(getattr(torch.optim, name), PAPERS[name], second, 100, schedule=True)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", IN_TORCH)
def test_paper_is_torch_by_default(name):
    follow(getattr(torch.optim, name), PAPERS[name], {}, 100)


@pytest.mark.ci
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name, hyper", edges(IN_TORCH))
def test_paper_is_torch_at_the_edges(name, hyper):
    if only_torch(name, hyper) == hyper:
        follow(getattr(torch.optim, name), PAPERS[name], hyper, 100)


@pytest.mark.parametrize("name", IN_TORCH)
def test_paper_has_torchs_defaults(name):
    own = inspect.signature(PAPERS[name]).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    shared = [key for key in own if key in theirs and key not in ("p", "params")]
    assert {key: own[key].default for key in shared} == {key: theirs[key].default for key in shared}


# The walk itself: it must see every hyperparameter, or an agreement says nothing about that one


def end(name, hyper, steps=SEEING):
    papers = transcribe(PAPERS[name], hyper)
    for t, g in gradients(steps):
        last = papers.step(field(t) if name == "NAG" else g, loss_at(t), papers.measured(t))
    end = torch.cat([p.flatten() for p in [*last, *(papers.evaluated() or [])]])
    assert end.isfinite().all()
    return end


def changed(name, key, hyper):
    """The same hyperparameters with this one 1 % off, or each of its other values in turn."""
    value = hyper[key]
    if isinstance(SPACES[name][key], list):
        others = [other for other in SPACES[name][key] if other != value]
    elif isinstance(value, tuple):
        others = [(*value[:i], x * 0.99, *value[i + 1 :]) for i, x in enumerate(value)]
    elif key == "threshold":
        others = [value + 1]
    else:
        others = [value * 1.01]
    return [hyper | {key: other} for other in others if allowed(hyper | {key: other})]


def idle(name, hyper, other):
    """Whether the method itself says that this change does nothing; a file of a paper may say so in IDLE."""
    change = {key for key in hyper if hyper[key] != other[key]}
    if name in FOUND_IDLE:
        return FOUND_IDLE[name](change, hyper)
    return (
        (change == {"dampening"} and hyper["momentum"] == 0)
        or (change == {"momentum_decay"} and (hyper["constant_beta"] or hyper["form"] == "overview"))
        or (change == {"constant_beta"} and hyper["form"] == "overview")
        or (change == {"form"} and name == "NAdam" and hyper["constant_beta"] and not hyper["bias_correction"])
        or (change == {"eps_inside"} and not hyper.get("square_root", True))
        or (change == {"form"} and {hyper["form"], other["form"]} == {"heavy_ball", "polyak"})
    )


@pytest.mark.slow
@pytest.mark.parametrize("name, key", [(name, key) for name in SPACES for key in SPACES[name]])
def test_walk_sees(name, key):
    rows = combinations(name)
    _, drawn = draws(name, {})
    for flags in rows if isinstance(SPACES[name][key], list) else (rows[0], rows[-1]):
        hyper = drawn | flags
        for other in changed(name, key, hyper):
            gap = (end(name, hyper) - end(name, other)).abs().max().item()
            if idle(name, hyper, other):
                assert gap < 1e-12, f"{other} for {hyper}: {gap:.1e}"
            else:
                assert gap > 1e-8, f"{other} for {hyper}: {gap:.1e}"
