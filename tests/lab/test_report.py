"""The report is one file that needs nothing else; in a real browser it is drawn, read, driven by keys, and printed."""

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

import ravine
from ravine import visuals
from ravine.lab import LabError, report
from ravine.lab.protocol.verdict import words
from ravine.lab.report.equations import mathml
from ravine.lab.report.exhibits import inks
from ravine.optim import registry

from .synthetic import method, outcome, swept

TIMES = {"line": {"RAdam": 10, "Adam": 20, "ours": 90}, "curve": {"RAdam": 30, "Adam": 20, "ours": 25}}


@pytest.fixture(scope="session")
def real(smoke):
    """The page of a smoke run."""
    return smoke[0] / "report.html"


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """The page of a comparison that has everything."""
    path = tmp_path_factory.mktemp("report") / "full.html"
    path.write_text(report.page(swept(), "First.\nSecond.", TIMES), encoding="utf-8")
    return path


def test_it_loads_nothing(real, full):
    for page in (real, full):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?!a )[^>]*\s(?:src|srcset|data|action|href)=(?!\"data:|\"#)[^>]*>", text)
        assert not re.findall(r"<link(?![^>]*href=\"data:)|@import|url\(|fetch\(|import\(|XMLHttpRequest", text)
        rest = re.sub(r'<a href="https://[^"]*">', "", text).replace("http://www.w3.org/1998/Math/MathML", "")
        assert not re.findall(r"https?://\S+", rest)
        assert len(text) < 3_000_000


def test_it_says_what_it_must(real):
    text = real.read_text(encoding="utf-8")
    for part in ("ravine compare --tier smoke", "<math", "test loss", "accuracy", "best setting", "torch 2.", "1000"):
        assert part in text
    charts = _charts(text)
    assert {"train", "valid", "rates", "widths", "best-of", "seeds", "time"} <= set(charts["figures"])
    assert len({t["legendgroup"] for t in charts["figures"]["valid"]["data"]}) == 8


def test_what_was_measured_is_in_the_table(full):
    table = re.search(r'<table id="ranking">.*?</table>', full.read_text(encoding="utf-8"), re.S)[0]
    rows = [[re.sub(r"<[^>]*>|\s+", " ", cell).split() for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.S)]
            for row in re.findall(r"<tr>.*?</tr>", table, re.S)]  # fmt: skip
    main = outcome()
    assert len(rows) == 1 + 5
    assert rows[1][0] == ["a"] and rows[1][1] == ["RAdam"] and rows[1][2][0] == f"{main.methods[0].loss:.4f}"
    assert rows[2][4][0] == f"{main.behind(main.methods[1]).mean:.4f}" and rows[1][4] == []
    assert rows[1][5] == [f"{main.methods[0].confirmed:.4f}"]
    assert rows[1][7] == ["50", "30"] and rows[4][7][0] == "never"
    assert rows[0][9] == ["fit,", "s"] and rows[1][9] == ["1.50"]
    assert rows[5][2] == ["2", "of", "5", "diverged"] and rows[1][-1] == ["1", "of", "16"]


def test_each_kind_of_comparison_has_its_page():
    main = outcome()
    preset = tuple(replace(m, tried=(), space={}, defaults=(), edges={}) for m in main.methods)
    facts = replace(main.facts, preset="classic", tier=replace(main.facts.tier, seeds=1))
    text = report.page(replace(main, methods=preset, facts=facts), words(main))
    table = re.search(r'<table id="ranking">.*?</table>', text, re.S)[0]
    assert "training loss" in table and "epochs<br>to 1<" in table and "steps to target" not in table
    assert "The settings are the article’s" in text and 'id="trials"' not in text and 'id="rates"' not in text
    lone = tuple(replace(m, tuned=m.tuned[2:3], tried=m.tried[:1]) for m in main.methods)
    text = report.page(replace(main, methods=lone, target=None, easy_target=None), "").split("<script")[0]
    assert "One run of each has no spread" in text and "steps to target" not in text
    assert not re.search(r"\b(nan|inf)\b", text)
    ruined = replace(main.methods[-1], tuned=(main.methods[-1].tuned[0],) * 5)
    assert "5 of 5 diverged" in report.page(replace(main, methods=(ruined,)), "All diverged.")


@pytest.mark.ci
def test_stills_are_named_after_what_they_show(tmp_path):
    main = outcome()
    stranger = replace(main.methods[3], inside=main.methods[0].inside)
    report.stills(replace(main, methods=(stranger,)), tmp_path / "png", tmp_path / "all.pdf", TIMES)
    names = {path.name for path in (tmp_path / "png").iterdir()}
    its = {
        f"torch-optim-SGD-{name}.png" for name in ("gradients", "updates", "ratio", "effective", "search", "by-rate")
    }
    assert {"valid.png", "profile.png"} | its <= names and len(names) == 10 + len(its)
    assert (tmp_path / "all.pdf").read_bytes().count(b"/Type /Page ") == len(names)


def test_where_stills_cannot_be_written_is_told(tmp_path):
    with pytest.raises(LabError, match=r"--pdf .*: cannot be written: Is a directory"):
        report.stills(outcome(), None, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"--png .*file: cannot be written: File exists"):
        report.stills(outcome(), tmp_path / "file", None)


@pytest.mark.parametrize("name", registry())
def test_every_equation_becomes_mathml(name):
    latex = registry()[name].equations()
    shown = mathml(latex)
    assert shown.count("<mtr><mtd class") == latex.count("&=")
    assert "\\" not in shown and "&amp;" not in shown and not re.search(r"&(?!#|\w+;)", shown)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("which", "width", "scheme"), [("full", 1280, "light"), ("full", 390, "dark"), ("real", 390, "light")]
)
def test_it_is_drawn(request, which, width, scheme):
    with browsed(request.getfixturevalue(which), width, scheme) as tab:
        charts = tab.locator("figure:not([hidden]) .chart").count()
        assert charts == (18 if which == "full" else 14)
        assert tab.locator(".chart:has(.main-svg :is(.trace, .heatmaplayer image))").count() == charts
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        edges = tab.evaluate("[...document.querySelectorAll('.main-svg')].map(x => x.getBoundingClientRect().right)")
        assert max(edges) <= width


@pytest.mark.browser
def test_it_changes_as_asked(full):
    with browsed(full) as tab:
        ticks = tab.locator("#valid .xtick").last.text_content()
        for unit, last in (("second", "0.1"), ("epoch", "10")):
            tab.click(f"#switch button:has-text('{unit}')")
            tab.wait_for_function(f"document.querySelector('#valid .xtitle').textContent === '{unit}'")
            assert tab.locator("#valid .xtick").last.text_content() == last != ticks
        before = tab.locator("#valid .scatterlayer .trace").count()
        tab.click("#chips button >> nth=0")
        tab.wait_for_function(f"document.querySelectorAll('#valid .scatterlayer .trace').length < {before}")
        assert tab.evaluate("document.getElementById('ratio').data[1].y[0]") == 0.1
        tab.select_option("#who", "Adam")
        tab.wait_for_function("document.getElementById('ratio').data[1].y[0] === 0.2")
        assert tab.locator("#ratio-beside:visible").count() == 0
        tab.select_option("#beside", "RAdam")
        tab.wait_for_function("document.getElementById('ratio-beside').data?.[1].y[0] === 0.1")
        assert tab.locator("#ratio-beside-caption").text_content() == "Update by weights, ‖Δw‖ / ‖w‖ · RAdam"
        ranges = "['ratio', 'ratio-beside'].map((id) => document.getElementById(id).layout.yaxis.range.join())"
        tab.wait_for_function(f"new Set({ranges}).size === 1")
        tab.select_option("#beside", "")
        assert tab.locator("#ratio-beside:visible").count() == 0
        assert tab.locator(".finding:visible").count() == 1
        assert tab.locator(".finding:visible").text_content().startswith("Adam:")
        tab.select_option("#tried", "NAdam")
        tab.wait_for_function("document.getElementById('search').data.at(-2).line.color === '#D55E00'")
        tab.click("[aria-controls=search-data]")
        assert tab.locator("#search-data td").all_text_contents()[:3] == ["trial 4", "lr", "1"]  # which diverged
        assert tab.locator("#search:visible").count() == 1
        tab.select_option("#tried", "sgd")
        tab.wait_for_function("document.getElementById('by-rate').data.length === 2")
        assert tab.locator("#search:visible").count() == 0  # it has one hyperparameter


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_one_curve_stands_out_and_the_ends_are_named(tmp_path, width, scheme):
    many = [method(name, ravine.Adam, 0.1 + 0.001 * i) for i, name in enumerate("ABCDEFGHIJKL")]
    many = [replace(m, card=replace(m.card, label=m.card.name + " <b>" + "x" * 3 * i)) for i, m in enumerate(many)]
    page = tmp_path / "many.html"
    page.write_text(report.page(replace(outcome(), methods=tuple(many)), ""), encoding="utf-8")
    colours = "[...new Set(document.getElementById('valid').data.map((x) => x.line.color).filter((x) => /^#/.test(x)))]"
    with browsed(page, width, scheme) as tab:
        ink = inks(replace(outcome(), methods=tuple(many)))
        grey = tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--dim')").strip()
        labels = tab.locator("#valid .annotation-text").all()
        texts = {x.text_content(): x.bounding_box() for x in labels}
        names = {m.name if len(m.name) < 17 else m.name[:15] + "…": m.name for m in many}
        boxes = sorted((texts[short] for short in names), key=lambda box: box["y"])
        assert all(a["y"] + 13 < b["y"] + 0.5 for a, b in pairwise(boxes))
        assert max(box["x"] + box["width"] for box in boxes) <= width
        assert set(tab.evaluate(colours)) == {grey, ink[many[0].name].colour}
        tab.select_option("#lit", many[4].name)
        tab.wait_for_function(f"{colours}.includes('{ink[many[4].name].colour}')")
        assert tab.evaluate("document.getElementById('train').data.at(-1).name") == many[4].name
        tab.locator("#valid .annotation-text", has_text="H <b>").click()
        tab.wait_for_function(f"document.getElementById('lit').value === {json.dumps(many[7].name)}")
        before = tab.evaluate("document.getElementById('valid').layout.annotations[2].y")
        tab.evaluate("Plotly.relayout('valid', {'yaxis.range': [-2, 2]})")
        tab.wait_for_function(f"document.getElementById('valid').layout.annotations[2].y !== {before}")


@pytest.mark.browser
def test_all_data_are_a_click_away(full, tmp_path):
    with browsed(full) as tab:
        for button in tab.locator("figure:not([hidden]) button.data").all():
            button.click()
            sheet = tab.locator(f"#{button.get_attribute('aria-controls')}")
            assert button.get_attribute("aria-expanded") == "true"
            assert sheet.locator("tbody tr").count() >= 2 and sheet.locator("thead th").count() >= 2
            assert not re.search("undefined|NaN|null", sheet.inner_text())
        rows = [row.split("\t") for row in tab.locator("#rates-data table").inner_text().splitlines()]
        assert rows[0] == ["series", "learning rate", "final validation loss", "lowest", "highest"]
        assert sum(row[0] == "RAdam" for row in rows) == 15 and sum(row[0] == "RAdam, diverged" for row in rows) == 1
        with tab.expect_download() as saved:
            tab.click("#valid-data button")
        assert saved.value.suggested_filename == "line-valid.csv"
        lines = saved.value.path().read_bytes().decode().split("\r\n")
        assert lines[0] == "series,step,validation loss" and '"RAdam, run 1",0,3' in lines
        tab.click("#switch button:has-text('epoch')")
        tab.wait_for_function("document.querySelector('#valid-data th:nth-child(2)').textContent === 'epoch'")
        tab.locator("details summary").first.click()
        with tab.expect_download() as saved:
            tab.click("button[data-table=points]")
        assert len(saved.value.path().read_bytes().decode().split("\r\n")) == 1 + 4 * 16 + 2 + 1


@pytest.mark.browser
def test_keys_reach_everything(full):
    with browsed(full) as tab:
        tab.click("button.data >> nth=0")
        wanted = tab.evaluate("""() => {
            const all = [...document.querySelectorAll("a[href], button, select, summary, [tabindex='0']")];
            const seen = all.filter((x) => x.checkVisibility());
            seen.forEach((x, i) => (x.dataset.key = i));
            return seen.length;
        }""")
        assert wanted > 40
        reached = []
        for _ in range(wanted + 1):
            tab.keyboard.press("Tab")
            reached.append(tab.evaluate("document.activeElement.dataset.key ?? null"))
        assert {int(key) for key in reached if key is not None} == set(range(wanted))
        tab.focus("#chips button >> nth=1")
        tab.keyboard.press("Space")
        assert tab.get_attribute("#chips button >> nth=1", "aria-pressed") == "false"


@pytest.mark.browser
def test_it_prints(full):
    colour = "getComputedStyle(document.querySelector('#valid .xtitle')).fill"
    with browsed(full, scheme="dark") as tab:
        screen = tab.evaluate(colour)
        tab.emulate_media(media="print")
        tab.wait_for_function("document.querySelector('#valid .main-svg').getBoundingClientRect().width < 400")
        assert tab.evaluate(colour) == "rgb(0, 0, 0)" != screen
        beyond = tab.evaluate("""() => {
            const edge = (x) => x.getBoundingClientRect().right, most = edge(document.querySelector("main")) + 1;
            const all = [...document.querySelectorAll("figure, .main-svg, table")];
            return all.filter((x) => edge(x) > most).map((x) => x.id);
        }""")
        assert beyond == []
        assert tab.locator("button.data:visible, nav:visible").count() == 0
        assert tab.pdf(format="A4").count(b"/Type /Page\n") >= 4
        tab.emulate_media(media="screen")
        tab.wait_for_function(f"{colour} === '{screen}'")


def test_curves_are_thinned_and_banded():
    ink, x = visuals.ink(0), list(range(1000))
    line = visuals.Line("a", ink, x, [[1.0] * 1000, [3.0] * 999 + [float("nan")]], {"s": 0.5})
    figure = visuals.curves([line], "step", "y")
    low, high, *runs, mean = figure["data"]
    assert len(mean["x"]) == 200 and mean["x"][-1] == 999 and mean["y"][:2] == [2.0, 2.0] and mean["y"][-1] is None
    assert len(low["x"]) == 199 and (low["y"][0], high["y"][0]) == (1.0, 3.0) and len(runs) == 2
    assert figure["measures"] == {"step": [1.0] * 5, "s": [0.5] * 5} and figure["layout"]["yaxis"]["type"] == "log"


def test_what_failed_is_on_the_rail():
    scan = visuals.Scan("a", visuals.ink(1), [0.1, 1.0], [[1.0, 2.0], [3.0, float("inf")]], 0, [0])
    line, points, cross = visuals.sensitivity([scan], "x", "y")["data"]
    assert line["y"] == points["y"] == [1.5] and points["error_y"]["array"] == [0.5]
    assert cross["x"] == [1.0] and cross["text"] == ["1 of 2 diverged at 1"] and cross["y"][0] > 3.0


@contextmanager
def browsed(page, width=1280, scheme="light"):
    """A tab of Chromium that has drawn the page; anything that it complains of or asks for fails the test."""
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
        address = page if isinstance(page, str) else page.as_uri()
        own = (address, "data:", "blob:")
        tab.on("request", lambda r: None if r.url.startswith(own) else trouble.append(r.url))
        tab.goto(address)
        tab.wait_for_selector("body[data-drawn]")
        yield tab
        browser.close()
    assert trouble == []


def _charts(text):
    """Strict JSON: no NaN."""
    return json.loads(re.search(r'id="charts">(.*?)</script>', text, re.S)[1], parse_constant=pytest.fail)
