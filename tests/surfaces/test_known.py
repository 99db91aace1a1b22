"""What is said of surfaces is true."""

import math

import pytest
import torch
from torch.autograd.functional import hessian

import ravine
from ravine.surfaces import NAMES, Run, descend, find
from ravine.surfaces.known.matrix import turns

SMOOTH = [name for name in NAMES if name not in ("absolute", "ackley", "reddi")]


def gradient(surface, point):
    p = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(surface.loss(*p), p)[0]


def curvatures(surface, point):
    h = hessian(lambda p: surface.loss(*p), torch.tensor(point, dtype=torch.float64))
    return torch.linalg.eigvalsh(h).tolist()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", SMOOTH)
def test_minima_are_minima_and_saddles_are_saddles(name):
    surface = find(name)
    assert surface.minima or surface.saddles
    for point in (*surface.minima, *surface.saddles):
        assert gradient(surface, point).abs().max() < 2e-8, point
    for point in surface.minima:
        assert curvatures(surface, point)[0] > 0, point
    for point in surface.saddles if name != "monkey-saddle" else ():
        low, high = curvatures(surface, point)
        assert low < 0 < high, point


@pytest.mark.parametrize("name", SMOOTH)
def test_the_first_minimum_is_the_lowest_and_all_lie_in_the_view(name):
    surface = find(name)
    (x0, x1), (y0, y1) = surface.view
    for x, y in (surface.start, *surface.minima, *surface.saddles):
        assert x0 <= x <= x1 and y0 <= y <= y1
    if surface.minima:
        grid = torch.meshgrid(torch.linspace(x0, x1, 80), torch.linspace(y0, y1, 80), indexing="xy")
        lowest = float(surface.loss(*torch.tensor(surface.minima[0], dtype=torch.float64)))
        assert lowest <= float(surface.loss(*(x.double() for x in grid)).min()) + 1e-12


VALUES = [  # where a textbook or the paper gives the number
    ("quadratic", (1.0, 1.0), 10.0),
    ("beale", (3.0, 0.5), 0.0),
    ("rosenbrock", (-1.2, 1.0), 24.2),
    ("himmelblau", (3.0, 2.0), 0.0),
    ("rastrigin", (0.0, 0.0), 0.0),
    ("ackley", (0.0, 0.0), 0.0),
    ("styblinski-tang", (-2.903534, -2.903534), -78.3323),
    ("booth", (1.0, 3.0), 0.0),
    ("camel", (0.0898, -0.7126), -1.0316),
    ("absolute", (-2.0, 0.5), 7.0),
]


@pytest.mark.parametrize(("name", "point", "value"), VALUES)
def test_values_are_the_literatures(name, point, value):
    assert find(name).loss(*torch.tensor(point, dtype=torch.float64)).item() == pytest.approx(value, abs=1e-4)


def test_the_gradient_of_the_quadratic_is_twelve_and_eight():
    assert gradient(find("quadratic"), (1.0, 1.0)).tolist() == [12.0, 8.0]


def test_the_monkey_saddle_goes_down_three_ways_and_has_no_curvature():
    monkey = find("monkey-saddle")
    assert curvatures(monkey, (0.0, 0.0)) == [0.0, 0.0]
    around = [2 * math.pi * i / 12 for i in range(12)]
    values = [monkey.loss(*torch.tensor([math.cos(a), math.sin(a)])).item() for a in around]
    signs = [v > 0 for v in values if abs(v) > 1e-6]
    assert sum(a != b for a, b in zip(signs, [*signs[1:], signs[0]], strict=True)) == 6


@pytest.mark.parametrize(("name", "point"), [("absolute", (0.0, 0.0)), ("ackley", (0.0, 0.0))])
def test_kinks_are_lowest_and_have_a_gradient_of_zero_there(name, point):
    surface = find(name)
    here = surface.loss(*torch.tensor(point, dtype=torch.float64))
    around = torch.randn(2, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (surface.loss(*around) > here).all()
    assert gradient(surface, point).abs().max() < 1e-12


def test_the_ravine_is_turned_and_as_steep_as_it_says():
    turned = find("ravine", condition=25, angle=30)
    along = (math.cos(math.radians(30)), math.sin(math.radians(30)))
    assert turned.loss(*torch.tensor(along, dtype=torch.float64)).item() == pytest.approx(0.5)
    assert curvatures(turned, (0.3, -0.2)) == pytest.approx([1.0, 25.0])


def test_the_noise_of_the_noisy_quadratic_is_that_of_a_batch():
    noisy = find("noisy-quadratic", batch=4, condition=10)
    drawn = noisy.chance(200_000, torch.Generator().manual_seed(0))
    assert drawn is not None
    p = torch.tensor([[2.0, -1.0]], dtype=torch.float64).expand(len(drawn), 2).clone().requires_grad_()
    losses = noisy.objective(p, torch.tensor(0), drawn)
    assert torch.equal(losses, noisy.loss(*p.unbind(-1)))  # the value is the expected loss
    (g,) = torch.autograd.grad(losses.sum(), p)
    assert g.mean(0).tolist() == pytest.approx([0.2, -1.0], abs=0.005)
    assert g.T.cov().tolist() == [pytest.approx([0.1 / 4, 0.0], abs=1e-3), pytest.approx([0.0, 1 / 4], abs=2e-3)]


def slopes(surface, t, chance=None):
    p = torch.zeros(1 if chance is None else len(chance), 2, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(surface.objective(p, torch.tensor(t), chance).sum(), p)[0]


def test_the_online_counterexample_is_the_papers():
    reddi = find("reddi")
    x = torch.cat([slopes(reddi, t) for t in range(202)])[:, 0]
    assert x[:101].tolist() == [1010.0] + [-10.0] * 100 and torch.equal(x[:101], x[101:])
    y = slopes(reddi, 0, reddi.chance(20_200, torch.Generator().manual_seed(0)))[:, 1]
    assert set(y.tolist()) == {1010.0, -10.0} and (y > 0).double().mean().item() == pytest.approx(0.01, abs=0.002)
    mean = gradient(reddi, (0.2, 0.3)).tolist()
    assert mean == pytest.approx([10 / 101, 0.2]) and x.mean().item() == pytest.approx(mean[0])


def test_adam_goes_the_wrong_way_and_amsgrad_the_right_one():
    """Theorem 1: C > 2, β₁ = 0, β₂ = 1 / (1 + C²), and a rate that falls as 1 / √t or not."""
    large = 4.0
    reddi = find("reddi", large=large, small=1.0, period=3)
    settings = {"lr": 0.05, "betas": (0.0, 1 / (1 + large**2))}
    adam, amsgrad, sgd = descend(
        reddi,
        [Run(ravine.Adam, settings, (0.0, 0.0)), Run(ravine.AMSGrad, settings, (0.0, 0.0)),
         Run(ravine.SGD, {"lr": 0.05}, (0.0, 0.0))],
        steps=300,
    )  # fmt: skip
    assert adam.points[-3:, 0].max() == 1.0 and adam.points[-3:, 0].min() > 0.9
    assert sgd.points[-3:, 0].min() == -1.0
    assert amsgrad.points[-3:, 0].min() == -1.0
    assert abs(adam.points).max() <= 1.0


@pytest.mark.parametrize("side", [2, 8])
def test_the_matrix_problem_has_the_curvature_that_it_says(side):
    matrix = find("matrix", condition=50.0, side=side)
    w = torch.zeros(side, side, dtype=torch.float64)
    h = hessian(lambda w: matrix.objective(w.view(1, side, side), torch.tensor(0))[0], w.flatten())
    found = torch.linalg.eigvalsh(h)  # pyright: ignore[reportArgumentType]
    assert float(found[-1] / found[0]) == pytest.approx(50.0) and float(found[-1]) == pytest.approx(1.0)
    a, b = turns(side)
    assert torch.allclose(a.T @ a, torch.eye(side, dtype=torch.float64)) and not torch.allclose(a, b)
    assert float(a.abs().max()) < 0.95 and float(b.abs().max()) < 0.95  # no axis of W is one of the curvature


@pytest.mark.parametrize("surface", [find("matrix"), find("matrix", side=8), find("factorization")], ids=str)
def test_the_plane_of_a_matrix_problem_is_a_slice_through_its_minimum(surface):
    start = torch.tensor([[-1.2, 0.7]], dtype=torch.float64)
    w = surface.begin(start)
    assert w.shape == (1, *surface.shape) and torch.allclose(surface.seen(w), start)
    a, b = turns(surface.shape[0])
    inside = torch.zeros_like(w)
    inside[0, 0, 0], inside[0, -1, -1] = -1.2, 0.7
    drawn = surface.loss(*start[0]).item()
    assert surface.objective(a @ inside @ b.T, torch.tensor(0)).item() == pytest.approx(drawn)
    assert abs(surface.objective(w, torch.tensor(0)).item() / drawn - 1) > 1e-4


def test_what_is_not_drawn_is_told():
    assert find("matrix").drawn(["muon"]) == ["all 2 × 2 numbers move; two coordinates are drawn"]
    assert find("matrix", side=8).drawn() == ["all 8 × 8 numbers move; two coordinates are drawn"]
    assert find("beale").drawn(["muon", "adamuon"]) == ["to muon, adamuon a point is a matrix of one column"]
    assert find("beale").drawn() == []


def test_gradient_descent_learns_one_direction_after_the_other_and_muon_both_at_once():
    """On the factorization: y, of the smaller eigenvalue, when x has come to nine tenths."""
    surface = find("factorization")
    methods = {"sgd": (ravine.SGD, {"lr": 0.05}), "adamw": (ravine.AdamW, {"lr": 0.01}),
               "muon": (ravine.Muon, {"lr": 0.01}), "shampoo": (ravine.Shampoo, {"lr": 0.02})}  # fmt: skip
    runs = [Run(cls, settings, surface.start) for cls, settings in methods.values()]
    at = {name: path.points[(path.points[:, 0] > 0.9).argmax(), 1]
          for name, path in zip(methods, descend(surface, runs, steps=400), strict=True)}  # fmt: skip
    assert at["sgd"] < 0.3 < 0.45 < at["muon"]  # of 0.5
    assert at["adamw"] < 0.3 and at["shampoo"] > 0.45


def test_names_are_found_and_wrong_ones_are_told():
    assert find("Styblinski_Tang").name == "styblinski-tang"
    assert repr(find("ravine", angle=0)) == "Ravine(condition=100.0, angle=0.0)"
    with pytest.raises(ValueError, match="unknown surface 'beal': did you mean beale"):
        find("beal")
    with pytest.raises(TypeError, match="ravine has no 'kondition': did you mean condition"):
        find("ravine", kondition=3)
    with pytest.raises(ValueError, match=r"Ravine: condition is 0.5; it must lie in \[1, inf\)"):
        find("ravine", condition=0.5)
