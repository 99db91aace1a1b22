"""`ravine compare --serve`: a page on this machine that follows a comparison."""

import http.client
import re
import urllib.request
from urllib.error import HTTPError, URLError

import pytest

from ravine.lab import LabError
from ravine.lab.commands.board import Board, board
from ravine.lab.protocol.trial import Trial
from ravine.lab.report import so_far

from .conftest import compared, inline
from .synthetic import run
from .test_report import browsed

LABELS = {"adam": "Adam", "sgd": "SGD"}
DONE = {
    Trial("line", name, (("lr", lr),), 1000, 10, 32, "c"): run(0.1 + lr, 5, lost)
    for name, lr, lost in (("adam", 0.1, False), ("adam", 0.01, False), ("sgd", 0.1, False), ("sgd", 9.0, True))
}


def got(address: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def shown(capsys):
    """A board, and its address."""
    with board(0) as live:
        yield live, re.search(r"http://127\.0\.0\.1:\d+/", capsys.readouterr().out)[0]


def test_it_answers_with_what_it_has_now(shown):
    live, address = shown
    assert "begins" in got(address)
    live.show(lambda: 3, lambda: "<p>three")
    assert (got(address), got(address + "now")) == ("<p>three", "3")
    with pytest.raises(HTTPError, match="404"):
        got(address + "etc/passwd")


def test_only_this_machine_by_its_own_name_is_answered(shown):
    _, address = shown
    with pytest.raises(HTTPError, match="403"):
        got(address, Host="elsewhere.example")
    assert "begins" in got(address.replace("127.0.0.1", "localhost"))


def test_a_port_that_is_taken_is_told(shown):
    port = int(re.search(r":(\d+)/", shown[1])[1])
    with pytest.raises(LabError, match=rf"--serve {port}: Address already in use; 0 takes a free port"), board(port):
        pass
    with board(None) as nothing:
        assert nothing is None


def test_who_looks_has_the_report_before_it_ends(shown, monkeypatch):
    live, address = shown
    monkeypatch.setattr("ravine.lab.commands.board.EVERY", 0.01)
    Board().end("report")  # nobody looks: at once
    got(address)
    live.end("report")
    assert (got(address), got(address + "now")) == ("report", "ended")


def test_the_page_follows_a_comparison(tmp_path, monkeypatch, capsys):
    seen = []

    def looked(*arguments, **named):
        address = re.search(r"http://\S+", capsys.readouterr().out)[0]
        for said in inline(*arguments, **named):
            yield said
            seen.append((got(address + "now"), got(address)))
        seen.append(address)

    monkeypatch.setattr("ravine.lab.commands.board.EVERY", 0.01)
    monkeypatch.setitem(compared.__globals__, "inline", looked)
    compared(tmp_path, "--optimizers", "sgd,adam", "--serve")
    *pages, address = seen
    assert [int(now) for now, _ in pages] == sorted({int(now) for now, _ in pages}) and len(pages) == 12
    assert "<h1>12 of 12 trials have ended.</h1>" in pages[-1][1] and "12 of 12" not in pages[-2][1]
    with pytest.raises((URLError, http.client.HTTPException)):  # it has ended with the comparison
        got(address)


def test_what_is_known_so_far():
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", so_far("line", LABELS, DONE, 9))
    cells = [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    best = min(r.final for r in list(DONE.values())[:2])
    assert cells == [["2", f"{best:.4f}", "0.01", "0"], ["2", f"{list(DONE.values())[2].final:.4f}", "0.1", "1"]]
    assert "0 of 9 trials" in so_far("line", LABELS, {}, 9)  # without figures


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser_it_becomes_the_report(shown, width, scheme):
    live, address = shown
    live.show(lambda: len(DONE), lambda: so_far("line", LABELS, DONE, 9))
    with browsed(address, width, scheme) as tab:
        assert tab.locator(".chart:has(.main-svg .trace)").count() == 3
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        live.end("<!doctype html><title>the report</title><link rel=icon href='data:,'>")
        tab.wait_for_function("document.title === 'the report'")
