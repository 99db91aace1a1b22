"""Facts about the rules that are given the Hessian's diagonal, with numbers that can be done by hand."""

import pytest
import torch
from torch import nn

import ravine


def walk(make, steps):
    """The weight after steps of (g, h), from 2; h is None where it is not measured."""
    p = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    opt = make([p])
    for g, h in steps:
        p.grad = torch.tensor([g], dtype=torch.float64)
        opt.step(**({} if h is None else {"h": {p: torch.tensor([h], dtype=torch.float64)}}))
    return p.item()


@pytest.mark.parametrize(("power", "root"), [("1", 1.0), ("1/2", 0.5), ("1/4", 0.25)])
def test_adahessians_first_step_is_newtons_in_the_power_of_its_choice(power, root):
    got = walk(lambda p: ravine.AdaHessian(p, lr=0.5, eps=0.25, weight_decay=0.1, hessian_power=power), [(3.0, -16.0)])
    assert got == pytest.approx(2 * (1 - 0.05) - 0.5 * 3 / (16**root + 0.25), abs=1e-12)


def test_adahessian_keeps_the_last_curvature_and_averages_it_again():
    got = walk(
        lambda p: ravine.AdaHessian(p, lr=1.0, betas=(0.5, 0.75), eps=0.0), [(1.0, 2.0), (4.0, None), (0.0, 6.0)]
    )
    m = [0.5, 0.25 + 2.0, 1.125]
    v = [0.25 * 4, 0.75 + 1, 0.75 * 1.75 + 0.25 * 36]
    u = [m[i] / (1 - 0.5 ** (i + 1)) / (v[i] / (1 - 0.75 ** (i + 1))) ** 0.5 for i in range(3)]
    assert got == pytest.approx(2 - sum(u), abs=1e-12)


def test_sophia_divides_where_the_loss_is_steeply_curved_and_is_clipped_elsewhere():
    for h, step in ((40.0, 0.5), (10.0, 1.0), (0.0, 1.0), (-40.0, 1.0)):
        for sign in (1.0, -1.0):
            got = walk(
                lambda p: ravine.SophiaH(p, lr=0.1, betas=(0.5, 0.75), gamma=0.2, weight_decay=0.5), [(sign * 2, h)]
            )
            assert got == pytest.approx(2 * (1 - 0.05) - sign * 0.1 * step, abs=1e-12)  # m = ±1, γ c = h / 20
    assert walk(lambda p: ravine.SophiaH(p, lr=0.1, maximize=True, weight_decay=0.0, gamma=1.0), [(1.0, -10.0)]) == (
        pytest.approx(2 + 0.1 * 0.035 / 0.1, abs=1e-12)
    )


@pytest.mark.parametrize(("added", "below"), [(False, 6.0), (True, 6.0 + 2.0)])
def test_sophia_g_has_two_ways_to_keep_from_zero(added, below):
    make = lambda p: ravine.SophiaG(  # noqa: E731
        p, lr=0.1, betas=(0.5, 0.75), rho=0.5, eps=2.0, weight_decay=0.0, eps_added=added
    )
    assert walk(make, [(6.0, 48.0)]) == pytest.approx(2 - 0.1 * 3 / below, abs=1e-12)
    assert walk(make, [(1.0, 0.0)]) == pytest.approx(2 - 0.1 * 0.5 / 2, abs=1e-12)


@pytest.mark.parametrize("cls", [ravine.SophiaG, ravine.SophiaH])
def test_sophia_averages_the_curvature_only_where_it_is_measured(cls):
    hyper = {"lr": 0.1, "betas": (0.0, 0.75), "weight_decay": 0.0} | {"rho" if cls is ravine.SophiaG else "gamma": 1.0}
    got = walk(lambda p: cls(p, **hyper), [(1.0, 16.0), (2.0, None), (3.0, None), (1.0, 8.0)])
    assert got == pytest.approx(2 - 0.1 * (1 / 4 + 2 / 4 + 3 / 4 + 1 / 5), abs=1e-12)
