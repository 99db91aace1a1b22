"""What the pictures show is what the papers' formulas say; they are drawn, and the command says what there is."""

import math
from importlib import import_module

import numpy as np
import pytest
import torch

import ravine
from ravine.cli import main
from ravine.surfaces.pictures import PICTURES
from ravine.surfaces.pictures.moves import moves

# modules; in the package each is hidden by its function of the same name
radam, bias, averages = (
    import_module(f"ravine.surfaces.pictures.{name}") for name in ("radam", "bias_correction", "averages")
)


def paper_rho(beta2, t):
    """Liu et al. 2020, Algorithm 2, line 8."""
    return 2 / (1 - beta2) - 1 - 2 * t * beta2**t / (1 - beta2**t)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_rho_is_that_of_the_paper(beta2):
    t = np.array([1, 2, 5, 6, 50, 3000])
    np.testing.assert_allclose(radam.rho(beta2, t), paper_rho(beta2, t), rtol=1e-9)


def test_r_is_that_of_the_paper_and_begins_above_the_threshold():
    """Line 11."""
    found = radam.rectification(300)
    t = np.arange(1, 301)
    for beta2, r in zip(radam.BETAS, found, strict=True):
        rho, end = paper_rho(beta2, t), 2 / (1 - beta2) - 1
        formula = [
            math.sqrt((x - 4) * (x - 2) * end / ((end - 4) * (end - 2) * x)) if x > 5 else 0 for x in rho.tolist()
        ]
        np.testing.assert_allclose(r, formula, rtol=1e-9)
        assert 0 in formula and (np.diff(r[r > 0]) >= -1e-12).all()


def test_factors_and_lengths_are_those_of_the_paper():
    """Kingma & Ba 2015, Algorithm 1, on a gradient of 1."""
    t = np.arange(1, 201)
    betas = np.array(bias.BETAS)[:, None]
    np.testing.assert_allclose(bias.factors(200), 1 / (1 - betas**t), rtol=1e-9)
    corrected, *plain = bias.lengths(200)
    np.testing.assert_allclose(corrected, 1, rtol=1e-9)
    np.testing.assert_allclose(plain, (1 - 0.9**t) / np.sqrt(1 - betas**t), rtol=1e-9)


@pytest.mark.parametrize("corrected", [False, True])
def test_averages_are_weighted_sums_of_what_was_seen(corrected):
    _, seen = averages.signal(60)
    found = averages.averaged(averages.BETAS, seen, corrected)
    for beta, average in zip(averages.BETAS, found, strict=True):
        for t in (1, 2, 30, 60):
            weights = (1 - beta) * beta ** np.arange(t)[::-1]
            whole = weights @ seen[:t] / (weights.sum() if corrected else 1)
            assert average[t - 1] == pytest.approx(whole, rel=1e-9)


def test_moves_are_those_of_each_setting_alone():
    gradients = [0.5, -1.0, 2.0, 0.0]
    both = moves(ravine.Adam, [{"betas": (0.9, 0.99)}, {"betas": (0.5, 0.9)}], gradients)
    for betas, found in zip([(0.9, 0.99), (0.5, 0.9)], both, strict=True):
        p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        opt, walked = torch.optim.Adam([p], lr=1.0, betas=betas), []
        for g in gradients:
            before = p.item()
            p.grad = torch.tensor([g], dtype=torch.float64)
            opt.step()
            walked.append(before - p.item())
        np.testing.assert_allclose(found, walked, rtol=1e-9)


@pytest.mark.ci
@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn_within_its_sheet(name, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for module in (radam, bias):
        monkeypatch.setattr(module, "STEPS", 300)
    sheet = PICTURES[name]()
    sheet.draw_without_rendering()
    width, height = sheet.get_size_inches()
    drawn = sheet.get_tightbbox()
    assert drawn.x0 > -0.01 and drawn.y0 > -0.01 and drawn.x1 < width + 0.01 and drawn.y1 < height + 0.01
    assert all(axes.lines and axes.get_title(loc="left") and axes.get_legend() for axes in sheet.axes)
    assert PICTURES[name].__doc__


def test_the_command_lists_explains_and_draws(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert main(["picture"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PICTURES)
    assert main(["picture", "averages"]) == 0
    assert "β m + (1 − β) g" in capsys.readouterr().out
    for suffix in (".svg", ".png"):
        out = tmp_path / f"averages{suffix}"
        assert main(["picture", "averages", "-o", str(out)]) == 0 and out.stat().st_size > 10_000
    capsys.readouterr()
    for argv, message in {
        ("radan",): "unknown picture 'radan': did you mean radam? It is one of radam,",
        ("radam", "-o", "radam.gif"): "-o radam.gif: the name must end in .png, .svg, .pdf",
        ("radam", "-o", "nowhere/a.png"): "-o nowhere/a.png: there is no folder nowhere",
        ("-o", "x.png"): "which picture? One of radam,",
        ("radam", "--fast"): "unrecognized arguments: --fast",
    }.items():
        assert main(["picture", *argv]) == 2
        assert message in capsys.readouterr().err
