"""`ravine paths`: rates are chosen, paths recorded as trials run them, and told and drawn."""

import pytest
import torch

from ravine.cli import main
from ravine.lab.commands import paths
from ravine.lab.errors import LabError
from ravine.lab.protocol.given_spaces import spaced
from ravine.lab.protocol.search import entries
from ravine.lab.protocol.spaces import middle, space_of
from ravine.lab.protocol.study import SELECTION
from ravine.lab.protocol.trial import run
from ravine.lab.seeding import seed_all
from ravine.lab.tasks import load_task
from ravine.lab.threads import one_thread

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def training(**asked):
    task = load_task("digits").tiny()
    return paths.Training(paths.Settings(**asked), task, task.load())


def test_a_path_is_that_of_the_trial():
    it = training(seed=3)
    (entry,) = entries(["nag"])
    with one_thread():
        recorder = it.path(entry, 0.1)
        _, model = run(it.trial(entry, 0.1, 3), it.task, it.data, entry.cls)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    steps = it.epochs * -(-len(it.data.x) // it.batch)
    assert torch.equal(recorder.weights[-1], flat) and recorder.steps[-1] == steps
    assert len(recorder.steps) <= 2 * paths.SNAPSHOTS
    seed_all(3)
    assert torch.equal(recorder.weights[0], torch.cat([p.detach().flatten() for p in it.task.model().parameters()]))


def test_the_rate_is_the_best_of_the_grid_on_validation_data_with_another_seed():
    it = training(rates=3, epochs=5)
    (entry,) = entries(["adam"])
    low, high = space_of(entry.cls)["lr"]
    with one_thread():
        each = [low, (low * high) ** 0.5, high]
        loss = [run(it.trial(entry, lr, SELECTION), it.task, it.data, entry.cls)[0].final for lr in each]
        assert it.rate(entry) == pytest.approx(each[loss.index(min(loss))], rel=1e-2)
    assert training(rates=1).rate(entry) == middle(entry.cls)
    assert paths.Settings().seed != SELECTION


def test_the_command_draws_and_tells(tmp_path, capsys):
    out = tmp_path / "paths.svg"
    argv = ["--optimizers", "sgd,adam", "--epochs", "2", "--rates", "1", "--points", "5", "--rows", "100"]
    assert main(["paths", *argv, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "of the variance of the paths lies in the plane" in said and said.endswith(f"written to {out}\n")
    for name in ("SGD, lr 0.316", "Adam, lr 0.00316"):
        assert name in said
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("argv", "message"),
    {
        ("--out", "paths.gif"): "-o paths.gif: the name must end in .png, .svg, .pdf",
        ("--out", "nowhere/p.png"): "-o nowhere/p.png: there is no folder nowhere",
        ("--rates", "0"): "--rates: must be 1 or more, and is 0",
        ("--optimizers", "sgd,sgd"): "--optimizers sgd,sgd: name at least one, and each once",
        ("--optimizers", "adem"): "unknown optimizer 'adem': did you mean",
        ("--optimizers", "nope"): "`ravine list` has them all, or your own as module:Class",
        ("--centre", "end"): "invalid choice: 'end'",
    }.items(),
)
def test_mistakes_are_told_before_anything_is_trained(argv, message, capsys, monkeypatch):
    monkeypatch.setattr(paths, "run", None)
    assert main(["paths", *argv]) == 2
    assert message in capsys.readouterr().err


def test_rates_that_all_diverge_are_said():
    it = training(rates=2)
    (entry,) = spaced(entries(["sgd"]), ["sgd:lr=1e8..1e9"], (), "digits")
    with one_thread(), pytest.raises(LabError, match=r"sgd: it diverged at every rate from 1e\+08 to 1e\+09"):
        it.rate(entry)
