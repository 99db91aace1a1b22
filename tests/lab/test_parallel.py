"""`ravine compare --parallel`: what it keeps, what it refuses, and one whole comparison."""

import json
from pathlib import Path

import pytest
import torch

from ravine.cli import main
from ravine.lab.commands.parallel import Kept, drawn, first, spread
from ravine.lab.families import job as jobs
from ravine.lab.families.families import FAMILIES
from ravine.lab.families.job import Job, Track, batches, work
from ravine.lab.tasks import load_task

JOB = Job("digits", None, "serial", "sgd", 0.1, 0, 1, 40, 32, 4)


def track(loss: list[float]) -> Track:
    n = len(loss)
    return Track([float(i) for i in range(n)], list(range(n)), [0.0] * n, loss, [0.0] * n)


def test_workers_share_an_epoch_and_see_each_row_once():
    data = load_task("digits").load()
    seen = []
    for rank in range(3):
        mine = batches(JOB, data._replace(x=torch.arange(960.0)), rank, 3)
        seen += [int(row) for _ in range(10) for row in next(mine)]
    assert sorted(seen) == list(range(960))


def test_one_worker_alone_trains_as_a_loop_does():
    task = load_task("digits")
    data = task.load()
    (look, *_, last) = work(JOB, 0).looks
    assert look.gradients == 0 and last.gradients == 40
    model = JOB.model(task)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    mine = batches(JOB, data, 0, 1)
    for _ in range(40):
        rows = next(mine)
        opt.zero_grad()
        task.objective(model, model(data.x[rows]), data.y[rows]).backward()
        opt.step()
    for k, x in model.state_dict().items():
        torch.testing.assert_close(last.weights[k], x, rtol=1e-5, atol=1e-6)


def test_what_was_run_is_kept_and_a_broken_line_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = load_task("digits")
    data, ran = task.load(), []
    monkeypatch.setattr("ravine.lab.commands.parallel.run", lambda job, *_: ran.append(job.lr) or track([1.0]))
    kept = Kept(tmp_path / "runs.jsonl", task, data)
    for lr in (0.1, 0.2, 0.1):
        kept.run(jobs.Job(**{**vars(JOB), "lr": lr}))
    assert ran == [0.1, 0.2]
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    (tmp_path / "runs.jsonl").write_text(lines[0] + "\n" + lines[1][:20])
    again = Kept(tmp_path / "runs.jsonl", task, data)
    again.run(JOB)
    again.run(jobs.Job(**{**vars(JOB), "lr": 0.2}))
    assert ran == [0.1, 0.2, 0.2]


def test_curves_and_the_first_time_at_a_loss():
    found = {"sync": (0.1, [track([3.0, 1.0, 2.0]), track([3.0, 2.0, 1.0])])}
    figure = drawn(found, "seconds")
    assert max(figure["data"][-1]["x"]) == 2.0
    assert first(track([3.0, 1.0, 2.0]), 1.5) == 1.0 and first(track([3.0]), 1.5) == float("inf")
    assert spread([1.0, 3.0]) == "2.0000 ± 1.0000" and spread([1.0, float("inf")]) == "diverged"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parallel", "syn"], "did you mean sync"),
        (["--parallel", "sync", "--optimizers", "sgd,adam"], "one of --optimizers"),
        (["--parallel", "sync", "--optimizers", "muon"], "for matrices"),
        (["--parallel", "sync", "--schedule", "linear"], "no use for --schedule"),
        (["--parallel", "sync", "--workers", "1"], "2 or more"),
        (["--sync-every", "4"], "goes with --parallel"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", *arguments]) == 2
    out = capsys.readouterr().err
    assert said in out and len(out.splitlines()) == 1


@pytest.mark.ci
def test_a_whole_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [
        "compare",
        "--parallel",
        "serial,localsgd,downpour",
        "--optimizers",
        "sgd",
        "--points",
        "1",
        "--seeds",
        "1",
    ]
    assert main([*command, "--epochs", "1", "--workers", "2", "--sync-every", "4", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "parallel.json").read_text())["families"]
    assert list(told) == ["serial", "local-sgd", "downpour"] and set(told) <= set(FAMILIES)
    for name, made in told.items():
        (one,) = made["runs"]
        assert one["loss"][-1] < one["loss"][0] and one["gradients"][-1] > 0
        assert (one["bytes"][-1] > 0) == (name != "serial")
        assert (max(one["apart"], default=0.0) > 0) == (one["staleness"] is not None) == (name == "downpour")
    page = (tmp_path / "parallel.html").read_text()
    assert "seconds of training" in page and "megabytes" in page
    assert "distance of copies to the server" in page
    assert "downpour" in capsys.readouterr().out
