"""A still says what the figure says, in letters that can be read."""

import math
from itertools import pairwise

import pytest

from ravine import visuals
from ravine.visuals.lit import GREY, apart
from ravine.visuals.rates import rates

still = pytest.importorskip("ravine.visuals.still", reason="matplotlib is not installed")
INK = visuals.ink(0)
FIGURES = {
    "curves": visuals.curves(
        [visuals.Line(n, visuals.ink(i), [0, 1, 2], [[3, 2, 1], [3, 1, math.nan]]) for i, n in enumerate("ab")],
        "step", "loss", {"target": 1.5, "easy": 2.5},
    ),
    "bands": visuals.bands([visuals.Band("a", INK, [1, 2], [2, 1], [1, 0.5], [3, 2])], "k", "loss", "low", "high"),
    "rates": visuals.sensitivity(
        [visuals.Scan(n, visuals.ink(8 + i), [0.1, 1.0, 10.0], [[1.0, 2.0], [3.0, 3.0], [math.inf, 1.0]], 0, [0, 1])
         for i, n in enumerate("ab")], "lr", "loss",
    ),
    "widths": visuals.widths([visuals.Width("a", INK, (0.01, 10), (0.1, 1), 0.3, "1.0 decades")], "lr"),
    "search": visuals.parallel([{"a": 0.1, "b": 1.0}, {"a": 1.0, "b": 0.2}, {"a": 0.5, "b": 2.0}], [0.5, math.inf, 4.0],
                              {"a": (0.1, 1.0), "b": (0.1, 10.0)}, "loss", INK),
    "shades": visuals.shades([visuals.Shade(r, [0, 1], [3, 1 + r]) for r in (0.1, 1, 0.5)], 2, "lr", "step", "loss"),
    "seeds": visuals.spread([visuals.Values("a", INK, [1, 2, 3, math.inf]), visuals.Values("b", INK, [2])], "loss"),
    "bars": visuals.bars([visuals.Bar("a", INK, {"one": 1.0, "two": 2.5})], "ms"),
    "range test": rates([0.1, 1.0, 10.0], [[3, 2, 5], [3, 1, 2]], [3, 1.5, 3.5], 0.5),
    "heat": visuals.heat([1, 2, 3], [0.1, 1, 10], [[10, 0], [60, 40]], ("step", "size", "%"), 25),
    "profile": visuals.profile([visuals.Ratios(n, visuals.ink(i), [1, 1.5 + i, math.inf]) for i, n in enumerate("ab")]),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_kind_is_drawn_in_letters_of_8_points(name):
    sheet = still.still(FIGURES[name] | {"title": "A title"})
    sheet.draw_without_rendering()
    words = [text for text in sheet.findobj(lambda x: hasattr(x, "get_fontsize")) if text.get_text().strip()]
    assert words and min(text.get_fontsize() for text in words) >= 8
    width, height = sheet.get_size_inches()
    assert width == 6.5 and 1.5 <= height <= 8
    drawn = sheet.get_tightbbox()  # all of it lies on the page
    assert drawn.x0 > -0.01 and drawn.y0 > -0.01 and drawn.x1 < width + 0.01 and drawn.y1 < height + 0.01


def test_lines_bars_and_cells_are_where_the_data_are():
    axes = still.still(FIGURES["curves"] | {"title": ""}).axes[0]
    drawn = [line.get_xydata().tolist() for line in axes.lines if line.get_linewidth() == pytest.approx(1.4)]
    assert drawn[0][:2] == [[0, 3], [1, 1.5]] and axes.get_yscale() == "log"
    assert {text.get_text() for text in axes.texts} == {"target 1.5", "easy 2.5"}
    (one, two) = still.still(FIGURES["bars"] | {"title": ""}).axes[0].patches
    assert (one.get_x(), one.get_width(), two.get_x(), two.get_width()) == (0, 1, 1, 2.5)
    cells = still.still(FIGURES["heat"] | {"title": ""}).axes[0].collections[0].get_array()
    assert cells.filled(0).tolist() == [[10, 60], [0, 40]]
    labels = [text.get_text() for text in still.still(FIGURES["seeds"] | {"title": ""}).axes[0].get_yticklabels()]
    assert labels == ["a (1 diverged)", "b"]


def test_several_things_have_a_legend_the_first_on_top():
    sheet = still.still(FIGURES["rates"] | {"title": ""})
    assert [text.get_text() for text in sheet.legends[0].get_texts()] == ["b", "a"]  # drawn last is on top
    assert not still.still(FIGURES["bands"] | {"title": ""}).legends


def test_one_that_is_lit_is_in_colour_and_names_stand_at_the_ends():
    lines = [visuals.Line(f"method {i}", visuals.ink(i), [0, 1], [[3, 2 + i / 1e3], [3, 2]]) for i in range(15)]
    sheet = still.still(visuals.curves(lines, "step", "loss") | {"title": "", "lit": "method 3"})
    sheet.draw_without_rendering()
    (axes,) = sheet.axes
    colours = [line.get_color().upper() for line in axes.lines]
    assert colours[:14] == [GREY.upper()] * 14 and set(colours[14:]) == {visuals.ink(3).colour} and not sheet.legends
    words = {text.get_text(): text for text in axes.texts}
    assert set(words) == {f"method {i}" for i in range(15)}
    assert [name for name, text in words.items() if text.get_fontweight() == "bold"] == ["method 3"]
    boxes = sorted((text.get_window_extent() for text in words.values()), key=lambda box: box.y0)
    heights = [text.get_position()[1] for text in words.values()]
    assert min(b - a for a, b in pairwise(sorted(heights))) > 0.04 and boxes[-1].x1 <= sheet.bbox.x1
    assert words["method 14"].get_position()[1] > words["method 0"].get_position()[1]  # in the order of their ends


def test_labels_stay_where_they_are_if_there_is_room():
    assert apart([0.5, 0.9, 0.1], 0.2) == [0.5, 0.9, 0.1]
    assert apart([0.5, 0.5, 1.0, 1.0], 0.2) == pytest.approx([0.4, 0.6, 0.8, 1.0])


def test_a_kind_that_it_does_not_know_is_an_error():
    with pytest.raises(ValueError, match="a still has scatter, bar, box and heatmap, and this figure has a pie"):
        still.still(FIGURES["bars"] | {"title": "", "data": [{"type": "pie"}]})


@pytest.mark.ci
def test_files(tmp_path):
    figures = {name: figure | {"title": name} for name, figure in FIGURES.items()}
    still.png(figures, tmp_path / "new" / "folder")
    assert {p.stem for p in (tmp_path / "new" / "folder").iterdir()} == set(figures)
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (tmp_path / "new" / "folder").iterdir())
    still.pdf(figures, tmp_path / "all.pdf")
    assert (tmp_path / "all.pdf").read_bytes().count(b"/Type /Page ") == len(figures)


@pytest.mark.parametrize(
    ("values", "kind"), [((2.0, 2.1), None), ((2.0, 9.0), "D1"), ((2.0, 90.0), "D2"), ((2.0, 1e4), 1)]
)
def test_an_axis_has_labels_whatever_it_spans(values, kind):
    y = visuals.spread([visuals.Values("a", INK, values)], "loss")["layout"]["xaxis"]
    assert y.get("dtick") == kind and y.get("type") == (None if kind is None else "log")
