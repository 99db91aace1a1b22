"""The report is one file that needs nothing else, in a real browser too."""

import json
import math
import re
import shutil

import pytest

from ravine import visuals
from ravine.lab.report.equations import mathml
from ravine.optim import registry


@pytest.fixture(scope="session")
def page(smoke):
    return smoke[0] / "report.html"


def test_it_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r'https?://[^"\s]+\.(?:js|css|woff)', text)
    assert not re.findall(r'<(?:script|img|iframe)[^>]*\ssrc=|<link[^>]*href="(?!data:)|@import|url\(', text)
    assert len(text) < 3_000_000


def test_it_says_what_it_must(page):
    text = page.read_text(encoding="utf-8")
    for part in (
        "ravine compare --tier smoke",
        "<math",
        "validation loss",
        "accuracy",
        "best lr",
        "torch 2.",
        "same validation data",
    ):
        assert part in text
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.S)[1])  # strict JSON: no NaN
    assert set(charts) == {"train", "valid", "rates"}
    assert len(charts["valid"]["data"]) == len(charts["valid"]["alternative"]["x"]) == 2 * 8


@pytest.mark.parametrize("name", registry())
def test_every_equation_becomes_mathml(name):
    latex = registry()[name].equations()
    shown = mathml(latex)
    assert shown.count("<mtr><mtd class") == latex.count("&=")
    assert "\\" not in shown and "&amp;" not in shown and not re.search(r"&(?!#|\w+;)", shown)


def test_curves_are_thinned_and_banded():
    ink = visuals.ink(0)
    x = list(range(1000))
    figure = visuals.curves([visuals.Line("a", ink, x, [[1.0] * 1000, [3.0] * 999 + [math.nan]], x)], "x", "s", "y")
    band, line = figure["data"]
    assert len(line["x"]) == 200 and line["x"][-1] == 999 and line["y"][:2] == [2.0, 2.0] and line["y"][-1] is None
    assert len(band["x"]) == 400 and figure["layout"]["yaxis"]["type"] == "log"


def test_what_failed_is_on_the_rail():
    scan = visuals.Scan("a", visuals.ink(1), [0.1, 1.0], [[1.0, 2.0], [3.0, math.inf]], 0)
    figure = visuals.sensitivity([scan, scan], "x", "y")
    line, cross, _, beside = figure["data"]
    assert line["y"] == [1.5, None] and cross["x"] == [1.0] and cross["text"] == ["1 of 2 diverged at 1"]
    assert cross["y"][0] > 3.0 and beside["x"][0] > cross["x"][0]


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(page, width, scheme):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    trouble = []
    with playwright.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        browser = play.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else trouble.append(r.url))
        tab.goto(page.as_uri())
        tab.wait_for_selector("body[data-drawn]")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.locator(".chart .main-svg").count() >= 3
        steps = tab.locator("#valid .xtick").last.text_content()
        tab.click("#switch button:has-text('seconds')")
        tab.click("#chips button >> nth=0")
        assert tab.locator("#valid .xtitle").text_content() == "seconds"
        assert tab.locator("#valid .xtick").last.text_content() != steps
        browser.close()
    assert trouble == []
