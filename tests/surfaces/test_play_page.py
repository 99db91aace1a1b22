"""The playground in a real browser: everything that a person does there."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra play is not installed")

from .playing import browser, playground, tab

pytestmark = pytest.mark.browser
TIMEOUT = 30_000
REFUSED = "Failed to load resource: the server responded with a status of 400"  # Chromium's own words


@pytest.fixture(scope="module")
def chromium():
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def play():
    with playground() as running:
        yield running


def slowly(*cases):
    """Cases of the slow suite."""
    return [pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=pytest.mark.slow) for x in cases]


def told(page):
    """What stands beside each optimizer: its loss at the time of the clock, and its rate."""
    return page.locator(".told").all_inner_texts()


def until(page, expression):
    """Waits for something to be true in the page, whose policy lets nobody evaluate texts there."""
    for _ in range(TIMEOUT // 25):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def after(page, act, *arguments):
    """Does something, and waits until the page has asked and drawn what follows."""
    before = page.get_attribute("body", "data-ready")
    act(*arguments)
    until(page, f"document.body.dataset.ready !== {before!r}")
    frames(page)


def frames(page):
    """Waits until what was asked for is drawn."""
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def mode(page, which):
    after(page, page.click, f"[data-mode={which}]")


def pixels(page):
    return page.evaluate("document.getElementById('picture').toDataURL()")


def test_choosing_a_surface_and_optimizers(play, chromium):
    with tab(chromium, play.address()) as page:
        before, names = pixels(page), page.locator(".racer b").all_inner_texts()
        after(page, page.select_option, "#which", "ravine")
        assert page.inner_text("h1") == "Ravine" and pixels(page) != before
        before = told(page)
        page.fill("#surface [data-number=condition]", "4")
        after(page, page.keyboard.press, "Enter")
        assert told(page) != before
        after(page, page.select_option, "#add", "lion")
        assert page.locator(".racer b").all_inner_texts() == [*names, "Lion"]
        after(page, page.click, "[data-racer=sgd] .away")
        assert page.locator(".racer b").all_inner_texts() == [*names[1:], "Lion"]
        after(page, page.select_option, "#add", "adam")
        assert page.locator(".racer b").all_inner_texts()[-1] == "Adam 2"


def test_dragging_the_start(play, chromium):
    with tab(chromium, play.address()) as page:
        before = told(page)
        box = page.locator("#picture").bounding_box()
        x, y = box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"]
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(x, y, steps=5)
        page.mouse.up()
        until(page, "document.getElementById('start-x').value === '3'")
        assert page.input_value("#start-y") == "2.25"
        until(page, f"document.querySelector('.told').textContent !== {before[0]!r}")
        _, answer = play.ask("race", {"surface": {"name": "beale"}, "start": [3, 2.25], "steps": 100, "seed": 0,
                                      "runs": [{"name": "sgd"}]})  # fmt: skip
        for _ in range(TIMEOUT // 25):  # the start has been at other places on its way
            shown = re.match(r"loss (\S+)", told(page)[0])
            if shown and float(shown[1]) == pytest.approx(answer["losses"][0, -1], rel=6e-3):
                break
            page.wait_for_timeout(25)
        else:
            raise AssertionError(f"{told(page)[0]}, not {answer['losses'][0, -1]}")


def test_a_slider_changes_the_path(play, chromium):
    with tab(chromium, play.address(), allowed=[REFUSED]) as page:
        page.click("[data-racer=adam] .open")
        before, picture = told(page), pixels(page)
        page.focus("[data-racer=adam] [data-control=lr]")
        after(page, page.keyboard.press, "PageUp")
        assert told(page)[-1] != before[-1] and told(page)[:-1] == before[:-1] and pixels(page) != picture
        assert "by hand: Adam" in page.get_attribute("#picture", "aria-label")
        before = told(page)
        page.fill("[data-racer=adam] [data-number='betas[0]']", "0.5")
        after(page, page.keyboard.press, "Enter")
        assert told(page)[-1] != before[-1]
        page.fill("[data-racer=adam] [data-number='betas[0]']", "1.5")
        after(page, page.keyboard.press, "Enter")
        assert page.locator("#trouble").inner_text().startswith("Adam: betas[0] is 1.5; it must lie in")
        after(page, page.click, "[data-racer=adam] button:has-text('Defaults')")
        assert page.locator("#trouble").is_hidden()


def test_how_rates_were_chosen_is_always_said(play, chromium):
    with tab(chromium, play.url) as page:
        said = lambda: page.get_attribute("#picture", "aria-label")  # noqa: E731
        assert "lr tuned for each on this surface: 16 starts × 300 steps" in said()
        mode(page, "default")
        until(page, "document.querySelector('#picture').ariaLabel.includes('default')")  # it tells what was answered
        assert "each one’s default" in said() and told(page)[0].endswith("lr 0.001")
        mode(page, "same")
        until(page, "document.querySelector('#picture').ariaLabel.includes('for all')")
        assert "lr 0.01 for all" in said() and {t.split("lr ")[1] for t in told(page)} == {"0.01"}
        page.fill("#rate [data-number=lr]", "0.02")
        after(page, page.keyboard.press, "Enter")
        assert "lr 0.02 for all" in said() and {t.split("lr ")[1] for t in told(page)} == {"0.02"}


def test_what_the_picture_does_not_show_is_always_said(play, chromium):
    said = "document.querySelector('#picture').ariaLabel"
    racers = [{"name": "muon", "ink": 0, "set": {}}, {"name": "adam", "ink": 1, "set": {}}]
    with tab(chromium, play.address(surface={"name": "matrix", "parameters": {}}, racers=racers)) as page:
        assert "all 2 × 2 numbers move; two coordinates are drawn" in page.evaluate(said)
        assert "of one column" not in page.evaluate(said)
        after(page, page.select_option, "#which", "beale")
        assert "to Muon a point is a matrix of one column" in page.evaluate(said)


def test_time(play, chromium):
    with tab(chromium, play.address()) as page:
        assert page.inner_text("#now") == "step 100 of 100"  # motion is not wanted: the whole race at once
        end = pixels(page)
        page.evaluate("(document.getElementById('time').value = '10', document.getElementById('time').oninput())")
        until(page, "document.getElementById('now').textContent === 'step 10 of 100'")
        assert pixels(page) != end
        page.focus("#picture")
        page.keyboard.press("Space")
        until(page, "document.getElementById('play').ariaLabel === 'Pause'")
        until(page, "Number(document.getElementById('time').value) > 20")
        page.keyboard.press("Space")
        assert page.get_attribute("#play", "aria-label") == "Play"
        page.click("[data-racer=sgd] .open")
        after(page, page.select_option, "[data-racer=sgd] select", "SAM")
        assert page.locator(".racer b").first.inner_text() == "SAM(SGD)"
        after(page, page.select_option, "#unit", "evaluations")
        page.evaluate("(document.getElementById('time').value = '100', document.getElementById('time').oninput())")
        until(page, "document.getElementById('now').textContent === 'gradient 100 of 200'")
    with tab(chromium, play.address(), motion="no-preference") as page:
        until(page, "document.getElementById('play').ariaLabel === 'Pause'")


def test_keys_reach_everything(play, chromium):
    with tab(chromium, play.address()) as page:
        page.click("[data-racer=adam] .open")
        wanted = page.evaluate("""() => {
            const all = [...document.querySelectorAll("button, select, input, [tabindex='0']")];
            const seen = all.filter((x) => x.checkVisibility() && !x.disabled);
            seen.forEach((x, i) => (x.dataset.key = i));
            return seen.length;
        }""")
        assert wanted > 40
        reached = set()
        page.evaluate("document.activeElement.blur()")
        for _ in range(wanted + 3):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.key ?? null"))
        assert {int(key) for key in reached if key is not None} == set(range(wanted))
        page.focus("#picture")
        after(page, page.keyboard.press, "ArrowRight")
        assert page.input_value("#start-x") != "1" and page.input_value("#start-y") == "1.5"
        before = pixels(page)
        after(page, page.keyboard.press, "+")
        assert pixels(page) != before


def test_the_rate_of_an_open_panel_is_that_of_the_race(play, chromium):
    with tab(chromium, play.address()) as page:
        page.click("[data-racer=adam] .open")
        shown = page.locator("[data-racer=adam] [data-number=lr]")
        for act in (lambda: mode(page, "same"), lambda: mode(page, "default"), lambda: mode(page, "tuned"),
                    lambda: page.select_option("#which", "ravine"), lambda: mode(page, "same")):  # fmt: skip
            before = told(page)[-1]
            act()
            last = "[...document.querySelectorAll('.told')].at(-1).textContent"
            until(page, f"{last}.includes('lr') && {last} !== {before!r}")
            assert shown.input_value() == told(page)[-1].split("lr ")[1]


def test_the_race_of_the_others_goes_on_while_one_is_tuned(play, chromium):
    with tab(chromium, play.address(rate={"mode": "tuned", "lr": 0.01}, steps=600)) as page:
        until(page, "[...document.querySelectorAll('.told')].every((x) => x.textContent.includes('lr'))")
        page.select_option("#add", "prodigy")
        until(page, "/tuning … [1-9]\\d* %/.test([...document.querySelectorAll('.told')].at(-1).textContent)")
        before = told(page)
        page.focus("#picture")
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('.told').textContent !== {before[0]!r}")
        assert "tuning" in told(page)[-1] and all("lr" in text for text in told(page)[:-1])
        page.click("#away-5")  # nobody wants its rate any more: the next one's turn comes
        page.select_option("#add", "lion")
        until(page, "[...document.querySelectorAll('.told')].at(-1).textContent.includes('lr')")


def test_what_cannot_be_tuned_is_told_and_the_others_run(play, chromium):
    asked = play.address(rate={"mode": "tuned", "lr": 0.01}, steps=2000, racers=racers(prodigy={}, sgd={}))
    with tab(chromium, asked, allowed=[REFUSED]) as page:
        until(page, "document.querySelectorAll('.told')[1].textContent.includes('lr')")
        assert told(page)[0] == "no rate"
        assert page.inner_text("#trouble").startswith("tuning prodigy over 2000 steps takes minutes; take at most ")


def test_coordinates_under_the_mouse(play, chromium):
    with tab(chromium, play.address(surface={"formula": "x + 0*y"})) as page:
        box = page.locator("#picture").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
        x, y, loss = re.fullmatch(r"\((\S+), (\S+)\) · loss (\S+)", page.inner_text("#under")).groups()
        (x0, x1) = (-4 * 4 / 3, 4 * 4 / 3)
        assert float(x) == pytest.approx(x0 + (x1 - x0) / 4, abs=0.03) and abs(float(y)) < 0.03
        assert float(loss) == pytest.approx(float(x), abs=0.05)
        page.mouse.move(5, 5)
        assert page.locator("#under").is_hidden()


def test_the_view_from_the_side(play, chromium):
    with tab(chromium, play.address()) as page:
        page.click("[data-look=relief]")
        page.wait_for_selector("body[data-drawn=relief]")
        before = pixels(page)
        page.focus("#picture")
        page.keyboard.press("ArrowLeft")
        until(page, f"document.getElementById('picture').toDataURL().length !== {len(before)}")
        assert pixels(page) != before


def test_arrows(play, chromium):
    with tab(chromium, play.address()) as page:
        page.evaluate("(document.getElementById('time').value = '10', document.getElementById('time').oninput())")
        frames(page)
        for name in ("against the gradient", "of the momentum", "of the step"):
            before = pixels(page)
            after(page, page.check, f"#more label:has-text('{name}')")
            assert pixels(page) != before
        assert "directions" in page.get_attribute("#picture", "aria-label")


def test_maps(play, chromium):
    with tab(chromium, play.address()) as page:
        page.click("[data-look=basins]")
        page.click("[data-look=rates]")  # while the others are under way
        page.wait_for_selector("#tiles[data-shown=rates]", timeout=TIMEOUT)
        assert page.locator("#tiles canvas").count() == 5
        assert all(x.startswith("Lowest at the end: ") for x in page.locator("#tiles figure > p").all_inner_texts())
        before = told(page)
        canvas = page.locator("#tiles canvas").first
        box = canvas.bounding_box()
        after(page, lambda: canvas.click(position={"x": 20, "y": 0.99 * box["height"]}))
        assert told(page)[0].endswith("lr 0.00001") and told(page)[1:] == before[1:]
        page.click("[data-look=basins]")
        page.wait_for_selector("#tiles[data-shown=basins]", timeout=TIMEOUT)
        shares = page.locator("#tiles figure > p").all_inner_texts()
        colour = """(canvas) => [...canvas.getContext("2d").getImageData(5, 5, 1, 1).data].slice(0, 3)"""
        nowhere = canvas.evaluate(colour)  # from the corner nobody arrives at that rate
        assert "100 % nowhere" in shares[0] and len(set(nowhere)) == 1
        assert len(shares) == 5 and all(
            sum(float(x) for x in re.findall(r"([\d.]+) %", s)) == pytest.approx(100, abs=2) for s in shares
        )


def test_what_leaves_the_page(play, chromium):
    with tab(chromium, play.address()) as page:
        page.select_option("#speed", "4")
        content = {}
        for kind in ("png", "svg", "webm"):
            with page.expect_download(timeout=TIMEOUT) as saved:
                page.click(f"[data-save={kind}]")
            assert saved.value.suggested_filename == f"ravine-beale.{kind}"
            content[kind] = saved.value.path().read_bytes()
        assert content["png"].startswith(b"\x89PNG") and len(content["png"]) > 50_000
        assert content["webm"].startswith(b"\x1a\x45\xdf\xa3") and len(content["webm"]) > 5_000
        drawing = ET.fromstring(content["svg"])
        text = "".join(drawing.itertext())
        assert "lr: each one’s default" in text and "Momentum" in text and "step 100 of 100" in text
        strokes = {x.get("stroke") for x in drawing.iter("{http://www.w3.org/2000/svg}path")}
        assert {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"} <= strokes
        hrefs = [v for x in drawing.iter() for k, v in x.attrib.items() if k.endswith("href")]
        assert hrefs and all(h.startswith("data:image/png;base64,") for h in hrefs)


def test_a_picture_that_is_wanted_before_the_first_race_comes_after_it(play, chromium):
    with tab(chromium, play.address()) as page:
        held = []
        page.route("**/api/race", lambda route: held.append(route))
        page.reload()
        while not held:
            page.wait_for_timeout(25)
        with page.expect_download(timeout=TIMEOUT) as saved:
            page.click("[data-save=svg]")
            assert page.inner_text("#said") == "It comes as soon as the paths are computed."
            held[0].continue_()
        text = "".join(ET.fromstring(saved.value.path().read_text()).itertext())
        assert "Momentum" in text and "−2" in text  # a name, and a tick


def test_the_address_keeps_everything(play, chromium):
    with tab(chromium, play.address()) as page:
        after(page, page.select_option, "#which", "himmelblau")
        mode(page, "default")
        page.click("[data-racer=momentum] .open")
        page.fill("[data-racer=momentum] [data-number=momentum]", "0.5")
        after(page, page.keyboard.press, "Enter")
        page.fill("#start-x", "-1.5")
        after(page, page.keyboard.press, "Enter")
        page.click("[data-look=relief]")
        page.wait_for_selector("body[data-drawn=relief]")
        page.wait_for_timeout(300)  # the address follows
        frames(page)
        address, before, drawn = page.url, told(page), pixels(page)
    with tab(chromium, address) as page:
        assert page.inner_text("h1") == "Himmelblau" and page.input_value("#start-x") == "-1.5"
        page.wait_for_selector("body[data-drawn=relief]")
        page.wait_for_timeout(300)  # the address follows
        frames(page)
        assert told(page) == before and pixels(page) == drawn
        assert page.get_attribute("[data-look=relief]", "aria-pressed") == "true"
        page.reload()
        page.wait_for_selector("body[data-ready]")
        frames(page)
        assert told(page) == before
    foreign = [{"racers": []}, {"view": [[1, 1], [0, 0]]}, {"surface": {"name": "beale", "parameters": {"foo": 3}}}]
    for address in (play.url + "#v1=bm9uc2Vuc2U", *(play.address(**state) for state in foreign)):
        with tab(chromium, address) as page:
            assert page.inner_text("#said").startswith("This address says nothing") and page.inner_text("h1") == "Beale"


def test_an_own_function(play, chromium):
    with tab(chromium, play.address(), allowed=[REFUSED]) as page:
        after(page, page.select_option, "#which", "")
        before = pixels(page)
        after(page, page.fill, "#formula", "x**2 + 10*sin(y")
        assert "was never closed" in page.inner_text("#wrong") and page.inner_text("#wrong mark") == "("
        assert pixels(page) == before and all(told(page))  # what was drawn stays
        assert "10*sin" not in page.locator("#picture").get_attribute("aria-label")
        after(page, page.fill, "#formula", "x**2 + (y - 1)**4")
        assert page.locator("#wrong").is_hidden() and pixels(page) != before
        assert page.inner_text("#about") == "x**2 + (y - 1)**4" and page.locator("#power").is_hidden()
        same = told(page)
        after(page, page.fill, "#formula", "x^2 + (y - 1)^4")
        assert page.inner_text("#power") == "^ is read as **, a power." and told(page) == same


def test_what_changes_while_a_question_is_under_way_is_asked_next(play, chromium):
    with tab(chromium, play.address()) as page:
        count, held = len(told(page)), []
        page.route("**/api/race", lambda route: route.continue_() if held else held.append(route))
        page.select_option("#add", "lion")
        while not held:
            page.wait_for_timeout(25)
        page.select_option("#add", "nadam")
        held[0].continue_()
        until(page, f"[...document.querySelectorAll('.told')].filter((x) => x.textContent).length === {count + 2}")


def test_who_has_the_focus_keeps_it(play, chromium):
    with tab(chromium, play.address()) as page:
        page.focus("#which")
        after(page, page.keyboard.press, "ArrowDown")
        assert page.evaluate("document.activeElement.id") == "which"
        after(page, page.click, "[data-mode=same]")
        assert page.evaluate("document.activeElement.dataset.mode") == "same"
        page.fill("[data-number=steps]", "inf")
        page.keyboard.press("Enter")
        assert page.locator("[data-number=steps]").get_attribute("aria-invalid") == "true"
        before = len(told(page))
        after(page, page.click, "#away-0")
        assert len(told(page)) == before - 1 and page.evaluate("document.activeElement.id") == "away-0"


def test_a_server_that_is_stopped_is_told(chromium):
    with playground() as mine, tab(chromium, mine.address(), allowed=["Failed to load resource: net::ERR"]) as page:
        mine.process.kill()
        mine.process.wait(20)
        page.focus("#picture")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#trouble:visible", timeout=TIMEOUT)
        assert page.inner_text("#trouble").startswith("The server does not answer: it may have been stopped.")
        assert page.locator("#trouble").get_attribute("role") == "alert"


def racers(**settings):
    return [{"name": name, "set": given, "ink": i} for i, (name, given) in enumerate(settings.items())]


SCRIPTS = {
    "beale": racers(sgd={"lr": 0.0037}, adam={"betas": [0.8, 0.99], "amsgrad": True}, momo={}, lamb={}),
    "noisy-quadratic": racers(momentum={"lr": 0.05}, radam={}, lpadam={"p": 8}),
    "reddi": racers(adam={"lr": 0.1}, amsgrad={}),
    "ravine": [
        one | {"strategy": strategy}
        for one in racers(sgd={"lr": 0.01}, adam={"lr": 0.1}) for strategy in ("SAM", "Lookahead")
    ],
    "own": racers(nag={"lr": 0.0037}, aggmo={"betas": [0.0, 0.9, 0.99], "lr": 0.001}),
}  # fmt: skip


@pytest.mark.parametrize("name", ["reddi", "ravine", "own", *slowly("beale", "noisy-quadratic")])
def test_the_copied_script_makes_the_same_paths(play, chromium, capsys, name):
    surface = {"formula": "(x**2 + y - 3)**2 + 2*sin(3*x)"} if name == "own" else {"name": name, "parameters": {}}
    if name == "ravine":
        surface["parameters"] = {"condition": 30, "angle": -12.5}
    address = play.address(surface=surface, start=[-0.9125, 1.1], steps=60, seed=3, racers=SCRIPTS[name])
    with tab(chromium, address) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        (asked,) = page.questions
        page.click("[data-save=python]")
        until(page, "document.getElementById('said').textContent !== ''")  # which is hidden after a while
        assert page.text_content("#said") == "The script is in the clipboard."
        script = page.evaluate("navigator.clipboard.readText()")
    status, answer = play.ask("race", asked)
    assert status == 200
    scope: dict = {}
    exec(compile(script, "copied.py", "exec"), scope)
    paths = np.array(list(scope["paths"].values()))
    assert np.array_equal(paths, answer["points"]) and len(paths) == len(SCRIPTS[name])
    assert np.isfinite(paths).all() and capsys.readouterr().out.count("ends at") == len(paths)
    if name == "ravine":
        assert answer["evaluations"][:, -1].tolist() == [120, 60, 120, 60] and "SAM(SGD)" in script


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark"), *slowly((390, "dark"), (768, "light"))])
def test_every_width(play, chromium, width, scheme):
    with tab(chromium, play.address(), width, scheme) as page:
        page.click("[data-racer=adam] .open")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        beyond = """() => [...document.querySelectorAll("main *, header *")].filter((x) => x.checkVisibility()
            && !x.closest(".uplot") && x.getBoundingClientRect().right > innerWidth + 1).map((x) => x.outerHTML)"""
        assert page.evaluate(beyond) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 23, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
        small = """() => [...document.querySelectorAll("button, select, input")].filter((x) => x.checkVisibility())
            .filter((x) => x.getBoundingClientRect().height < 16).map((x) => x.outerHTML.slice(0, 80))"""
        assert page.evaluate(small) == []
