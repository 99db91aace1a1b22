"""The plane is the nearest one, its loss is the network's, and the network is as before."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from ravine.strategies import PathRecorder
from ravine.surfaces import Run, descend
from ravine.surfaces import principal as principal_module
from ravine.surfaces.plane import Plane
from ravine.surfaces.principal import principal, walks

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, :2].sum(1) > 0).long()


def net(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), *between, nn.Tanh(), nn.Linear(6, 2))


def loss(model):
    return nn.functional.cross_entropy(model(X), Y)


def recorded(model, make, steps=12, every=3):
    opt = make(model.parameters())
    with PathRecorder(model, every=every) as path:
        for _ in range(steps):
            opt.zero_grad()
            loss(model).backward()
            opt.step()
            path.step()
    return path


OPTIMIZERS = {"sgd": lambda ps: ravine.SGD(ps, lr=0.5), "adam": lambda ps: torch.optim.Adam(ps, lr=0.05)}


def planes(*between, **how):
    paths = {name: recorded(net(*copy.deepcopy(between)), make) for name, make in OPTIMIZERS.items()}
    return Plane(net(*copy.deepcopy(between)), paths, loss, **how)


def put(model, row):
    """A copy of the model with these weights."""
    other = copy.deepcopy(model)
    nn.utils.vector_to_parameters(row.float(), other.parameters())
    return other


@pytest.mark.parametrize("centre", ["mean", "first", "last"])
@pytest.mark.parametrize("columns", [3, 2**20])
def test_directions_are_those_of_a_decomposition_of_the_whole_matrix(centre, columns, monkeypatch):
    monkeypatch.setattr(principal_module, "COLUMNS", columns)
    plane = planes(centre=centre)
    rows = torch.stack([row for path in plane.paths.values() for row in path.rows]).double()
    (a, b), n = [len(path.rows) for path in plane.paths.values()], len(rows)
    middle = {"mean": rows.mean(0), "first": (rows[0] + rows[a]) / 2, "last": (rows[a - 1] + rows[n - 1]) / 2}[centre]
    assert a + b == n
    _, s, v = torch.linalg.svd(rows - middle, full_matrices=False)
    assert plane.shares == pytest.approx((s**2 / (s**2).sum())[:2].tolist())
    origin = middle - (middle @ v[:2].T) @ v[:2]
    torch.testing.assert_close(plane.axes[0].double(), origin, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close((plane.axes[1:].double() @ v[:2].T).abs(), torch.eye(2).double(), atol=1e-5, rtol=0)
    there = rows @ plane.axes[1:].double().T
    np.testing.assert_allclose(plane.found.points, there, atol=1e-5)
    away = (rows - origin - there @ plane.axes[1:].double()).norm(dim=1)
    np.testing.assert_allclose(plane.found.away, away, atol=1e-5)


def test_coarse_snapshots_have_a_plane_as_fine_as_others():
    rows = [row.bfloat16() for path in planes().paths.values() for row in path.rows]
    found = principal(rows, np.full(len(rows), 1 / len(rows)))
    assert found.axes.dtype == found.origin.dtype == torch.float32
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(2), atol=1e-5, rtol=0)


def test_runs_point_right_and_up():
    points = planes().found.points
    late = np.linspace(-1, 1, len(points))
    assert (late @ points >= 0).all()


@pytest.mark.ci
@pytest.mark.parametrize(("centre", "one", "two"), [("mean", 6 / math.pi**2, 1 / 4), ("last", 8 / math.pi**2, 1 / 9)])
def test_of_one_random_walk_the_shares_are_known(centre, one, two):
    """Antognini & Sohl-Dickstein, equation 10; about its end it is Brownian motion, whose expansion has (k − ½)⁻²."""
    weights = np.full(2000, 1 / 2000) if centre == "mean" else np.eye(2000)[-1]
    assert walks([range(2000)], [3.0], weights) == pytest.approx((one, one * two), rel=2e-3)


def test_random_walks_that_are_made_have_the_shares_that_are_told():
    chance = torch.Generator().manual_seed(0)
    every, lengths = [range(0, 60, 2), range(40)], (3.0, 5.0)
    rows = []
    for steps, length in zip(every, lengths, strict=True):
        step = torch.randn(60, 20000, generator=chance) * length / math.sqrt(20000 * steps[-1])
        rows += torch.cat([torch.zeros(1, 20000), step.cumsum(0)])[list(steps)]
    weights = np.full(70, 1 / 70)
    assert principal(rows, weights).shares == pytest.approx(walks(every, lengths, weights), rel=0.02)


@pytest.mark.parametrize("together", [1, 5])
def test_the_loss_of_a_point_is_that_of_the_network_with_its_weights(together):
    plane = planes(together=together)
    c, u, v = plane.axes.double()
    x, y = (torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_() for _ in range(2))
    found = plane.loss(x, y)
    assert found.shape == (2, 3) and found.dtype == torch.float64
    found.sum().backward()
    for i in range(2):
        for j in range(3):
            model = put(plane.model, c + x[i, j].detach() * u + y[i, j].detach() * v)
            value = loss(model)
            value.backward()
            gradient = torch.cat([p.grad.flatten() for p in model.parameters()]).double()
            assert found[i, j].item() == pytest.approx(value.item(), rel=1e-5)
            assert x.grad is not None and x.grad[i, j].item() == pytest.approx((gradient @ u).item(), abs=1e-5)
            assert y.grad is not None and y.grad[i, j].item() == pytest.approx((gradient @ v).item(), abs=1e-5)


@pytest.mark.parametrize("together", [1, 4])
def test_nothing_of_the_model_changes_and_only_weights_decide(together):
    between = nn.BatchNorm1d(6), nn.Dropout(0.5)
    plane = planes(*between, together=together)
    model = plane.model
    model[1].eval()  # whatever mode a layer is in
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    tracks = plane.tracks
    at = torch.zeros(3)
    assert plane.loss(at, at).unique().numel() == 1
    assert [module.training for module in model.modules()] == modes and model[1].track_running_stats
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(x, before[k]) for k, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    other = put(model, plane.paths["adam"].rows[2]).train()
    other[2].eval()  # no dropout; batch norm by the batch
    assert tracks["adam"].losses[2] == pytest.approx(loss(other).item(), rel=1e-5)


def test_an_error_in_the_loss_leaves_the_model_as_it_was():
    plane = planes(nn.BatchNorm1d(6))

    def wrong(model):
        raise RuntimeError("out of data")

    model = plane.model.train()
    with pytest.raises(RuntimeError, match="out of data"):
        Plane(model, plane.paths, wrong).loss(torch.zeros(1), torch.zeros(1))
    assert model.training and model[1].training and model[1].track_running_stats


def test_tracks_have_both_losses_and_the_distance():
    plane = planes()
    c, u, v = plane.axes.double()
    mean = torch.stack([row for path in plane.paths.values() for row in path.rows]).double().mean(0)
    for name, path in plane.paths.items():
        track = plane.tracks[name]
        assert track.steps == path.steps == [0, 3, 6, 9, 12] and not track.broken
        parts = []
        for i, row in enumerate(path.rows):
            x, y = track.points[i]
            nearest = c + x * u + y * v
            assert track.losses[i] == pytest.approx(loss(put(plane.model, row)).item(), rel=1e-5)
            assert track.beneath[i] == pytest.approx(loss(put(plane.model, nearest)).item(), rel=1e-5)
            assert track.away[i] == pytest.approx((row - nearest).norm().item(), abs=1e-5)
            parts.append([(nearest - mean).square().sum(), (row - mean).square().sum()])
        inside, whole = np.array(parts).sum(0)
        assert track.held == pytest.approx(inside / whole, rel=1e-5)


def test_paths_of_two_parameters_lie_in_their_plane():
    model = nn.Linear(1, 1)

    def square(model):
        return (model(X[:, :1]) - X[:, 1:2]).square().mean()

    opt = ravine.Momentum(model.parameters(), lr=0.1)
    path = PathRecorder(model, every=1)
    for _ in range(10):
        opt.zero_grad()
        square(model).backward()
        opt.step()
        path.step()
    plane = Plane(model, {"momentum": path}, square)
    track = plane.tracks["momentum"]
    assert sum(plane.shares) == pytest.approx(1) and track.held == pytest.approx(1)
    np.testing.assert_allclose(track.beneath, track.losses, rtol=1e-4)
    np.testing.assert_allclose(track.away, 0, atol=1e-6)


def test_a_race_on_it_is_a_training_of_the_network():
    plane = planes()
    assert plane.title() == repr(plane)  # its fields are no numbers for a title
    start = plane.tracks["sgd"].points[0]
    run = Run(ravine.NAG, {"lr": 0.3}, (float(start[0]), float(start[1])))
    (found,) = descend(plane, [run], 8)
    c, u, v = plane.axes.double()
    model = put(plane.model, c + start[0] * u + start[1] * v)
    opt = ravine.NAG(model.parameters(), lr=0.3)
    for i in range(9):
        opt.zero_grad()
        value = loss(model)
        value.backward()
        row, gradient = (
            nn.utils.parameters_to_vector(x).double()
            for x in (model.parameters(), [p.grad for p in model.parameters()])
        )
        np.testing.assert_allclose(found.points[i], torch.stack([row @ u, row @ v]).detach(), atol=1e-4)
        np.testing.assert_allclose(found.gradients[i], [gradient @ u, gradient @ v], atol=1e-4)
        assert found.losses[i] == pytest.approx(value.item(), abs=1e-4)
        opt.step()


def test_a_path_that_broke_ends_before():
    paths = planes().paths
    paths["sgd"].rows[3][0] = math.nan
    plane = Plane(net(), paths, loss)
    assert plane.tracks["sgd"].steps == [0, 3, 6] and plane.tracks["sgd"].broken and not plane.tracks["adam"].broken
    assert np.isfinite(plane.tracks["sgd"].losses).all()
    paths["sgd"].rows[0][0] = math.inf
    with pytest.raises(ValueError, match="begins with weights that are infinite"):
        Plane(net(), paths, loss)


def test_errors_say_what_is_wrong():
    paths = planes().paths
    with pytest.raises(ValueError, match="centre is 'end'; it is mean, first or last"):
        Plane(net(), paths, loss, "end")
    for points in (1, 10**12):
        with pytest.raises(ValueError, match=r"points is .*; it must lie between 2 and 2000"):
            planes().draw(points=points)
    with pytest.raises(ValueError, match="the network of sgd, adam had other parameters"):
        Plane(nn.Linear(5, 2), paths, loss)
    with pytest.raises(ValueError, match="three snapshots, and these paths have 1"):
        Plane(net(), {"none": PathRecorder(net())}, loss)
    straight = PathRecorder(net(), every=1)
    for _ in range(3):
        with torch.no_grad():
            straight.model[0].weight += torch.arange(5) / 10
        straight.step()
    with pytest.raises(ValueError, match="lie on one line"):
        Plane(net(), {"straight": straight}, loss)


def test_the_picture_shows_the_paths_where_they_are():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plane = planes()
    sheet = plane.draw("Five numbers", points=9)
    chart, falls, away, *_ = sheet.axes
    drawn = [line.get_xydata() for line in chart.lines]
    for track in plane.tracks.values():
        assert any(len(x) == len(track.points) and np.allclose(x, track.points) for x in drawn)
        assert any(np.allclose(line.get_ydata(), track.losses) for line in falls.lines[:4])
        assert any(np.allclose(line.get_ydata(), track.beneath) for line in falls.lines[:4])
        assert any(np.allclose(line.get_ydata(), track.away) for line in away.lines)
    assert f"{sum(plane.shares):.0%} of the variance" in sheet.get_suptitle()
    (x0, x1), (y0, y1) = plane.view
    points = plane.found.points
    assert (points > (x0, y0)).all() and (points < (x1, y1)).all()
    sheet.draw_without_rendering()
