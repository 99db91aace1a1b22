"""Forms of the literature that are flags here, by hand."""

import math

import pytest
import torch
from torch import nn

import ravine


def walk(opt, p, gradients):
    """The weight after each step."""
    out = []
    for g in gradients:
        p.grad = torch.tensor([g], dtype=torch.float64)
        opt.step()
        out.append(p.item())
    return out


def weight():
    return nn.Parameter(torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_rprop_with_backtracking_takes_the_last_step_back(backend):
    """Up by 0.1, 0.12; the gradient turns: the 0.12 is taken back, Δ is 0.06; then on as it says, without growing."""
    p = weight()
    opt = ravine.Rprop([p], lr=0.1, backtracking=True, backend=backend)
    path = walk(opt, p, [-1.0, -1.0, 0.004, -0.02, -0.02, 0.5, 0.5, 0.5])
    assert path == pytest.approx([0.1, 0.22, 0.1, 0.16, 0.232, 0.16, 0.124, 0.0808])
    p = weight()
    path = walk(ravine.Rprop([p], lr=0.1, backend=backend), p, [-1.0, -1.0, 0.004, -0.02])
    assert path == pytest.approx([0.1, 0.22, 0.22, 0.28])  # torch's waits instead


def test_rprop_goes_back_by_what_a_bound_had_left_of_a_step():
    p = weight()
    opt = ravine.Rprop([p], lr=0.1, step_sizes=(0.09, 0.11), backtracking=True)
    assert walk(opt, p, [-1.0, -1.0, 1.0, 1.0]) == pytest.approx([0.1, 0.21, 0.1, 0.01])


def test_nadam_of_the_overview_has_one_correction_for_both_terms():
    p = weight()
    opt = ravine.NAdam([p], lr=0.1, betas=(0.9, 0.999), form="overview", eps=0.0)
    m = v = x = 0.0
    for t, (g, found) in enumerate(zip([1.0, -2.0, 0.5], walk(opt, p, [1.0, -2.0, 0.5]), strict=True), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x -= 0.1 * (0.9 * m / (1 - 0.9**t) + 0.1 * g / (1 - 0.9**t)) / math.sqrt(v / (1 - 0.999**t))
        assert found == pytest.approx(x)


def test_adagrad_without_its_root_stands_still():
    """Of equal gradients c the sum is t c²: steps lr / (t c), and not lr / √t. In 1/c, so small gradients fly off."""
    p = weight()
    path = walk(ravine.Adagrad([p], lr=0.1, eps=0.25, square_root=False), p, [2.0] * 3)
    assert path == pytest.approx([-0.2 / 4.25, -0.2 / 4.25 - 0.2 / 8.25, -0.2 / 4.25 - 0.2 / 8.25 - 0.2 / 12.25])
    there = {}
    for root in (True, False):
        p = nn.Parameter(torch.full((1,), 5.0, dtype=torch.float64))
        opt = ravine.Adagrad([p], lr=1.0, square_root=root)
        for _ in range(500):
            p.grad = p.detach().clone()
            opt.step()
        there[root] = abs(p.item())
    assert there[True] < 1e-6 and there[False] > 1


def test_adamax_of_the_paper_has_no_epsilon_and_no_nan():
    p = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    assert ravine.create("adamax", [p], defaults="paper").defaults["eps"] == 0
    opt = ravine.Adamax([p], eps=0.0)
    for t in range(3):
        p.grad = torch.tensor([1e-12, 0.0], dtype=torch.float64)
        opt.step()
        assert p.tolist() == pytest.approx([-0.002 * (t + 1), 0.0], rel=1e-9, abs=0)


def test_rprop_of_the_paper_goes_back():
    assert ravine.create("rprop", [weight()], defaults="paper").defaults["backtracking"] is True
    assert ravine.create("rprop+", [weight()]).defaults["backtracking"] is False  # torch's is what the name means here
    assert ravine.create("rprop-plus", [weight()]).defaults["backtracking"] is True


@pytest.mark.parametrize("name", ["batch gradient descent", "mini-batch-gradient-descent"])
def test_the_three_gradient_descents_are_one_rule(name):
    """The gradient of all data, or of a batch: that is the loop's; the parts of it add up to the whole."""
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.randn(12, 1)
    whole, parts = nn.Linear(3, 1), nn.Linear(3, 1)
    parts.load_state_dict(whole.state_dict())
    a, b = ravine.create(name, whole, lr=0.1), ravine.SGD(parts.parameters(), lr=0.1)
    for _ in range(3):
        a.zero_grad()
        (whole(x) - y).square().mean().backward()
        a.step()
        for group in ravine.loop.accumulate(list(zip(x.split(5), y.split(5), strict=True)), 3):
            b.zero_grad()
            for (u, v), share, _ in group:
                (share * (parts(u) - v).square().mean()).backward()
            b.step()
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_what_is_always_so_is_not_asked():
    """t counts from 1, so Adam-eps, which is Adam-2k without a wait, has no "if t > 0" in its equations."""
    assert "cases" not in ravine.AdamEps.equations() and "cases" in ravine.Adam2k.equations()
