"""The playground in one file: nothing is loaded, its numbers are the library's as far as can be seen, and it moves."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from ravine.cli import main
from ravine.optim import Adam
from ravine.surfaces import Run, descend, find
from ravine.surfaces.play import export

from .playing import browser, tab
from .test_play_page import pixels, told, until


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "page.html"
    assert main(["play", "--export", str(path), "--surfaces", "beale,saddle", "--optimizers", "sgd,adam"]) == 0
    return path


def test_it_loads_nothing(file):
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"<link(?![^>]*href=\"data:)|<script src|@import|XMLHttpRequest", text)
    modules = json.loads(re.search(r'<script type="importmap">(.*?)</script>', text)[1])["imports"]
    assert {name for name in modules if not name.startswith("ravine/")} == set()
    for name, address in modules.items():
        kind, code = address.split(",")
        assert kind == "data:text/javascript;base64"
        source = base64.b64decode(code).decode()
        assert set(re.findall(r'from "(.*?)"', source)) <= modules.keys(), name
    shown = text + "".join(base64.b64decode(x.split(",")[1]).decode() for x in modules.values())
    links = set(re.findall(r"https?://[\w./-]+", shown))
    assert links == {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}  # a name space and a comment
    assert len(text) < 1_000_000


def test_what_is_in_it_is_what_was_computed(file):
    packed = re.search(r'id="baked">(.*?)</script>', file.read_text(encoding="utf-8"), re.S)[1]
    data = gzip.decompress(base64.b64decode(packed))
    length = int.from_bytes(data[:4], "little")
    head, codes = json.loads(data[4 : 4 + length]), np.frombuffer(data, "<u2", offset=4 + length)
    assert list(head["surfaces"]) == ["beale", "saddle"]
    beale = head["surfaces"]["beale"]
    assert beale["tuned"]["adam"] in beale["rates"]["adam"] and {0.001, 0.01, 0.1} <= set(beale["rates"]["adam"])
    count, steps = beale["rows"] * beale["columns"], head["steps"]
    place = len(beale["rates"]["sgd"]) + beale["rates"]["adam"].index(0.1)
    four = codes[count + 4 * place * (steps + 1) :][: 4 * (steps + 1)].reshape(4, -1)
    x, y, loss, norm = np.cumsum(four, axis=1, dtype=np.uint16)
    (path,) = descend(find("beale"), [Run(Adam, {"lr": 0.1}, find("beale").start)], steps)
    for codes_of, (low, high), true in zip((x, y), beale["box"], path.points.T, strict=True):
        assert np.allclose(low + codes_of / 65534 * (high - low), true, atol=(high - low) / 65534)
    low, high = beale["decades"]
    for codes_of, true in ((loss, path.losses - beale["lowest"]), (norm, np.hypot(*path.gradients.T))):
        assert np.allclose(10 ** (low + codes_of / 65534 * (high - low)), true, rtol=2e-3, atol=1e-15)


def test_codes_say_where_there_is_nothing():
    x = np.array([0.0, 0.5, 1.0, 1.1, -0.1, np.nan, np.inf])
    assert export.linear(x, 0, 1).tolist() == [0, 32767, 65534, *[export.NOTHING] * 4]
    low, high = export.DECADES
    x = np.array([10.0**high, np.nan, np.inf, 10.0**low, 0.0, -1.0])
    assert export.logarithmic(x).tolist() == [*[export.NOTHING] * 3, 0, 0, 0]
    assert np.cumsum(export.change(np.array([9, 65535, 0, 3], np.uint16)), dtype=np.uint16).tolist() == [9, 65535, 0, 3]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--surfaces", "beal", "--surfaces: 'beal' is not known; it is one of"),
        ("--optimizers", "sgd,adum", "--optimizers: 'adum' is not known; it is one of"),
        ("--surfaces", ",", "--surfaces: it names nothing"),
        ("--port", "x", "is not a whole number"),
        ("--prot", "1", "unrecognized arguments"),
    ],
)
def test_mistakes_in_the_arguments(option, value, said, tmp_path, capsys):
    assert main(["play", "--export", str(tmp_path / "page.html"), option, value]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_where_it_cannot_be_written_is_told(tmp_path, capsys):
    assert main(["play", "--export", str(tmp_path), "--surfaces", "saddle", "--optimizers", "sgd"]) == 2
    assert "cannot be written: Is a directory" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_it_moves(file, width):
    with browser() as chromium, tab(chromium, file.as_uri(), width) as page:
        page.click("[data-mode=default]")
        until(page, "document.querySelector('.told').textContent.endsWith('lr 0.001')")
        picture = pixels(page)
        page.click("[data-racer=adam] .open")
        page.fill("[data-racer=adam] [data-number=lr]", "0.11")
        page.keyboard.press("Enter")
        until(page, "document.querySelectorAll('.told')[1].textContent.endsWith('lr 0.1')")  # snapped
        assert pixels(page) != picture
        (path,) = descend(find("beale"), [Run(Adam, {"lr": 0.1}, find("beale").start)], 300)
        assert float(re.match(r"loss (\S+)", told(page)[1])[1]) == pytest.approx(path.losses[-1], rel=0.01)
        page.select_option("#which", "saddle")
        until(page, "document.querySelector('h1').textContent === 'Saddle'")
        page.click("[data-look=relief]")
        page.wait_for_selector("body[data-drawn=relief]")
        page.click("[data-look=rates]")
        page.wait_for_selector("#tiles[data-shown=rates]")
        assert page.locator("[data-look=basins]").is_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") == width
