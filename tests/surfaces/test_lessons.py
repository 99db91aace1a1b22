"""The pictures of textbooks show what the library computes."""

import numpy as np
import pytest
import torch

import ravine
from ravine.surfaces.lessons import LESSONS, SLOPE, adagrad, vectors
from ravine.surfaces.lessons import ravine as in_a_ravine


def test_momentum_crosses_the_ravine_less_often_than_a_large_rate_and_ends_lower():
    (_, slow, none), (_, large, many), (_, heavy, few) = in_a_ravine()
    assert none == 0 and many == 40 and 0 < few < many / 3
    assert heavy.losses[-1] < large.losses[-1] < slow.losses[-1]


def test_gradient_descent_walks_an_l_and_adagrad_almost_a_line():
    (_, descent, long), (_, direct, short) = adagrad()
    assert long > 1.2 and short < 1.06
    x, y = descent.points[4]  # down the steep side first
    assert x < -4.2 and abs(y) < 0.01
    assert direct.points[3, 0] - direct.points[0, 0] > 1.5


def test_the_vectors_are_steps_of_momentum_and_nag():
    at = vectors(gamma=0.9, lr=0.06, before=3)
    (heavy,) = [torch.nn.Parameter(torch.tensor((-3.6, -1.55), dtype=torch.float64))]
    opt = ravine.Momentum([heavy], lr=0.06, momentum=0.9)
    for _ in range(3):
        opt.zero_grad()
        SLOPE.loss(*heavy).backward()
        opt.step()
    assert heavy.tolist() == at["p"].tolist()
    v = opt.state[heavy]["v"].clone()
    np.testing.assert_allclose(at["ahead"], (heavy.detach() - 0.9 * v).numpy(), rtol=1e-12)
    model = torch.nn.Parameter(heavy.detach().clone())  # NAG with the same p and v: its model looks ahead
    nag = ravine.NAG([model], lr=0.06, momentum=0.9)
    model.grad = torch.zeros_like(model)
    nag.step()
    nag.state[model]["v"].copy_(v)
    nag.param_groups[0]["lr"] = 0.06
    with torch.no_grad():
        model.copy_(heavy - 0.9 * v)
    nag.zero_grad()
    SLOPE.loss(*model).backward()
    nag.step()
    nag.eval()
    np.testing.assert_allclose(model.tolist(), at["nag"], rtol=1e-12)
    opt.zero_grad()
    SLOPE.loss(*heavy).backward()
    opt.step()
    assert heavy.tolist() == at["momentum"].tolist()


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_are_drawn(name, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert LESSONS[name](tmp_path / "lesson.svg")
    assert (tmp_path / "lesson.svg").stat().st_size > 20_000
