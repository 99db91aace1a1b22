"""Pictures and films of races, by the command; and maps of many runs."""

import shutil

import numpy as np
import pytest

import ravine
import ravine.cli
from ravine.surfaces import Run, find, maps
from ravine.surfaces.entrants import entrants
from ravine.surfaces.ground import Ground
from ravine.surfaces.maps import edges, medians, memory, reached
from ravine.surfaces.race import race

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def run(*argv):
    return ravine.cli.main(["race", *map(str, argv)])


def test_a_film_shows_the_paths_step_by_step_and_repeats(tmp_path, capsys):
    file = tmp_path / "race.gif"
    assert run("beale", "--optimizers", "sgd,adam", "--lr", "0.01", "--steps", 20, "-o", file) == 0
    assert "written to" in capsys.readouterr().out
    with Image.open(file) as film:
        assert film.n_frames == 21 and film.info["loop"] == 0
        seen = []
        for k in (0, 20):
            film.seek(k)
            seen.append(np.asarray(film.convert("RGB")).astype(int))
            assert film.info["duration"] == (60 if k == 0 else 2500)
    blue = [(np.abs(x - (0x00, 0x72, 0xB2)).sum(2) < 40)[:, :500].sum() for x in seen]  # gradient descent's ink
    assert blue[1] > blue[0] + 100


@pytest.mark.parametrize("name", ["race.png", "race.svg", "race.pdf"])
def test_stills(tmp_path, name):
    assert run("saddle", "--optimizers", "sgd", "--lr", "default", "--steps", 5, "-o", tmp_path / name) == 0
    assert (tmp_path / name).stat().st_size > 5000


def test_a_relief_from_a_point_of_ones_own(tmp_path):
    file = tmp_path / "race.png"
    assert run("ravine:condition=30:angle=0", "--3d", "--start=-1,0.5", "--lr", "0.01", "--optimizers", "nag",
               "--steps", 5, "-o", file) == 0  # fmt: skip
    assert file.stat().st_size > 20_000


def test_a_film_for_browsers_or_what_to_do_without_ffmpeg(tmp_path, capsys):
    file = tmp_path / "race.mp4"
    status = run("bowl", "--optimizers", "sgd", "--lr", "0.1", "--steps", 5, "-o", file)
    if shutil.which("ffmpeg"):
        assert status == 0 and file.stat().st_size > 1000
    else:
        assert status == 2 and "needs ffmpeg, and there is none: install it, or write a .gif" in capsys.readouterr().err


def test_the_mode_of_the_rates_stands_on_the_picture():
    made = race(find("bowl"), entrants("sgd,adam"), 20, "tuned")
    words = [text.get_text() for text in made.trails().sheet.texts]
    assert "Bowl(long=0.1, steep=2.0)" in words and any("lr: tuned for each on this surface" in x for x in words)
    assert made.label(0) == f"sgd\n lr {made.lrs[0]:g}"


def test_who_diverges_is_named():
    made = race(find("bowl"), entrants("sgd"), 200, "1")
    assert made.label(0) == "sgd\n lr 1, diverged" and "1 of 1" in made.table()
    assert np.isnan(made.trails().trails[0].points[-1]).all()


def test_a_cloud_of_seeds_is_as_wide_as_its_points():
    made = race(find("noisy-quadratic", batch=1), entrants("sgd"), 30, "0.1", seeds=range(40))
    trails = made.trails()
    trails.to(30)
    x, y = trails.clouds["sgd\n lr 0.1"].get_data()
    ends = np.array([path.points[-1] for path in made.paths[0]])
    assert len({path.points[-1].tobytes() for path in made.paths[0]}) == 40
    np.testing.assert_allclose([np.ptp(x), np.ptp(y)], 4 * ends.std(0, ddof=1), rtol=0.02)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ((), "which surface? One of ravine, quadratic"),
        (("beal",), "unknown surface 'beal': did you mean beale"),
        (("beale", "--optimizers", "adma"), "unknown optimizer 'adma'"),
        (("beale", "--optimizers", "adam:lr=foo"), "Adam: lr is 'foo'; it must be a number"),
        (("beale", "--steps", "2", "-o", "nowhere/a.png"), "nowhere/a.png: No such file or directory"),
        (("beale", "-o", "race.bmp"), r"race.bmp: the name must end in .png, .svg, .pdf, .gif, .mp4"),
        (("beale", "--map", "rates", "-o", "race.gif2"), "must end in .png, .svg, .pdf"),
        (("beale", "--steps", "0"), "--steps 0: must be 1 or more"),
        (("beale", "--start", "1"), "'1' is no point; write X,Y"),
        (("beale", "--start", "1,2", "--starts", "3"), "give one of the two"),
        (("beale", "--lr", "best"), "the rate is 'best'"),
        (("beale:steep=1",), "beale has no 'steep': It takes no parameters"),
        (("ravine:angle",), "'angle' is no FIELD=NUMBER"),
        (("ravine:condition=1E400",), "condition is inf"),
        (("beale", "--start=nan,1"), "'nan,1' is no point"),
        (("beale", "--seed", str(10**20)), "must be a whole number from 0"),
        (("beale", "--map", "rates", "--lr", "0.1"), "--map rates tries every rate"),
        (("saddle", "--map", "basins", "--lr", "0.1"), "saddle has no minimum to be reached"),
        (("beale", "--map", "momentum", "--optimizers", "adagrad"), "none of these has momentum or betas"),
    ],
)
def test_mistakes_are_one_line(argv, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 2
    said = capsys.readouterr().err
    assert text in said and said.startswith("ravine: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_maps_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(maps, "GRID", (0.001, 0.01, 0.1, 1.0))
    monkeypatch.setattr(maps, "COARSE", (0.001, 0.1))
    monkeypatch.setattr(maps, "FINE", 8)
    for kind in ("rates", "momentum", "basins"):
        file = tmp_path / f"{kind}.png"
        rate = ("--lr", "0.01") if kind == "basins" else ()
        assert run("himmelblau", "--map", kind, "--optimizers", "sgd,momentum", *rate, "--steps", 20, "-o", file) == 0
        assert file.stat().st_size > 10_000
    assert "best lr" in capsys.readouterr().out


def test_medians_are_over_the_random_starts_and_infinite_where_most_diverge():
    booth = find("booth")
    slow, best, wild = medians(booth, entrants("sgd")[0], [{"lr": 0.001}, {"lr": 0.1}, {"lr": 1.0}], 60)
    assert slow[0] == best[0] and best[-1] < 1e-6 < slow[-1] and np.isinf(wild[-1])


def test_basins_are_those_of_the_runs():
    well = find("bounded-saddle")
    goal, soon = reached(well, Run(ravine.SGD, {"lr": 0.1}, (0.0, 0.0)), 100, 8)
    assert (goal[4:] == 0).all() and (goal[:4] == 1).all()  # y > 0 goes to (0, 1), y < 0 to (0, −1)
    assert soon.min() > 0 and soon.max() < 1
    near, _ = reached(well, Run(ravine.SGD, {"lr": 0.1}, (0.0, 0.0)), 2, 8)
    assert (near == -1).any()
    lost, _ = reached(well, Run(ravine.SGD, {"lr": 50.0}, (0.0, 0.0)), 30, 8)
    assert (lost == -2).all()


def test_momentum_is_what_the_method_calls_so():
    heavy, adam, plain = entrants("momentum,adam,adagrad")
    assert memory(heavy, 0.5) == {"momentum": 0.5}
    assert memory(adam, 0.5) == {"betas": (0.5, 0.999)} and memory(plain, 0.5) is None
    np.testing.assert_allclose(edges((0.1, 1.0, 10.0)), 10 ** np.array([-1.5, -0.5, 0.5, 1.5]))


def test_heights_are_logarithms_where_the_surface_says_so():
    rosenbrock, bowl = Ground(find("rosenbrock")), Ground(find("bowl"))
    assert rosenbrock.height(np.array([1.0, 100.0])).tolist() == [0.0, 2.0]
    assert bowl.height(np.array([1.0, 100.0])).tolist() == [1.0, 100.0]
    assert rosenbrock.land.title == "log₁₀ loss" and bowl.land.title == "loss"
