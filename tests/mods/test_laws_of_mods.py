"""The laws of modifiers: each of them on rules of several kinds, on every backend and on every kind of tensor."""

import inspect
import math

import pytest
import torch
from modifiers import (
    ALL,
    RULES,
    SHAPES,
    backends,
    differ,
    each,
    each_rule,
    equal,
    everything,
    gradients,
    near,
    of,
    parameters,
    walk,
)
from torch import nn

import ravine
from ravine.catalog.bib import papers
from ravine.mods import (
    AGC,
    EMA,
    GPA,
    L1,
    Cautious,
    ClipNorm,
    ClipValue,
    DecoupledDecay,
    EMANesterov,
    GradientAveraging,
    GradientNoise,
    Grams,
    UpdateFloor,
)
from ravine.mods.shown import Shown


@pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES[k], id=k, marks={"adam": (), "lamb": pytest.mark.ci}.get(k, pytest.mark.slow)) for k in RULES],
)
@each
@pytest.mark.ci
def test_backends_agree(rule, hyper, make):
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 3e-5)):
        paths = [walk(rule(parameters(dtype), mods=[make()], backend=b, **hyper)) for b in ("reference", "llvm")]
        assert all(x.isfinite().all() for x in paths[0])
        if isinstance(make(), GradientNoise):  # its noise is float32
            tolerance = max(tolerance, 1e-6)
        if isinstance(make(), UpdateFloor) and dtype == torch.float32:  # p − u′, whose rounding it multiplies
            tolerance = 3e-4
        near(*paths, tolerance)


@each_rule
@each
def test_a_modifier_does_something(rule, hyper, make):
    opt = rule(parameters(), mods=[make()], **hyper)
    plain, worn = walk(rule(parameters(), **hyper)), walk(opt)
    if isinstance(make(), Shown):  # an average watches, and is another thing
        equal(worn, plain)
        opt.eval()
        worn = [p.detach() for p in of(opt)]
    assert differ(worn, plain)


@backends
@each
def test_a_nan_comes_through_and_stays_out_of_other_tensors(make, backend):
    mod = make()
    p, q = parameters(shapes=[(4, 3), (5,)])
    opt = ravine.SGD([p, q], lr=0.1, mods=[mod], backend=backend)
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    p.grad[1, 2] = math.nan
    opt.step()
    assert p[1, 2].isnan()
    assert q.isnan().any().item() == isinstance(mod, ClipNorm)
    if isinstance(mod, ClipValue | GradientNoise | Cautious | Grams | DecoupledDecay | L1 | Shown | EMANesterov | GPA):
        assert p.isnan().sum() == 1


@backends
@each
def test_zero_gradients_and_zero_weights_make_no_nan(make, backend):
    params = [nn.Parameter(torch.zeros(s)) for s in [(), (3,), (4, 2), (0, 2)]]
    opt = ravine.SGD(params, lr=0.1, mods=[make()], backend=backend)
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        opt.step()
    assert all(x.isfinite().all() for x in everything(opt))
    if not isinstance(make(), GradientNoise):
        assert all((p == 0).all() for p in params)


@backends
@pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES["sgd"], id="sgd"), pytest.param(*RULES["lamb"], id="lamb", marks=pytest.mark.ci)],
)
@each
@pytest.mark.ci
def test_low_precision_with_and_without_float32_states(rule, hyper, make, backend):
    for storage in (None, "float32"):
        params = parameters(torch.bfloat16)
        opt = rule(params, mods=[make()], backend=backend, storage=storage, **hyper)
        walk(opt, 3)
        assert all(p.dtype == torch.bfloat16 and p.isfinite().all() for p in params)
        for p in params:
            for k, x in opt.state[p].items():
                if x.shape == p.shape and p.dim():
                    assert x.dtype == (torch.float32 if storage else torch.bfloat16), k


def test_noise_and_rows_of_maximized_gradients():
    for make in ALL.values():
        up = ravine.SGD(parameters(), lr=0.1, maximize=True, mods=[make()])
        down = ravine.SGD(parameters(), lr=0.1, mods=[make()])
        walk(up, 2)
        for t in range(2):
            for p, g in zip(of(down), gradients(t, SHAPES), strict=True):
                p.grad = -g
            down.step()
        equal(everything(up), everything(down))


def test_gradients_in_memory_stay_as_they_are():
    for make in ALL.values():
        opt = ravine.Adam(parameters(), mods=[make()])
        walk(opt, 1)
        equal([p.grad for p in of(opt)], gradients(0, SHAPES))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClipNorm(-1.0), "max_norm"),
        (lambda: ClipNorm("1"), "max_norm"),
        (lambda: EMA(1.5), "decay"),
        (lambda: EMA(0.9, "slow"), "warmup"),
        (lambda: GradientAveraging(-0.1), "decay"),
        (lambda: AGC(0.0), "clipping"),
        (lambda: Cautious(0.0), "floor"),
        (lambda: Cautious(plus_one=1), "plus_one"),
        (lambda: GradientNoise(seed=0.5), "seed"),
        (lambda: L1(math.nan), "l1"),
        (lambda: ravine.Adam(parameters(), mods=[EMA]), "mods"),
        (lambda: ravine.Adam(parameters(), mods=EMA(0.9)), "mods"),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


CLASSES = [x for x in vars(ravine.mods).values() if inspect.isclass(x)]


@pytest.mark.parametrize("mod", CLASSES, ids=lambda x: x.__name__)
def test_every_modifier_is_documented(mod):
    assert {type(make()) for make in ALL.values()} == set(CLASSES)
    text = inspect.getdoc(mod)
    assert "\n\nUse it" in text and "https://" in text and "    " in text
    assert mod.papers and set(mod.papers) <= papers().keys()
