"""Modifiers against their papers' equations, written out in float64 around a rule that steps beside them."""

import math

import pytest
import torch
from torch import nn

import ravine
from ravine.mods import GPA, CautiousDecay, DecoupledDecay, EMANesterov, Hyperball, RadialBrake, UpdateFloor

SHAPES = [(6, 4), (3, 2, 2), (5,), (0, 3)]
RATES = [0.05, 0.1, 0.2, 0.2, 0.1, 0.02, 0.0, 0.15]
backends = pytest.mark.parametrize("backend", ["reference", "llvm"])
RULES = {"sgd": (ravine.SGD, {"momentum": 0.9}), "adam": (ravine.Adam, {}), "lion": (ravine.Lion, {})}
rules = pytest.mark.parametrize(
    ("rule", "hyper"), [pytest.param(*RULES[k], id=k, marks=() if k == "adam" else pytest.mark.ci) for k in RULES]
)


def drawn(seed, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES]


class Walk:
    """A rule with a modifier, and the same rule without: both are given gradients where the first one stands."""

    def __init__(self, mod, rule=ravine.Adam, backend="reference", **hyper):
        self.params, self.others = ([nn.Parameter(x) for x in drawn(0)] for _ in range(2))
        self.opt = rule(self.params, lr=0.1, mods=[mod], backend=backend, **hyper)
        self.plain = rule(self.others, lr=0.1, backend="reference", **hyper)

    def step(self, t, lr):
        """Weights before, what the rule makes of them, what the modifier does."""
        for opt in (self.opt, self.plain):
            opt.param_groups[0]["lr"] = lr
        before = [p.detach().clone() for p in self.params]
        for p, q, g in zip(self.params, self.others, drawn(100 + t), strict=True):
            q.data.copy_(p)
            p.grad, q.grad = g.clone(), g.clone()
        self.opt.step()
        self.plain.step()
        return before, [q.detach().clone() for q in self.others], [p.detach().clone() for p in self.params]


def near(found, expected, tolerance=1e-11):
    for x, y in zip(found, expected, strict=True):
        assert torch.allclose(x, y, tolerance, tolerance), float((x - y).abs().max())


def flat(x):
    return x.ndim < 2 or not x.numel()


# decay


@rules
@backends
@pytest.mark.parametrize("cautious", [False, True])
@pytest.mark.parametrize("own", [("lr",), ("independent",), ("lr2",), ("lr2", 0.4)], ids=str)
def test_decay_by_its_scale(own, cautious, backend, rule, hyper):
    """x ← x − η u − s λ 𝕀(u x ≥ 0) x, with s = η, 1 or η² / η_max."""
    walk, largest = Walk((CautiousDecay if cautious else DecoupledDecay)(0.3, *own), rule, backend, **hyper), 0.0
    for t, lr in enumerate(RATES):
        largest = max(largest, lr)
        s = {"lr": lr, "independent": 1.0, "lr2": lr * lr / (own[1] if len(own) > 1 else largest)}[own[0]]
        before, made, after = walk.step(t, lr)
        mask = [((x - y) * x >= 0).double() if cautious else 1.0 for x, y in zip(before, made, strict=True)]
        near(after, [y - s * 0.3 * m * x for x, y, m in zip(before, made, mask, strict=True)])


def test_cautious_decay_never_pulls_against_the_step():
    walk = Walk(CautiousDecay(0.5))
    held = 0
    for t, lr in enumerate(RATES[:6]):
        for x, y, z in zip(*walk.step(t, lr), strict=True):
            away = (y - x) * x > 0
            held += int(away.sum())
            assert torch.equal(z[away], y[away]) and (z[~away] - y[~away]).abs().gt(0).all()
    assert held


def test_a_step_of_nothing_decays_with_caution_too():
    p = nn.Parameter(torch.tensor([2.0, -4.0], dtype=torch.float64))
    p.grad = torch.zeros_like(p)
    ravine.SGD([p], lr=0.5, mods=[CautiousDecay(0.5)]).step()
    assert p.tolist() == [1.5, -3.0]


def test_corrected_decay_at_a_constant_rate_is_the_usual():
    for own in (("lr2",), ("lr2", 0.1)):
        a, b = Walk(DecoupledDecay(0.3, *own)), Walk(DecoupledDecay(0.3))
        for t in range(5):
            near(a.step(t, 0.1)[2], b.step(t, 0.1)[2], 1e-14)


def test_corrected_decay_keeps_a_normalized_layer_in_balance():
    """Of a loss that does not depend on ‖x‖: ‖g‖ / ‖x‖ settles at √(2 λ / γ), and with the correction γ may fall."""

    def ratio(scale):
        made, p = torch.Generator().manual_seed(0), nn.Parameter(torch.ones(200, dtype=torch.float64))
        opt = ravine.SGD([p], lr=0.1, mods=[DecoupledDecay(0.1, scale)])
        for t in range(4000):
            opt.param_groups[0]["lr"] = 0.1 if t < 1000 else 0.02
            noise = torch.randn(200, generator=made, dtype=torch.float64)
            noise -= p.detach() * (noise @ p.detach()) / (p.detach() @ p.detach())
            p.grad = noise / noise.norm() / p.detach().norm()
            opt.step()
        return float(p.grad.norm() / p.detach().norm())

    assert ratio("lr2") == pytest.approx(math.sqrt(2 * 0.1 / 0.1), rel=0.03)
    assert ratio("lr") == pytest.approx(math.sqrt(2 * 0.1 / 0.02), rel=0.2)


# norms


@rules
@backends
def test_hyperball_by_its_equation(backend, rule, hyper):
    """W ← R Normalize(W − η R Normalize(u)), R = ‖W₀‖."""
    walk = Walk(Hyperball(), rule, backend, **hyper)
    R = [x.norm() for x in drawn(0)]
    for t, lr in enumerate(RATES):
        before, made, after = walk.step(t, lr)
        expected = []
        for x, y, r in zip(before, made, R, strict=True):
            u = x - y
            w = x - lr * r * u / u.norm().clamp(min=1e-300)
            expected.append(y if flat(x) else r * w / w.norm())
        near(after, expected, 1e-10)
        near([x.norm() for x in after if not flat(x)], [r for x, r in zip(after, R, strict=True) if not flat(x)])


def test_a_step_on_the_hyperball_is_an_angle_of_lr():
    walk = Walk(Hyperball())
    before, _, after = walk.step(0, 0.01)
    for x, y in zip(before[:2], after[:2], strict=True):
        cosine = float((x * y).sum() / x.norm() / y.norm())
        assert 0.5 * 0.01 < math.acos(cosine) < 1.01 * 0.01


def test_hyperball_leaves_what_begins_as_zeros_to_the_rule():
    p, q = (nn.Parameter(torch.zeros(3, 3, dtype=torch.float64)) for _ in range(2))
    a, b = ravine.Adam([p], lr=0.1, mods=[Hyperball()]), ravine.Adam([q], lr=0.1)
    for t in range(4):
        p.grad = q.grad = drawn(t)[0][:3, :3]
        a.step()
        b.step()
    assert torch.equal(p, q) and p.norm() > 0


@rules
@backends
@pytest.mark.parametrize(("outward", "inward"), [(0.5, 1.0), (0.0, 0.3), (0.2, 0.0)])
def test_the_radial_brake_by_its_equation(outward, inward, backend, rule, hyper):
    """‖w‖ ← ‖w₋₁‖ + s (‖w‖ − ‖w₋₁‖)."""
    walk, seen = Walk(RadialBrake(outward, inward), rule, backend, **hyper), set()
    for t, lr in enumerate(RATES):
        before, made, after = walk.step(t, lr)
        for x, y, z in zip(before, made, after, strict=True):
            grown = y.norm() - x.norm()
            seen.add(bool(grown > 0))
            wanted = x.norm() + (outward if grown > 0 else inward) * grown
            near([z], [y if flat(x) else y * wanted / y.norm()])
    assert seen == {True, False}


def test_a_brake_that_lets_all_through_is_the_rule_and_one_that_lets_nothing_keeps_norms():
    for t, lr in enumerate(RATES):
        free, held = Walk(RadialBrake(1.0, 1.0)), Walk(RadialBrake(0.0, 0.0))
        _, made, after = free.step(t, lr)
        assert all(torch.equal(x, y) for x, y in zip(made, after, strict=True))
        before, _, after = held.step(t, lr)
        near([x.norm() for x in after[:2]], [x.norm() for x in before[:2]], 1e-14)


@rules
@backends
@pytest.mark.parametrize("ratio", [0.35, 5.0])
def test_the_floor_of_updates_by_its_equation(ratio, backend, rule, hyper):
    """u ← u · max(1, ratio ‖w‖ / ‖u‖) for w ← w − η u."""
    walk, raised = Walk(UpdateFloor(ratio), rule, backend, **hyper), 0
    for t, lr in enumerate(RATES):
        before, made, after = walk.step(t, lr)
        for x, y, z in zip(before, made, after, strict=True):
            u = (x - y) / lr if lr else torch.zeros_like(x)
            times = max(1.0, float(ratio * x.norm() / u.norm())) if u.norm() > 0 and not flat(x) else 1.0
            raised += times > 1
            near([z], [x - lr * times * u])
            if u.norm() > 0 and not flat(x):
                assert (z - x).norm() >= 0.999999 * lr * ratio * x.norm()
    assert raised or ratio < 1


@rules
@backends
@pytest.mark.parametrize("ratio", [0.35, 5.0])
def test_the_floor_of_each_row_by_its_equation(ratio, backend, rule, hyper):
    walk, raised = Walk(UpdateFloor(ratio, rows=True), rule, backend, **hyper), 0
    for t, lr in enumerate(RATES):
        before, made, after = walk.step(t, lr)
        for x, y, z in zip(before, made, after, strict=True):
            if flat(x):
                near([z], [y])
                continue
            for a, b, c in zip(x.flatten(1), y.flatten(1), z.flatten(1), strict=True):
                u = a - b
                times = max(1.0, float(lr * ratio * a.norm() / u.norm())) if u.norm() > 0 else 1.0
                raised += times > 1
                near([c], [a - times * u])
    assert raised or ratio < 1


# a point ahead


@rules
@backends
@pytest.mark.parametrize("own", [{}, {"start": 2.0, "stop": 6.0}], ids=["always", "between"])
def test_ema_nesterov_by_its_equations(own, backend, rule, hyper):
    """θ′ = A(θ + β m), m ← γ m + (1 − γ)(θ′ − θ), as in the authors' code: β lr / lr_max, from one step to another."""
    walk, largest = Walk(EMANesterov(0.5, 0.8, **own), rule, backend, **hyper), 0.0
    theta, m = drawn(0), [torch.zeros_like(x) for x in drawn(0)]
    for t, lr in enumerate(RATES, 1):
        largest = max(largest, lr)
        _, made, after = walk.step(t, lr)
        m = [0.8 * a + 0.2 * (y - x) for a, x, y in zip(m, theta, made, strict=True)]
        theta = made
        beta = 0.5 * lr / largest if own.get("start", 0) < t + 1 <= own.get("stop", math.inf) else 0.0
        near(after, [x + beta * a for x, a in zip(theta, m, strict=True)])
        walk.opt.eval()
        near([p.detach() for p in walk.params], theta)
        walk.opt.train()
        near([p.detach() for p in walk.params], after, 0)


@rules
@backends
def test_gpa_by_its_equations(backend, rule, hyper):
    """y = μy x + (1 − μy) z, z ← z + A(y) − y, x ← μx x + (1 − μx) z."""
    walk, (mx, my) = Walk(GPA(0.9, 0.6), rule, backend, **hyper), (0.9, 0.6)
    x, z = drawn(0), drawn(0)
    for t, lr in enumerate(RATES):
        before, made, after = walk.step(t, lr)
        near(before, [my * a + (1 - my) * b for a, b in zip(x, z, strict=True)])
        z = [b + (u - y) for b, u, y in zip(z, made, before, strict=True)]
        x = [mx * a + (1 - mx) * b for a, b in zip(x, z, strict=True)]
        near(after, [my * a + (1 - my) * b for a, b in zip(x, z, strict=True)])
        walk.opt.eval()
        near([p.detach() for p in walk.params], x)
        walk.opt.train()


@pytest.mark.parametrize("mod", [EMANesterov(0.0, 0.9), GPA(0.0, 0.7)], ids=["no lookahead", "no average"])
def test_ahead_by_nothing_is_the_rule(mod):
    walk = Walk(mod)
    for t, lr in enumerate(RATES):
        _, made, after = walk.step(t, lr)
        near(after, made, 1e-14)
        walk.opt.eval()
        near([p.detach() for p in walk.params], made, 1e-14)
        walk.opt.train()


def slope(p, t):
    """A gradient that depends on where it is taken."""
    return [x.detach().sin() + g for x, g in zip(p, drawn(100 + t, 0.1), strict=True)]


@pytest.mark.parametrize(("my", "nesterov"), [(1.0, False), (0.8, True)], ids=["heavy ball", "Nesterov"])
def test_gpa_of_sgd_is_momentum(my, nesterov):
    """With μ = μx: at μy = 1 the average moves as under momentum μ, at μy = μ the point of the gradients as under
    Nesterov's, with a rate of (1 − μ) lr."""
    mu, a, b = 0.8, [nn.Parameter(x) for x in drawn(0)], [nn.Parameter(x) for x in drawn(0)]
    one = ravine.SGD(a, lr=0.5, mods=[GPA(mu, my)])
    two = torch.optim.SGD(b, lr=0.5 * (1 - mu), momentum=mu, nesterov=nesterov)
    for t in range(20):
        for params, opt in ((a, one), (b, two)):
            for p, g in zip(params, slope(params, t), strict=True):
                p.grad = g
            opt.step()
        near([p.detach() for p in a], [p.detach() for p in b])
