"""`ravine schedule`, and the pictures that it makes."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from ravine.cli import main
from ravine.schedules import names
from ravine.visuals import Panel, grid, terminal


def run(capsys, *arguments):
    status = main(["schedule", *arguments])
    return status, *capsys.readouterr()


def test_the_list_has_every_schedule_in_a_line(capsys):
    status, out, _ = run(capsys)
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == names()
    assert all(line.endswith(".") for line in out.splitlines())


@pytest.mark.parametrize("name", names())
def test_each_is_explained_and_drawn(name, capsys, tmp_path):
    status, out, _ = run(capsys, name)
    assert (status == 0 and "s(t)" in out) or "s ←" in out or "up:" in out or "s:" in out
    assert "https://" in out and "For this run: " in out
    status, out, _ = run(capsys, name, "--steps", "50", "--plot", "--table", "-o", str(tmp_path / "x.svg"))
    assert status == 0 and "│" in out and "step 49" in out and len(re.findall(r"(?m)^ ?\d+  [\d.e+-]+$", out)) == 21
    svg = ElementTree.parse(tmp_path / "x.svg").getroot()
    assert svg.tag.endswith("svg") and name in "".join(svg.itertext())


def test_a_table_says_the_values(capsys):
    out = run(capsys, "linear", "warmup=4", "end=0.5", "--steps", "12", "--table")[1]
    rows = {int(a): float(b) for a, b in (line.split() for line in out.split("\n\n")[1].splitlines())}
    assert len(rows) == 12 and rows[0] == 0.25 and rows[3] == rows[4] == 1.0 and rows[8] == 0.75


def test_a_plateau_is_drawn_as_if_nothing_got_better(capsys):
    out = run(capsys, "plateau", "factor=0.5", "patience=3", "--steps", "9", "--table")[1]
    assert [line.split()[1] for line in out.split("\n\n")[1].splitlines()] == ["1"] * 5 + ["0.5"] * 4


def test_html_is_a_page_with_the_values(capsys, tmp_path):
    assert run(capsys, "cosine", "--steps", "5", "-o", str(tmp_path / "x.html"))[0] == 0
    text = (tmp_path / "x.html").read_text()
    assert "Cosine(total=5" in text and "0.904508" in text and "Plotly.newPlot" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cosne --plot", "unknown schedule 'cosne': did you mean cosine"),
        ("--plot", "which schedule? One of constant, step"),
        ("cosine end", "'end' is no FIELD=VALUE, such as end=0.1"),
        ("cosine edn=0.1", "cosine has no 'edn': did you mean end?"),
        ("cosine end=x", "end is 'x'; it must be a number"),
        ("cosine --steps 0", "--steps: must be 1 or more, and is 0"),
        ("cosine total=0", "total=0: the length of the run is --steps N"),
        ("cosine name=x", "name=x: the name comes first"),
        ("cosine --steps x", "'x' is not a whole number (see ravine schedule --help)"),
        ("cosine -o x.png", "x.png is neither .svg nor .html"),
        ("cosine -o /nowhere/at/all.svg", "No such file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, message):
    status, out, err = run(capsys, *arguments.split())
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("ravine: ") and message in err


def test_the_papers_of_schedules_are_cited(capsys):
    assert main(["cite", "sgdr", "adam"]) == 0
    out = capsys.readouterr().out
    assert "@inproceedings{loshchilov2017sgdr" in out and "@inproceedings{kingma2015adam" in out


BARE = """
import sys
for name in ("scipy", "sklearn", "plotly", "rich", "jinja2", "matplotlib"):
    sys.modules[name] = None
from ravine.cli import main
assert main(["schedule", "sgdr", "--plot", "--table", "-o", sys.argv[1] + "/x.svg"]) == 0
assert main(["schedule", "sgdr", "-o", sys.argv[1] + "/x.html"]) == 2
"""


@pytest.mark.ci
def test_without_any_extra(tmp_path):
    done = subprocess.run([sys.executable, "-c", BARE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0 and 'needs plotly: pip install ".[lab]"' in done.stderr and done.stderr.count("\n") == 1


def dots(text):
    """(column, row) of every dot."""
    lines = [line.partition("│")[2] for line in text.splitlines()[:-1]]
    places = {0: (0, 0), 1: (0, 1), 2: (0, 2), 6: (0, 3), 3: (1, 0), 4: (1, 1), 5: (1, 2), 7: (1, 3)}
    return {
        (2 * i + places[bit][0], 4 * j + places[bit][1])
        for j, line in enumerate(lines)
        for i, letter in enumerate(line)
        for bit in places
        if (ord(letter) - 0x2800) >> bit & 1
    }


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1.0],
        [1.0] * 3,
        [0.5],
        [0.0] * 20 + [1.0] * 20,
        [0.0] * 333 + [1.0] + [0.0] * 333,
        [t**2 / 1e4 for t in range(100)],
    ],
)
def test_a_curve_in_the_terminal_goes_where_the_values_are(values):
    text = terminal(values, width=40, height=5)
    found = dots(text)
    columns = [sorted(y for x, y in found if x == i) for i in range(64)]
    for left, right in pairwise(columns):  # the curve is in one piece: no column is empty, and each touches the next
        assert left[0] <= right[-1] + 1 and right[0] <= left[-1] + 1
        assert right == list(range(right[0], right[-1] + 1))
    top, last = max(values) or 1, len(values) - 1
    for x in (0, 63):
        value = values[round(x / 63 * last)]
        assert (x, round(19 * (1 - value / top))) in found
    high = {y for _, y in found}
    assert min(high) == 0 and max(high) == round(19 * (1 - min(values) / top))
    assert max(map(len, text.splitlines())) <= 40


def test_a_grid_has_every_panel_with_its_curve():
    svg = ElementTree.fromstring(grid([Panel("a & b", [0.0, 1.0, 0.5]), Panel("flat", [2.0, 2.0])], columns=2))
    lines = [x.attrib["points"].split() for x in svg.iter() if x.tag.endswith("polyline")]
    assert [len(x) for x in lines] == [3, 2] and "a & b" in "".join(svg.itertext())
    heights = [[float(point.split(",")[1]) for point in line] for line in lines]
    assert heights == [[108.0, 24.0, 66.0], [24.0, 24.0]]
    assert {x.attrib["transform"] for x in svg.iter() if "transform" in x.attrib} == {
        "translate(0,0)",
        "translate(220,0)",
    }
