"""Rates are chosen as it is said, and names become optimizers."""

import numpy as np
import pytest

import ravine
from ravine.catalog.errors import CatalogError
from ravine.surfaces import Run, descend, find
from ravine.surfaces.entrants import entrants
from ravine.surfaces.ground import Ground
from ravine.surfaces.race import race
from ravine.surfaces.rates import GRID, choose, heights, random_starts, told, tuned, within


def test_names_settings_and_aliases():
    found = entrants("sgd, heavy-ball,adam:lr=0.1:betas=(0.9,0.99),sgd-nesterov")
    assert [x.optimizer for x in found] == [ravine.SGD, ravine.Momentum, ravine.Adam, ravine.SGD]
    assert found[2].settings == {"lr": 0.1, "betas": (0.9, 0.99)}
    assert found[3].settings == {"momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize(
    ("written", "error", "text"),
    [
        ("", ValueError, "which optimizers"),
        ("adam,sgd,adam", ValueError, "adam stands twice"),
        ("adam:lr", ValueError, "'lr' is no FIELD=VALUE"),
        ("adan,adma", CatalogError, "unknown optimizer 'adma': did you mean"),
    ],
)
def test_wrong_names_are_told(written, error, text):
    with pytest.raises(error, match=text):
        entrants(written)


def test_the_tuned_rate_of_gradient_descent_is_near_the_known_best():
    """On ½ (u² + κ v²) the best constant rate is 2 / (1 + κ); the grid has four rates in a decade."""
    surface = find("ravine", condition=30)
    (lr,) = tuned(surface, entrants("sgd"), 60)
    assert 2 / 31 / 10**0.25 < lr < 2 / 31 * 10**0.13


def test_tuned_is_the_best_of_the_grid_from_the_same_starts():
    surface, grid = find("booth"), GRID[4::4]
    ground, starts = Ground(surface), random_starts(surface, 16)
    for name in ("sgd", "adam"):
        (lr,) = tuned(surface, entrants(name), 40, grid)
        last = {}
        for k in grid:
            paths = descend(surface, [Run(entrants(name)[0].optimizer, {"lr": k}, at) for at in starts], 40)
            last[k] = np.mean([heights(ground, surface, path)[-1] for path in paths])
        assert last[lr] == min(last.values())


def test_on_the_saddle_nobody_wins_by_being_thrown_out():
    saddle = find("saddle")
    (lr,) = tuned(saddle, entrants("sgd"), 60)
    assert lr < 1  # at lr ≥ 1 x grows too
    wild = descend(saddle, [Run(ravine.SGD, {"lr": 10.0}, (-1.0, 0.5))], 20)[0]
    assert within(saddle, wild)[-1] > -1 > wild.losses[-1]


def test_modes_and_their_words():
    surface, racing = find("quadratic"), entrants("sgd,adam,adadelta:lr=3")
    assert choose(surface, racing, "default", 20) == [ravine.SGD.lr, ravine.Adam.lr, 3.0]
    assert choose(surface, racing, "0.05", 20) == [0.05, 0.05, 3.0]
    same, tuned_ = choose(surface, racing, "same", 20), choose(surface, racing, "tuned", 20)
    assert same == [tuned_[0], tuned_[0], 3.0] and tuned_[1] != tuned_[0]
    assert told("same", racing, same) == f"lr: the same for all, {same[0]:g}, tuned for gradient descent"
    assert told("default", racing, same) == "lr: each optimizer's default"
    assert told("0.05", racing[::-1], [3.0, 0.05, 0.05]) == "lr: the same for all, 0.05"  # not that of who has its own
    assert told("0.05", racing[2:], [3.0]) == "lr: each as it was given"
    with pytest.raises(
        ValueError, match="the rate is 'best'; it must be a number above 0 or one of same, default, tuned, classic"
    ):
        choose(surface, racing, "best", 20)


def test_random_starts_lie_in_the_view_and_are_not_those_of_tuning():
    camel = find("camel")
    (x0, x1), (y0, y1) = camel.view
    assert all(x0 <= x <= x1 and y0 <= y <= y1 for x, y in random_starts(camel, 50))
    made = race(camel, entrants("sgd"), 5, "0.01", 16)
    assert len(made.paths[0]) == 16 and not set(made.starts) & set(random_starts(camel, 16))


def test_the_rates_of_the_classic_animations():
    beale = find("beale")
    assert choose(beale, entrants("momentum,sgd,adagrad:lr=3,adam:lr=0.1"), "classic", 20) == [0.002, 0.001, 3.0, 0.1]
    with pytest.raises(ValueError, match=r"classic animation has sgd, .*; give adam a rate, as in adam:lr=0\.1"):
        choose(beale, entrants("sgd,adam"), "classic", 20)
    with pytest.raises(ValueError, match=r"Bowl has no classic animation; beale and saddle have"):
        choose(find("bowl"), entrants("sgd"), "classic", 20)
