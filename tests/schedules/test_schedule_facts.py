"""Facts from the papers, and how schedules are put together."""

import math

import pytest

from ravine.schedules import (
    WSD,
    Constant,
    Cosine,
    ExponentialWarmup,
    InverseSqrt,
    InverseTime,
    Linear,
    OneCycle,
    Plateau,
    Points,
    Triangular,
    UntunedWarmup,
    WarmRestarts,
    Warmup,
    create,
    find,
    names,
    scaling,
)


def test_the_transformers_rate():
    """Vaswani et al. 2017: d^(−½) min(n^(−½), n w^(−3/2)) at step n = 1, 2, …"""
    d, w = 512, 400
    for n in (1, 17, 399, 400, 401, 5000):
        paper = d**-0.5 * min(n**-0.5, n * w**-1.5)
        assert math.isclose((d * w) ** -0.5 * InverseSqrt(w)(n - 1), paper, rel_tol=1e-14)


def test_the_untuned_warmups():
    """Ma & Yarats: linear over 2/(1 − β₂) steps; both have the same sum of what they hold back, in the limit."""
    linear, exponential = UntunedWarmup(0.99), UntunedWarmup(0.99, "exponential")
    assert [linear(t) for t in (0, 99, 198, 199, 200)] == pytest.approx([0.005, 0.5, 0.995, 1.0, 1.0], rel=1e-12)
    assert linear(198) < 1 == linear(10**6)
    assert all(math.isclose(linear(t), Warmup(200)(t), rel_tol=1e-12) for t in range(300))
    assert all(math.isclose(exponential(t), ExponentialWarmup(100)(t), rel_tol=1e-12) for t in range(300))
    held = [sum(1 - s(t) for t in range(4000)) for s in (linear, exponential)]
    assert held == pytest.approx([100, 100], rel=0.01)


def test_one_over_t():
    """The sum grows without end, as a logarithm; that of the squares does not."""
    s = InverseTime(1.0)
    assert [s(t) for t in range(4)] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert sum(s(t) for t in range(10**5)) == pytest.approx(math.log(10**5) + 0.57722, abs=1e-4)
    assert sum(s(t) ** 2 for t in range(10**5)) == pytest.approx(math.pi**2 / 6, abs=1e-4)


def test_restarts_are_where_the_periods_say():
    s = WarmRestarts(10, factor=3, end=0.1)  # 10, 30, 90 … steps
    assert [t for t in range(1, 400) if s(t) > s(t - 1)] == [10, 40, 130]
    assert s(10) == s(40) == s(130) == 1.0 and s(25) == pytest.approx(0.55)
    assert WarmRestarts(1)(10**9) == 1.0


@pytest.mark.parametrize(
    ("shape", "middle"),
    [("linear", 0.55), ("sqrt", 1 - 0.9 * math.sqrt(0.5)), ("cosine", 0.55), ("exponential", math.sqrt(0.1))],
)
def test_wsd(shape, middle):
    s = WSD(100, warmup=10, decay=20, shape=shape, end=0.1)
    assert [s(t) for t in (0, 4, 9, 10, 50, 80)] == [0.1, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert s(90) == pytest.approx(middle) and s(100) == pytest.approx(0.1) == s(10**6)
    down = [s(t) for t in range(80, 101)]
    assert down == sorted(down, reverse=True) and len(set(down)) == 21
    assert WSD(5, warmup=0, decay=5)(0) == 1.0


def test_products_and_sequences():
    both, after = Warmup(10) * Cosine(100), Warmup(10).then(10, Cosine(100))
    assert both(4) == 0.5 * Cosine(100)(4) and both(50) == Cosine(100)(50)
    assert after(9) == 1.0 == after(10) and after(60) == Cosine(100)(50)
    assert (Cosine(9) * 0.5)(0) == (0.5 * Cosine(9))(0) == 0.5 and (2 * Constant(3))(7) == 6.0
    three = Warmup(2).then(2, Constant().then(3, Linear(5)))
    assert [three(t) for t in (0, 1, 2, 4, 5, 10, 99)] == [0.5, 1, 1, 1, 1, 0, 0]


def test_absolute_values():
    s = Linear(10).between(0.04, 0.4)
    assert s.absolute and not Linear(10).absolute
    assert [s(t) for t in (0, 5, 10, 99)] == pytest.approx([0.04, 0.22, 0.4, 0.4])
    assert (s * Warmup(2)).absolute and (Warmup(2) * s)(0) == 0.02
    assert s.then(5, s).absolute and OneCycle(9).momentum().absolute
    with pytest.raises(ValueError, match="both absolute"):
        s * s
    with pytest.raises(ValueError, match="one is absolute"):
        s.then(3, Linear(3))


def test_points():
    s = Points(((2, 1.0), (4, 3.0), (4, 0.0), (8, 1.0)))
    assert [s(t) for t in (0, 2, 3, 4, 6, 8, 9)] == [1, 1, 2, 0, 0.5, 1, 1]
    assert Points(((0, 0.0), (4, 1.0)), "cosine")(1) == pytest.approx(math.sin(math.pi / 8) ** 2)


@pytest.mark.parametrize(
    ("none", "same"),
    [
        (Warmup(0), Constant()),
        (Warmup(0, start=0.1), Constant()),
        (Warmup(0) * Cosine(9), Cosine(9)),
        (Warmup(0).then(0, Cosine(9)), Cosine(9)),
        (ExponentialWarmup(0), Constant()),
        (InverseSqrt(0), InverseSqrt(1)),
        (WSD(9, warmup=0, decay=9, shape="linear"), Linear(9)),
        (WSD(9, warmup=0, decay=0), Constant()),
        (create("cosine", 9, warmup=0), Cosine(9)),
    ],
    ids=repr,
)
def test_a_warmup_of_0_steps_is_none(none, same):
    assert [none(t) for t in range(12)] == [same(t) for t in range(12)]


@pytest.mark.parametrize("make", [lambda: Warmup(-1), lambda: Warmup(3).then(-1, Cosine(9)), lambda: InverseSqrt(-1)])
def test_and_one_of_fewer_is_an_error(make):
    with pytest.raises(ValueError, match=r"is -1; it must lie in \[0, inf\)"):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cosine(0), r"Cosine: total is 0; it must lie in \[1, inf\)"),
        (lambda: Cosine(10.0), "Cosine: total is 10.0; it must be a whole number"),
        (lambda: Cosine(10, end="low"), "Cosine: end is 'low'; it must be a number"),
        (lambda: Warmup(10, start=2.0), r"Warmup: start is 2; it must lie in \[0, 1\]"),
        (lambda: UntunedWarmup(1.0), r"beta2 is 1; it must lie in \[0, 1\)"),
        (lambda: UntunedWarmup(form="square"), "form is 'square'; it must be one of 'linear', 'exponential'"),
        (lambda: WSD(10, 6, 5), "warmup 6 and decay 5 are longer than total 10"),
        (lambda: WSD(10, 1, 5, shape="exponential"), "give end, such as end=0.1"),
        (lambda: OneCycle(10, warm=0.6, three_phase=True), "at most 0.5"),
        (lambda: Points(((0, 1.0),)), "two or more"),
        (lambda: Points(((1, 1.0), (0, 1.0))), "in the order of their t"),
        (lambda: Plateau(factor=1.0), r"factor is 1; it must lie in \(0, 1\)"),
        (lambda: create("cosin", 10), "unknown schedule 'cosin': did you mean cosine"),
        (lambda: create("qqq", 10), "unknown schedule 'qqq': `ravine schedule` lists them"),
        (lambda: create("cosine", 10, ned=0.1), "cosine has no 'ned': did you mean end"),
        (lambda: create("constant", 10, absolute=True), "has no 'absolute'"),
        (lambda: create("cosine", 0), "total is 0"),
        (lambda: create("cosine", 10, warmup=10), "warmup is 10; .* below total = 10"),
        (lambda: scaling.adam(1e-3, 8192, 256), "a batch of 256 allow one of 2560 at most, not 8192"),
        (lambda: scaling.linear(1e-3, 0, 256), "both must be above 0"),
    ],
)
def test_mistakes(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_a_made_schedule_cannot_change():
    with pytest.raises(AttributeError):
        Cosine(10).total = 11  # pyright: ignore[reportAttributeAccessIssue]


def test_names():
    assert find("1/t") is InverseTime and find("Warm_Restarts") is find("sgdr") is WarmRestarts and find("WSD") is WSD
    assert len(names()) == len(set(names())) == 19
    assert create("cosine", 100, warmup=20) == Warmup(20).then(20, Cosine(80))
    assert create("wsd", 100, warmup=20) == WSD(100, 20, 20) and create("noam", 100, warmup=7) == InverseSqrt(7)
    assert create("triangular", 100, up=5) == Triangular(5)


def test_scaling_twice_is_scaling_once():
    """Malladi et al.: averages keep their length in samples, (1 − β)/κ; linear and root rules are powers of κ."""
    once = scaling.adam(1e-3, 1024, 256, (0.9, 0.999), 1e-8)
    half = scaling.adam(1e-3, 512, 256, (0.9, 0.999), 1e-8)
    twice = scaling.adam(half["lr"], 1024, 512, half["betas"], half["eps"])
    for k in once:
        assert twice[k] == pytest.approx(once[k], rel=1e-12)
    assert (once["lr"], once["eps"]) == (2e-3, 5e-9) and once["betas"] == pytest.approx((0.6, 0.996))
    assert scaling.linear(0.1, 8192, 256) == 3.2 and scaling.linear(3.2, 256, 8192) == pytest.approx(0.1)
    assert scaling.square_root(0.1, 1024, 256) == 0.2
