"""`ravine simulate`: the table, the picture, the numbers, and what a person can mend."""

import json

import pytest

from ravine.cli import main
from ravine.parallel.simulate import Asynchronous, Synchronous
from ravine.parallel.simulate.families import FAMILIES, family

SHORT = ["--workers", "4", "--until", "12"]


def said(capsys, *argv, status=0):
    assert main(["simulate", *argv]) == status
    out, err = capsys.readouterr()
    assert bool(err) == bool(status)
    return err if status else out


def test_a_line_for_each_method(capsys):
    lines = said(capsys, *SHORT, "--methods", "sync, asgd:lr=0.3,easgd", "--seeds", "2").splitlines()
    assert [line.split()[0] for line in lines] == ["method", "sync", "asgd:lr=0.3", "easgd"]
    assert "±" in lines[1]


def test_the_same_seed_prints_the_same(capsys):
    options = [*SHORT, "--methods", "asgd", "--failures", "life=exponential:mean=5", "nan=0.3", "lose=0.1"]
    one, two, other = (said(capsys, *options, "--seed", seed) for seed in ("1", "1", "2"))
    assert one == two != other


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns(name, capsys, tmp_path):
    said(capsys, "--workers", "3", "--until", "150", "--network", "0.05", "--lr", "0.3", "--methods", name, "--json",
         str(tmp_path / "x.json"))  # fmt: skip
    [run] = json.loads((tmp_path / "x.json").read_text())
    assert run["losses"][-1] < 0.7 * run["losses"][0], run["losses"][::10]
    assert isinstance(family(name, 0.1, 3), Asynchronous | Synchronous)


@pytest.mark.parametrize("kind", ["svg", "png", "html"])
def test_a_picture(kind, capsys, tmp_path):
    pytest.importorskip("plotly" if kind == "html" else "matplotlib")
    out = tmp_path / f"x.{kind}"
    assert f"written to {out}" in said(capsys, *SHORT, "--methods", "sync,asgd", "--lanes", "3", "-o", str(out),
                                       "--failures", "life=exponential:mean=5")  # fmt: skip
    text = out.read_bytes()
    assert len(text) > 5000 and (kind == "png" or b"asgd" in text or b"<svg" in text)


def test_numbers_of_a_run_that_diverges_are_json(capsys, tmp_path):
    said(capsys, "--workers", "2", "--until", "400", "--methods", "asgd:lr=90", "--json", str(tmp_path / "x.json"))
    [run] = json.loads((tmp_path / "x.json").read_text())
    assert run["losses"][-1] is None


def test_recorded_delays(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("worker,start,compute,send\n0,0,1,0.1\n1,0,2,0.1\n")
    lines = said(capsys, *SHORT, "--methods", "asgd", "--trace", str(tmp_path / "x.csv")).splitlines()
    assert lines[1].startswith("asgd")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--methods", "asdg"], "did you mean asgd"),
        (["--methods", "asgd:lr=fast"], "takes lr"),
        (["--methods", "asgd:lr=-1"], "must be above 0"),
        (["--methods", ","], "name one at least"),
        (["--compute", "weibull:1"], "is no distribution"),
        (["--failures", "crash=1"], "it has no 'crash'"),
        (["--failures", "life=soon"], "is no distribution"),
        (["--failures", "nan=2"], "nan is 2"),
        (["--until", "0"], "until"),
        (["--trace", "no-such.csv"], "No such file"),
        (["-o", "x.gif"], "must end in .svg"),
        (["--workers", "0"], "must be 1 or more"),
    ],
)
def test_a_mistake_is_one_line(argv, says, capsys):
    err = said(capsys, *argv, status=2)
    assert says in err and err.count("\n") == 1
