"""The server answers its own page on this machine, in numbers that are the library's own; everybody else gets words."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
import torch

import ravine
from ravine.catalog.names import beyond_the_loss
from ravine.surfaces import Run, descend, find, rates
from ravine.surfaces.entrants import entrant

pytest.importorskip("starlette", reason="the extra play is not installed")

from starlette.applications import Starlette

from ravine.surfaces.play import asked, maps
from ravine.surfaces.play.server import Guard
from ravine.surfaces.play.turns import Left

from .playing import playground

RACE = {
    "surface": {"name": "beale"}, "start": [1.0, 1.5], "steps": 40, "seed": 0,
    "runs": [{"name": "sgd", "set": {"lr": 0.01}}, {"name": "adam", "set": {"lr": 0.1, "betas": [0.8, 0.99]}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def play():
    with playground() as running:
        yield running
        assert running.complaints.read_text() == ""  # whatever it was asked


def test_paths_are_those_of_the_library_bit_for_bit(play):
    status, answer = play.ask("race", RACE | {"momentum": True})
    start = tuple(RACE["start"])
    runs = [Run(ravine.SGD, {"lr": 0.01}, start), Run(ravine.Adam, {"lr": 0.1, "betas": (0.8, 0.99)}, start)]
    paths = descend(find("beale"), runs, 40, momentum=True)
    assert status == 200
    for name in ("points", "losses", "gradients", "evaluations"):
        assert np.array_equal(answer[name], np.stack([getattr(path, name) for path in paths])), name
    assert np.isnan(answer["momentum"][0]).all() and np.array_equal(answer["momentum"][1], paths[1].momentum)


def test_heights_are_the_loss_of_a_view_that_is_widened(play):
    asked = {"surface": {"name": "ravine", "parameters": {"condition": 9, "angle": 0}}, "aspect": 2.0, "columns": 21,
             "view": [[-1, 1], [-1, 1]]}  # fmt: skip
    status, answer = play.ask("ground", asked)
    assert status == 200 and answer["view"] == [[-2, 2], [-1, 1]] and answer["heights"].shape == (11, 21)
    x, y = np.linspace(-2, 2, 21), np.linspace(-1, 1, 11)[:, None]
    surface = find("ravine", condition=9, angle=0)
    assert np.allclose(
        answer["heights"], surface.loss(*map(torch.tensor, np.broadcast_arrays(x, y))).numpy(), rtol=1e-15
    )
    assert answer["minima"] == [[0, 0]] and answer["floor"] == 0


def test_an_expression_is_a_surface(play):
    own = {"formula": "x**2 + 3*y**2"}
    status, answer = play.ask("race", RACE | {"surface": own, "runs": RACE["runs"][:1]})
    assert status == 200 and answer["gradients"][0, 0].tolist() == [2.0, 9.0]
    status, answer = play.ask("race", RACE | {"surface": {"formula": "x**2 + foo(y)"}})
    assert status == 400 and answer["field"] == "formula" and answer["at"] == 7 and "foo" in answer["error"]


def test_maps_are_of_one(play):
    one = RACE | {"runs": RACE["runs"][:1]}
    status, answer = play.ask("rates", one)
    assert status == 200 and answer["losses"].shape == (len(answer["rates"]), 41)
    row = answer["rates"].index(0.01)
    assert np.array_equal(answer["losses"][row], play.ask("race", one)[1]["losses"][0])
    saddle = {"name": "bounded-saddle"}
    status, answer = play.ask(
        "basins", one | {"surface": saddle, "aspect": 1, "steps": 400, "runs": [{"name": "sgd", "set": {"lr": 0.1}}]}
    )
    rows, columns = answer["ends"].shape
    assert rows == columns and answer["minima"] == [[0, 1], [0, -1]]
    assert (answer["ends"][: rows // 2] == 1).all() and (answer["ends"][(rows + 1) // 2 :] == 0).all()
    assert play.ask("basins", one | {"surface": {"formula": "x*y"}, "aspect": 1})[0] == 400
    assert play.ask("rates", RACE)[0] == 400


def test_rates_are_tuned_on_the_surface(play):
    for name in ("sgd", "adam"):
        status, answer = play.ask("tune", RACE | {"runs": [{"name": name, "set": {}}]})
        assert status == 200 and [answer["rate"]] == rates.tuned(find("beale"), [entrant(name)], 40)


def test_tuning_that_would_take_minutes_is_refused(play):
    status, answer = play.ask("tune", RACE | {"runs": [{"name": "prodigy", "set": {}}], "steps": 2000})
    assert status == 400 and "tuning prodigy over 2000 steps takes minutes" in answer["error"]


def test_at_port_80_browsers_leave_it_out():
    assert "127.0.0.1" in Guard(Starlette(), 80).hosts and "127.0.0.1" not in Guard(Starlette(), 8247).hosts


def test_choices_are_the_registry(play):
    choices = json.loads(play.send("GET", "/api/choices")[2])
    assert {o["label"] for o in choices["optimizers"]} == {
        c.__name__ for c in ravine.optim.registry().values() if c.dense and not beyond_the_loss(c)
    }
    assert [s["name"] for s in choices["surfaces"]] == list(ravine.surfaces.NAMES)


WRONG = [
    ({"steps": 0}, "steps is 0"),
    ({"steps": 10**9}, "steps is"),
    ({"steps": 1.5}, "whole number"),
    ({"steps": True}, "whole number"),
    ({"steps": 2000, "runs": RACE["runs"] * 5}, "too much at once"),
    ({"seed": -1}, "seed is -1"),
    ({"start": [1]}, "two numbers"),
    ({"start": [1e9, 0]}, "two numbers"),
    ({"start": ["1", 0]}, "two numbers"),
    ({"start": [float("nan"), 0]}, "two numbers"),
    ({"runs": []}, "1 to 16"),
    ({"runs": RACE["runs"] * 9}, "1 to 16"),
    ({"runs": [{"name": "torch"}]}, "not known"),
    ({"runs": [{"name": ["sgd"]}]}, "not known"),
    ({"runs": ["sgd"]}, "not known"),
    ({"runs": [{"name": "sgd", "set": []}]}, "not known"),
    ({"runs": [{"name": "adam", "set": {"beta": 0.9}}]}, "has no 'beta'"),
    ({"runs": [{"name": "adam", "set": {"mods": []}}]}, "has no 'mods'"),
    ({"runs": [{"name": "adam", "set": {"backend": "triton"}}]}, "has no 'backend'"),
    ({"runs": [{"name": "adam", "set": {"lr": -1}}]}, "must lie in"),
    ({"runs": [{"name": "adam", "set": {"lr": "1"}}]}, "must be a number"),
    ({"runs": [{"name": "adam", "set": {"lr": 10**400}}]}, "too large"),
    ({"runs": [{"name": "adam", "set": {"betas": [[[0.9]], 0.9]}}]}, "must be a number"),
    ({"runs": [{"name": "adam", "set": {"amsgrad": 1}}]}, "True or False"),
    ({"runs": [{"name": "radam", "set": {"fallback": "none"}}]}, "must be one of"),
    ({"start": [10**400, 0]}, "two numbers"),
    ({"runs": [{"name": "adam", "set": {"lr": float("nan")}}]}, "must lie in"),
    ({"runs": [{"name": "adam", "set": {"betas": [0.9]}}]}, "tuple of 2"),
    ({"runs": [{"name": "adam", "set": {"betas": [0.9, 1.0]}}]}, "must lie in"),
    ({"runs": [{"name": "aggmo", "set": {"betas": [0.9] * 999}}]}, "at most 8"),
    ({"runs": [{"name": "lpadam", "set": {"p": 10**6}}]}, "between 0 and"),
    ({"runs": [{"name": "sgd", "set": {"nesterov": True}}]}, "esterov"),
    ({"surface": "beale"}, "a name, or a formula"),
    ({"surface": {"name": "../beale"}}, "not known"),
    ({"surface": {"name": []}}, "not known"),
    ({"surface": {"formula": "x + \ud800"}}, "means nothing here"),
    ({"surface": {"name": "ravine", "parameters": {"condition": -1}}}, "must lie in"),
    ({"surface": {"name": "ravine", "parameters": {"condition": [1]}}}, "must be a number"),
    ({"surface": {"formula": "__import__('os')"}}, "means nothing here"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said + str(i) for i, (_, said) in enumerate(WRONG)])
def test_what_is_wrong_is_told(play, change, said):
    status, answer = play.ask("race", RACE | change)
    assert status == 400 and said in answer["error"], answer


def placed(question, what):
    """The question, once for every place in it, key or value, that says `what`."""
    if isinstance(question, dict):
        for key, value in question.items():
            yield {k: x for k, x in question.items() if k != key} | {what: value}
            for other in placed(value, what):
                yield question | {key: other}
    if isinstance(question, list):
        for i, value in enumerate(question):
            for other in placed(value, what):
                yield [*question[:i], other, *question[i + 1 :]]
    yield what


def test_half_of_a_character_may_stand_anywhere(play):
    asked = [x for x in placed(RACE | {"id": "", "momentum": True}, "a\ud800") if isinstance(x, dict)]
    assert len(asked) > 30
    for question in asked:
        status, answer = play.ask("race", question)
        assert status == 200 or (status == 400 and answer["error"]), question
    assert play.ask("race", json.dumps(RACE, ensure_ascii=False).replace("beale", "\ud800").encode(
        "utf-8", "surrogatepass"))[0] == 400  # fmt: skip


def until(true):
    """Asks again and again, for at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end


def part(play, name):
    """Which part of an answer is done; None where nobody waits for it."""
    return json.loads(play.send("GET", f"/api/progress?id={name}")[2])["part"]


def leave(play, name, content, length=None):
    """A client that sends so much of its question, and then is asked to go."""
    asking = socket.create_connection(("127.0.0.1", play.port))
    head = f"POST /api/{name} HTTP/1.1\r\nHost: 127.0.0.1:{play.port}\r\nContent-Type: application/json\r\n"
    asking.sendall(f"{head}Content-Length: {length or len(content)}\r\n\r\n".encode() + content)
    return closing(asking)


def test_a_client_may_leave_in_the_middle_of_its_question(play):
    with leave(play, "race", b'{"surface": {"na', 1000):
        pass
    with leave(play, "race", json.dumps(RACE).encode()):
        pass
    assert play.ask("race", RACE)[0] == 200
    assert play.complaints.read_text() == ""  # no traceback


ENDLESS = """
from itertools import count
from threading import Event
from ravine.surfaces import path, rates
from ravine.surfaces.play import answers, maps

def descend(surface, runs, steps, watch=None, **more):
    if steps < 300:
        return path.descend(surface, runs, steps, watch=watch, **more)
    for k in count():  # it ends where its client leaves, and never before
        watch(k / (k + 1))
        Event().wait(0.001)

rates.descend = maps.descend = answers.descend = descend
"""
LONG = {"runs": RACE["runs"][:1], "steps": 300, "aspect": 1}


@pytest.fixture(scope="module")
def endless():
    """A server where what has 300 steps or more lasts as long as somebody waits for it."""
    with playground(ENDLESS) as running:
        yield running
        assert running.complaints.read_text() == ""


@pytest.mark.parametrize("name", ["tune", "rates", "basins"])
def test_what_takes_long_says_how_far_it_is_lets_others_pass_and_ends_with_its_client(endless, name):
    body = json.dumps(RACE | LONG | {"id": name}).encode()
    with leave(endless, name, body):
        until(lambda: part(endless, name))
        assert endless.ask("race", RACE)[0] == 200
        assert 0 < part(endless, name) < 1
    until(lambda: part(endless, name) is None)
    with leave(endless, name, body):  # and the next one's turn comes
        until(lambda: part(endless, name))
    until(lambda: part(endless, name) is None)


def test_two_that_take_long_wait_for_each_other_and_a_map_for_neither(endless):
    with leave(endless, "tune", json.dumps(RACE | LONG | {"id": "first"}).encode()):
        until(lambda: part(endless, "first"))
        with leave(endless, "tune", json.dumps(RACE | LONG | {"id": "second"}).encode()):
            until(lambda: part(endless, "second") == 0)
            before = part(endless, "first")
            until(lambda: part(endless, "first") > before)
            assert part(endless, "second") == 0
            assert endless.ask("rates", RACE | {"runs": RACE["runs"][:1]})[0] == 200
            assert part(endless, "second") == 0 < part(endless, "first") < 1
    until(lambda: part(endless, "first") is None and part(endless, "second") is None)


@pytest.mark.parametrize("strategy", asked.STRATEGIES)
@pytest.mark.parametrize("name", ["sgd", "adafactor", "prodigy"])
def test_maps_are_bounded_by_what_may_be_waited_for(monkeypatch, name, strategy):
    made = []

    def count(surface, runs, steps, **more):
        made.append(len(runs) * steps)
        raise Left

    monkeypatch.setattr(maps, "descend", count)
    racer = {"name": name, "set": {}, "strategy": strategy}
    for steps in (1, 10, 300, 700, 1500, 2000):
        body = RACE | {"runs": [racer], "steps": steps}
        bound = asked.bearable(asked.racer(racer))
        for ask in (maps.rates, lambda race: maps.basins(race, ((-1, 1), (-1, 1)), 4 / 3)):
            try:
                ask(asked.race(body, alone=True))
            except Left:
                assert made.pop() <= bound
            except asked.Refused as refused:
                most = int(str(refused).rsplit(" ", 1)[1])
                assert most < steps and "takes minutes; take at most" in str(refused)
                with pytest.raises(Left):
                    ask(asked.race(body | {"steps": most}, alone=True))
                assert made.pop() <= bound


def test_a_question_is_small_json(play):
    assert play.ask("race", b" " * 40_000)[1]["error"] == "a question has at most 32768 bytes"
    assert play.ask("race", b"{")[0] == 400 and play.ask("race", b"[" * 30_000)[0] == 400
    assert play.ask("race", b"[]")[1]["error"] == "a question is a JSON object"
    status, _, content = play.send("POST", "/api/race", json.dumps(RACE), {"Content-Type": "text/plain"})
    assert status == 400 and b"Content-Type" in content
    assert play.ask("ground", RACE | {"aspect": 99, "columns": 21})[0] == 400
    assert play.ask("ground", RACE | {"aspect": 1, "columns": 10**6})[0] == 400
    assert play.ask("ground", RACE | {"aspect": 1, "columns": 21, "view": [[1, -1], [0, 1]]})[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_strangers_are_turned_away(play, headers):
    headers = {name: value.format(port=play.port) for name, value in headers.items()}
    status, answer = play.ask("race", RACE, **headers)
    assert status == 403 and "answers" in answer["error"]
    assert play.send("GET", "/", headers=headers)[0] == 403


def test_its_own_page_is_let_in(play):
    own = f"127.0.0.1:{play.port}"
    assert play.ask("race", RACE, Host=own, Origin=f"http://{own}", **{"Sec-Fetch-Site": "same-origin"})[0] == 200
    status, headers, content = play.send("GET", "/", headers={"Host": f"localhost:{play.port}"})
    assert status == 200 and content.startswith(b"<!doctype html>")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and "Access-Control-Allow-Origin" not in headers


def test_a_link_to_it_may_be_anywhere(play):
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert play.send("GET", "/", headers=followed)[0] == 200
    assert play.ask("race", RACE, **followed, Origin="http://evil.example")[0] == 403
    assert play.send("GET", "/", headers=followed | {"Sec-Fetch-Dest": "iframe"})[0] == 403


@pytest.mark.ci
def test_ctrl_c_does_not_wait_for_what_is_computed():
    with playground() as one, closing(http.client.HTTPConnection("127.0.0.1", one.port)) as asking:
        body = json.dumps(RACE | {"runs": [{"name": "prodigy", "set": {}}], "steps": 600})
        asking.request("POST", "/api/tune", body, {"Content-Type": "application/json"})
        assert one.send("GET", "/api/alive")[0] == 200  # it has been read by now
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(8) == 130


def test_only_the_page_is_served(play):
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/server.py", "/api/nothing", "//etc/passwd"):
        assert play.send("GET", path)[0] == 404, path
    assert play.send("GET", "/api/race")[0] == 404
    assert play.send("POST", "/", b"")[0] == 405


def test_nobody_else_can_reach_it(play):
    listening = socket.socket()
    with pytest.raises(OSError):  # it does not listen at other addresses of this machine
        listening.settimeout(2)
        listening.connect(("127.0.0.2", play.port))
    listening.close()


@pytest.mark.ci
@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(missing):
    code = f"import sys; sys.modules['{missing}'] = None; from ravine.cli import main; sys.exit(main(['play']))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 2 and f'needs {missing}: pip install ".[play]"' in run.stderr


def test_a_port_that_is_taken(play):
    code = "import sys; from ravine.cli import main; sys.exit(main(['play', '--no-browser', '--port', '{}']))"
    run = subprocess.run([sys.executable, "-c", code.format(play.port)], capture_output=True, text=True)
    assert run.returncode == 2 and f"--port {play.port}: Address already in use" in run.stderr
