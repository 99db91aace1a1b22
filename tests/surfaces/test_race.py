"""Pictures and films of races, by the command; and maps of many runs."""

import shutil

import numpy as np
import pytest

import ravine
import ravine.cli
from ravine.surfaces import Run, find, maps, rates
from ravine.surfaces.entrants import entrants
from ravine.surfaces.ground import Ground
from ravine.surfaces.maps import edges, medians, memory, reached
from ravine.surfaces.race import race

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
heats = pytest.importorskip("ravine.visuals.tiles", reason="matplotlib is not installed").heats


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
    assert "Bowl" in words and find("bowl", long=0.5).title() == "Bowl, long 0.5"
    assert any("lr: tuned for each on this surface" in x for x in words)
    assert made.label(0) == f"sgd\n lr {made.lrs[0]:g}"


def test_the_two_classic_surfaces_show_the_classic_animation_and_others_what_is_tuned(monkeypatch, tmp_path, capsys):
    asked = []

    def note(surface, racing, steps, mode, *more):
        asked.append((surface.name, [x.name for x in racing], steps, mode))
        raise ValueError("enough")

    monkeypatch.setattr("ravine.surfaces.cli.race", note)
    for argv in (
        "beale",
        "saddle",
        "beale --lr tuned --steps 7",
        "beale --optimizers adam",
        "bowl",
        "bowl --lr classic",
    ):
        assert run(*argv.split(), "-o", tmp_path / "a.png") == 2
    six = ["sgd", "momentum", "nag", "adagrad", "adadelta", "rmsprop"]
    assert asked == [
        ("beale", six, 300, "classic"),
        ("saddle", six, 110, "classic"),
        ("beale", [*six, "adam"], 7, "tuned"),
        ("beale", ["adam"], 300, "tuned"),
        ("bowl", [*six, "adam"], 150, "tuned"),
        ("bowl", [*six, "adam"], 150, "classic"),
    ]
    capsys.readouterr()


def test_tuned_rates_stand_beside_the_classic_ones():
    made = race(find("saddle"), entrants("sgd,adadelta,nag:lr=0.1"), 60, "classic")
    plain, delta = rates.tuned(find("saddle"), entrants("sgd,adadelta"), 60)
    assert (
        made.label(0) == f"sgd\n lr 0.02\n tuned: {plain:g}" and made.label(1) == f"adadelta\n lr 1\n tuned: {delta:g}"
    )
    assert made.label(2) == "nag\n lr=0.1" and f"sgd         0.02       {plain:<10g}" in made.table()
    assert "lr: those of the classic animation, under each the one tuned here" in made.note()


def test_a_first_step_out_of_the_view_and_a_path_that_comes_back_are_seen():
    booth = find("booth")  # from (-5, 3), in a view up to 8
    made = race(booth, entrants("adagrad"), 40, "5.62")
    assert made.paths[0][0].points[1, 1] > 8 and made.trails().axes.get_ylim()[1] > made.paths[0][0].points[1, 1]
    beale = race(find("beale"), entrants("adam"), 300, "1.78")
    far = beale.paths[0][0].points[:, 0].max()
    assert 4.5 < far < beale.trails().axes.get_xlim()[1]
    for wild in (race(booth, entrants("sgd"), 60, "1"), race(booth, entrants("adagrad"), 40, "1e6")):
        assert wild.trails().axes.get_xlim() == booth.view[0]  # what diverges, and what is nowhere near
    saddle = race(find("saddle"), entrants("sgd"), 110, "0.5")
    assert saddle.trails().axes.get_ylim() == find("saddle").view[1]  # it leaves for good


def test_who_diverges_is_named():
    made = race(find("bowl"), entrants("sgd"), 200, "1")
    assert made.label(0) == "sgd\n lr 1\n diverged" and "1 of 1" in made.table()
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
        (("beal",), "unknown surface 'beal': did you mean beale or bowl?\n"),
        (("xyz",), "unknown surface 'xyz': it is one of ravine, quadratic"),
        (("nowhere:Trough",), "surface 'nowhere:Trough': cannot import 'nowhere'"),
        (("json:loads",), "surface 'json:loads' must be a class derived from ravine.surfaces.Surface"),
        (("ravine.surfaces:Surface",), "must be a class derived from ravine.surfaces.Surface"),
        (("beale", "--optimizers", "adma"), "unknown optimizer 'adma'"),
        (("beale", "--optimizers", "adam:lr=foo"), "Adam: lr is 'foo'; it must be a number"),
        (("beale", "-o", "nowhere/a.png"), "-o nowhere/a.png: there is no folder nowhere"),
        (("--lesson", "nag", "--out", "nowhere/a.png"), "-o nowhere/a.png: there is no folder nowhere"),
        (("beale", "--lesson", "nag"), "--lesson nag has a surface of its own; leave out beale"),
        (("beale", "-o", "race.bmp"), r"race.bmp: the name must end in .png, .svg, .pdf, .gif, .mp4"),
        (("beale", "--map", "rates", "-o", "race.gif2"), "must end in .png, .svg, .pdf"),
        (("beale", "--steps", "0"), "--steps: must be 1 or more, and is 0"),
        (("beale", "--start", "1"), "'1' is no point; write X,Y"),
        (("beale", "--start", "1,2", "--starts", "3"), "give one of the two"),
        (("beale", "--lr", "best"), "the rate is 'best'"),
        (("beale", "--lr", "0"), "the rate is '0'; it must be a number above 0"),
        (("beale", "--lr=-0.1"), "the rate is '-0.1'; it must be a number above 0"),
        (("beale", "--start"), "'' is no point; write X,Y"),
        (("beale", "--start", "-1e200,2"), "the loss at (-1e+200, 2) is inf: nothing can start there"),
        (("beale:steep=1",), "beale has no 'steep': It takes no parameters"),
        (("ravine:angle",), "'angle' is no FIELD=NUMBER"),
        (("ravine:condition=1E400",), "condition is inf"),
        (("ravine:condition=1" + 400 * "0",), "which is too large for a float"),
        (("ravine:condition=²",), "'condition=²' is no FIELD=NUMBER"),
        (("bowl", "--steps", str(10**12)), "steps are too many at once: at most 30,000,000 steps of all together"),
        (("bowl", "--lr", "0.1", "--starts", str(10**12)), "are too many at once"),
        (("bowl", "--lr", "0.1", "--seeds", str(10**12)), "are too many at once"),
        (("himmelblau", "--map", "basins", "--steps", "9999"), "are too many at once"),
        (("beale", "--start=nan,1"), "'nan,1' is no point"),
        (("beale", "--seed", str(10**20)), "--seed: must be 4,611,686,018,427,387,904 or less"),
        (("beale", "--lr", "classic", "--optimizers", "sgd,adam"), "give adam a rate, as in adam:lr=0.1"),
        (("bowl", "--lr", "classic"), "Bowl has no classic animation; beale and saddle have"),
        (("beale", "--optimizers", ""), "which optimizers? For example"),
        (("beale", "--map", "rates", "--lr", "0.1"), "--map rates tries every rate"),
        (
            ("beale", "--map", "rates", "--optimizers", "sgd,adam:lr=3"),
            "--optimizers adam:lr=3: --map rates tries every rate; leave lr out",
        ),
        (
            ("beale", "--map", "momentum", "--optimizers", "adam:lr=3"),
            "--optimizers adam:lr=3: --map momentum tries every rate; leave lr out",
        ),
        (("saddle", "--map", "basins", "--lr", "0.1"), "Saddle has no minimum to be reached"),
        (("beale", "--map", "momentum", "--optimizers", "adagrad"), "none of these has momentum or betas"),
    ],
)
def test_mistakes_are_one_line(argv, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 2
    said = capsys.readouterr().err
    assert text in said and said.startswith("ravine: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_picture(tmp_path, capsys):
    (tmp_path / "a.png").mkdir()
    assert run("beale", "-o", tmp_path / "a.png") == 2
    assert "a.png: it cannot be written; name another file" in capsys.readouterr().err


def test_a_surface_of_ones_own_and_a_start_left_of_zero(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_surfaces.py").write_text(
        "from ravine.surfaces import Surface\n"
        "class Trough(Surface):\n"
        "    depth: float = 2.0\n"
        "    def loss(self, x, y): return self.depth * x**2 + y**4\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nothing.py").write_text("from ravine.surfaces import Surface\nclass Nothing(Surface): pass\n")
    argv = ("--optimizers", "sgd", "--lr", "0.5", "--steps", 1, "--start", "-1,0", "--out", "a.png")
    assert run("my_surfaces:Trough", *argv) == 0 and "  2  " in capsys.readouterr().out  # from −1 to 1
    assert run("my_surfaces:Trough:depth=1", *argv) == 0 and "  0  " in capsys.readouterr().out  # to the bottom
    assert run("my_surfaces:Trough:dept=1", *argv) == 2
    assert "Trough has no 'dept': did you mean depth? It takes depth" in capsys.readouterr().err
    assert run("my_nothing:Nothing", *argv) == 2 and "Nothing has no loss()" in capsys.readouterr().err


def test_the_view_is_widened_to_a_start_and_heights_stay():
    beale = find("beale")
    usual, wide = Ground(beale), Ground(beale, [(100.0, 0.0), (1.0, -6.0)])
    assert (
        wide.land.x[0] == -4.5 and 100 < wide.land.x[-1] < 110 and -7 < wide.land.y[0] < -6 and wide.land.y[-1] == 4.5
    )
    assert wide.height(np.array([0.0, 1.0])).tolist() == usual.height(np.array([0.0, 1.0])).tolist()
    made = race(beale, entrants("sgd"), 1, "1e-9", [(100.0, 100.0)])
    assert made.trails().axes.get_xlim()[1] > 100


def test_several_runs_are_told_by_their_median_and_nothing_is_cut():
    made = race(find("rosenbrock"), entrants("sgd,nag:lr=0.1,adam:lr=0.1:betas=(0.9,0.99)"), 150, "0.00178", 5)
    assert "median loss" in made.table() and "median" not in race(find("bowl"), entrants("sgd"), 1, "0.1").table()
    sheet = made.trails().still(150)
    texts = [text.get_text() for text in sheet.legends[0].get_texts()]
    assert texts[0] == "sgd\n lr 0.00178\n 1 of 5 diverged" and texts[2] == "adam\n lr=0.1\n betas=(0.9,0.99)"
    sheet.draw_without_rendering()
    assert sheet.legends[0].get_window_extent().x1 < sheet.bbox.x1
    assert made.trails().still(1).texts[-1].get_text() == "1 step"


def test_a_relief_lies_on_its_sheet():
    sheet = race(find("camel"), entrants("sgd"), 1, "0.1").trails(deep=True).still(1)
    sheet.draw_without_rendering()
    drawn, (width, height) = sheet.get_tightbbox(), sheet.get_size_inches()
    assert drawn.x0 > 0 and drawn.y0 > 0 and drawn.x1 < width and drawn.y1 < height


def test_what_is_drawn_first_is_widest_and_clouds_have_the_inks():
    made = race(find("noisy-quadratic"), entrants("sgd,momentum,adam"), 2, "0.1", seeds=range(4))
    trails = made.trails()
    first, *_, last = (line.get_linewidth() for line in trails.lines)
    assert first > 2 * last
    assert [cloud.get_color() for cloud in trails.clouds.values()] == [trails.trails[k].ink.colour for k in (0, 4, 8)]


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


def test_a_map_frames_its_best_cell_and_has_colours_for_it(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(maps, "heats", lambda tiles, *said: drawn.append((tiles, heats(tiles, *said))) or drawn[0][1])
    maps.momentum(find("ravine"), entrants("sgd"), 150, "tuned", tmp_path / "a.png")
    ((tile,), sheet) = drawn[0]
    assert tile.z[tile.best] == np.nanmin(tile.z) < -15
    frame = sheet.axes[0].lines[-1].get_xydata()
    assert frame.min(0).tolist() == [tile.x[tile.best[1]], tile.y[tile.best[0]]]
    scale = sheet.axes[0].collections[0]
    assert scale.get_clim()[0] < -10 and scale.colorbar.extend == "both"


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


OWN = """
import torch
from ravine.surfaces import Surface
class Detached(Surface):
    def loss(self, x, y): return (x**2 + y**2).detach()
class Constant(Surface):
    def loss(self, x, y): return torch.zeros_like(x)
class Whole(Surface):
    def loss(self, x, y): return x.long()
class Number(Surface):
    def loss(self, x, y): return 1.0
class Sum(Surface):
    def loss(self, x, y): return (x**2 + y**2).sum()
class Wrong(Surface):
    def loss(self, x, y): return x.foo
class Branch(Surface):
    def loss(self, x, y): return x if x > 0 else -x
class Flat(Surface):
    def loss(self, x, y): return 0 * x + 3
class FlatInDecades(Flat):
    log = True
class Nowhere(Surface):
    start = (1.013, 1.013)  # between the points that are looked at
    def loss(self, x, y): return torch.where(x == 1.013, x, torch.nan)
class Mostly(Surface):
    def loss(self, x, y): return (x - 1.95).clamp(min=0)
class MostlyInDecades(Mostly):
    log = True
class Half(Surface):
    def loss(self, x, y): return x.log() - y.abs()
class OnlyX(Surface):
    def loss(self, x, y): return x**2
"""


@pytest.mark.parametrize("more", [(), ("--3d",), ("--map", "rates")])
def test_a_surface_of_ones_own_is_drawn_or_told_what_is_wrong_with_it(tmp_path, monkeypatch, capsys, more):
    monkeypatch.setattr(maps, "GRID", (0.01, 0.1))
    (tmp_path / "my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    rate = () if "--map" in more else ("--lr", "0.1")
    argv = ("--optimizers", "sgd", *rate, *more, "--steps", 2, "--out", "a.png")
    cannot = "autograd cannot follow what it gives back to x and y; it is detached, constant, or made of whole numbers"
    wrong = {
        "Detached": cannot, "Constant": cannot, "Whole": cannot, "Number": "loss() gave float; it must give a tensor",
        "Sum": "loss() gave a tensor of shape () for points of shape",
        "Wrong": "loss() raised AttributeError: 'Tensor' object has no attribute 'foo'",
        "Branch": "loss() raised RuntimeError: Boolean value",
        "Flat": "the loss is the same everywhere in its view", "FlatInDecades": "the loss is the same everywhere",
        "Nowhere": "the loss is finite nowhere in its view",
    }  # fmt: skip
    for name, said in wrong.items():
        assert run(f"my_own:{name}", *argv) == 2, name
        told = capsys.readouterr().err
        seen_first = name in ("Constant", "Number") or said in told  # maps and tuning look before they run
        assert seen_first and told.startswith("ravine: ") and told.count("\n") == 1, told
        assert not (tmp_path / "a.png").exists()
    for name in ("Mostly", "MostlyInDecades", "Half", "OnlyX"):
        assert run(f"my_own:{name}", *argv) == 0, (name, capsys.readouterr().err)
        (tmp_path / "a.png").unlink()


@pytest.mark.ci
@pytest.mark.parametrize(("surface", "kind"), [("ravine", "momentum"), ("camel", "rates"), ("bowl", "rates")])
def test_nothing_on_a_map_is_cut_or_covers_another(monkeypatch, tmp_path, surface, kind):
    sheets = []
    monkeypatch.setattr(maps, "heats", lambda *said: sheets.append(heats(*said)) or sheets[0])
    monkeypatch.setattr(maps, "GRID", (0.001, 0.01, 0.1))
    maps_of = {"momentum": maps.momentum, "rates": maps.rates}
    maps_of[kind](find(surface), entrants("sgd"), 30, "tuned", tmp_path / "a.png")
    (sheet,) = sheets
    sheet.draw_without_rendering()
    *boxes, bar = sheet.axes
    renderer = sheet.canvas.get_renderer()
    words = [*(label for box in boxes for axis in (box.xaxis, box.yaxis) for label in axis.get_ticklabels()),
             sheet._supxlabel, sheet._supylabel, bar.yaxis.label, *bar.yaxis.get_ticklabels()]  # fmt: skip
    lie = [word.get_window_extent(renderer) for word in words if word.get_text()]
    assert all(x.x0 >= 0 and x.y0 >= 0 and x.x1 <= sheet.bbox.x1 and x.y1 <= sheet.bbox.y1 for x in lie)
    for label in (sheet._supxlabel, sheet._supylabel, bar.yaxis.label):
        mine = label.get_window_extent(renderer)
        assert not any(mine.overlaps(word.get_window_extent(renderer)) for word in words if word is not label)
    scale = boxes[0].collections[0]
    if surface == "bowl":  # no loss lies below 0, and no colour either
        assert scale.get_clim()[0] >= 0 and scale.colorbar.extend in ("max", "neither")
