"""What was trained is always reported, with a sentence on what is missing; two tasks never share a report."""

import html
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine
from ravine.cli import main
from ravine.lab import LabError, Task, find_lr
from ravine.lab.commands import one_task
from ravine.lab.commands.tune import means, spread
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.trial import Result

from .conftest import OWN, compared, inline

CODES = {
    "a metric": OWN.replace("batch=4", "metric=lambda output, y: output.sum() * float('nan'), batch=4"),
    "a test row": OWN.replace("    y = ", "    x[20] = float('nan')\n    y = "),
}


@pytest.fixture(autouse=True)
def forgotten():
    """Each test has a module of this name of its own."""
    yield
    sys.modules.pop("mine", None)


def reported(folder: Path) -> str:
    return (folder / "kept" / "report.html").read_text(encoding="utf-8").split("<script")[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (CODES["a metric"], "SGD: the accuracy is not a number in 2 of 2 runs; there is no mean."),
        (CODES["a test row"], "The test loss is not finite in any run"),
    ],
    ids=["a metric", "a test row"],
)
def test_what_is_no_number(tmp_path, capsys, monkeypatch, code, said):
    compared(tmp_path, "--optimizers", "sgd,adam", code=code)
    assert said in capsys.readouterr().out and said in reported(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--report", "kept"]) == 0 and main(["advise", "--from", "kept"]) == 0
    assert said in capsys.readouterr().out


def test_a_test_loss_that_one_method_alone_lacks(tmp_path, capsys):
    """Its runs are not better than those of others."""
    code = (
        OWN
        + """
class Strange(ravine.SGD):
    \"\"\"Its weights overflow on the test data alone.\"\"\"

    def eval(self):
        global away
        away = True

    def train(self):
        global away
        away = False

away = False

class Odd(torch.nn.Linear):
    def forward(self, x):
        out = super().forward(x)
        return out * float("nan") if away and (x[:1] == test).all(1).any() else out

test = data()[4]
"""
    )
    code = code.replace("x = torch.randn(24, 2)", "x = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))")
    code = code.replace("lambda: torch.nn.Linear(2, 2)", "lambda: Odd(2, 2)")
    compared(tmp_path, "--optimizers", "sgd,mine:Strange", code=code)
    assert "Strange: the test loss is not finite in 2 of 2 runs, which count as diverged." in capsys.readouterr().out
    assert "2 of 2 diverged" in reported(tmp_path)


FRAIL = (
    OWN
    + """
class Frail(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("too frail")

class Weak(Frail):
    pass

class Late(torch.optim.SGD):
    \"\"\"It takes the points of the search, and not the seeds that are reported.\"\"\"

    def step(self, closure=None):
        if torch.initial_seed() < 1000:
            raise RuntimeError("too late")
        super().step()

class Trained(torch.optim.SGD):
    ready = False

    def train(self):
        self.ready = True

    def eval(self):
        self.ready = False

    def step(self, closure=None):
        if not self.ready:
            raise Exception("Optimizer was not in train mode when step is called.")
        super().step()
"""
)


def test_an_optimizer_that_fails_ends_its_own_row(tmp_path, capsys, monkeypatch):
    """In the search, or later; the others stand as they were, and the report says why a row is not there."""
    names = "sgd,mine:Frail,mine:Trained,mine:Late"
    compared(tmp_path, "--optimizers", names, code=FRAIL)
    out = capsys.readouterr().out
    for said in (
        "Frail has no row: RuntimeError: too frail (mine.py, line 21), at lr ",
        "Late has no row: RuntimeError: too late (mine.py, line 31), at lr ",
    ):
        assert said in out and said in html.unescape(reported(tmp_path))
    assert "could not be measured" not in out
    rows = re.search(r'<table id="ranking">.*?</table>', reported(tmp_path), re.S)[0]
    assert rows.count("<tr>") == 1 + 2 and "SGD" in rows and "Trained" in rows
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--report", "kept"]) == 0 and main(["advise", "--from", "kept"]) == 0
    assert "Frail has no row" in capsys.readouterr().out
    with Records(tmp_path / "kept") as records:
        kept = {trial.optimizer for trial, _ in records}
    assert kept == {"sgd", "mine:Trained", "mine:Late"}  # what failed is not recorded, and tried again next time


def test_where_all_optimizers_fail_each_says_why(tmp_path, capsys, monkeypatch):
    with pytest.raises(AssertionError):
        compared(tmp_path, "--optimizers", "mine:Frail,mine:Weak", code=FRAIL)
    err = capsys.readouterr().err
    assert (
        "mine:Frail: RuntimeError: too frail (mine.py, line 21), at lr " in err
        and "mine:Weak: RuntimeError: too frail" in err
    )
    assert "Traceback" not in err and err.count("\n") == 3


def test_a_method_that_fails_at_another_batch_size_has_no_row(tmp_path, capsys):
    code = (
        OWN
        + """
class Large(torch.optim.SGD):
    \"\"\"It needs the noise of eight rows.\"\"\"

    def step(self, closure=None):
        if seen[0] < 8:
            raise RuntimeError("too few")
        super().step()

seen = [0]

class Counts(torch.nn.Linear):
    def forward(self, x):
        seen[0] = len(x)
        return super().forward(x)
"""
    )
    code = code.replace("torch.nn.Linear(2, 2)", "Counts(2, 2)")
    said = ("--optimizers", "sgd,mine:Large", "--batch", "8", "--batch-sweep", "4")
    compared(tmp_path, *said, code=code)
    assert "Large has no row: it fails at another batch size" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("batch=4", "batch=40"), "task 'few': batch=40, and there are 8 rows to train on: give the task a smaller"),
        (("torch.nn.Linear(2, 2)", "torch.nn.Linear(3, 2)"), "task 'few': the first batch, x (4, 2) torch.float32"),
        (("lambda: torch.nn.Linear(2, 2)", "torch.nn.Linear(2, 2)"), "cannot import 'mine' from "),
        (("torch.nn.Linear(2, 2)", "torch.nn.LSTM(2, 2)"), "task 'few': the first batch, "),
        (("y[16:]", "y[16:] + 5"), "task 'few': the test part, x (8, 2) torch.float32 and y (8,) torch.int64, fails: "),
    ],
    ids=["batch", "shapes", "instance", "outputs", "labels"],
)
def test_a_task_that_is_wrong_is_one_line(tmp_path, capsys, monkeypatch, change, said):
    (tmp_path / "mine.py").write_text(OWN.replace(*change))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for command in ("compare", "tune", "advise"):
        sys.modules.pop("mine", None)
        assert main([command, "--task", "mine:task"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("ravine: ") and said in err and err.count("\n") == 1, (command, err)


def test_a_batch_that_is_asked_for_is_named_as_it_was(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for option in ("--batch", "--batch-sweep"):
        assert main(["compare", "--task", "mine:task", option, "9"]) == 2
        assert f"ravine: {option} 9: task 'few' has 8 examples to train on" in capsys.readouterr().err


def test_an_error_after_all_trials(tmp_path, capsys, monkeypatch):
    def fails(*_):
        raise RuntimeError("no clock\nhere")

    monkeypatch.setattr(one_task.stopwatch, "measure", fails)
    monkeypatch.setattr(one_task, "look", fails)
    compared_without_clock(tmp_path)
    out = capsys.readouterr().out
    said = "The time per step could not be measured: RuntimeError: no clock here"
    for text in (out, reported(tmp_path)):
        assert said in text and "SGD: what happens inside could not be measured" in text
    assert "nan" not in out.split() and 'id="time"' not in reported(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--report", "kept"]) == 0 and said in capsys.readouterr().out


def compared_without_clock(folder: Path) -> None:
    (folder / "mine.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(one_task, "sweep", inline)
        patched.setattr(sys, "path", [str(folder), *sys.path])
        arguments = "compare --task mine:task --out kept --points 2 --seeds 2 --workers 1 --optimizers sgd,adam"
        assert main(arguments.split()) == 0


def test_a_first_loss_that_is_no_number(tmp_path, monkeypatch, capsys):
    model = nn.Linear(2, 2)
    batches = [(torch.full((4, 2), float("nan")), torch.zeros(4, dtype=torch.long))]
    found = find_lr(model, ravine.SGD(model.parameters(), lr=0.1), batches, seeds=2)
    assert found.lr is None and str(found).startswith("no suggestion: the loss is not a finite number before any step")

    (tmp_path / "mine.py").write_text(OWN.replace("y = (", "x[:] = float('nan'); y = ("))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for command in (["lr-find", "-o", "found.html"], ["compare"], ["tune"], ["paths"], ["noise-scale"], ["advise"]):
        assert main([*command, "--task", "mine:task"]) == 2
        said, err = capsys.readouterr()
        assert not said and err == (
            "ravine: task 'few': the loss of the first batch is nan before any step, a fault of the data: x_train "
            "holds NaN or infinity in 8 of 8 rows\n"
        )


def test_tune_tells_of_numbers_that_are_none():
    runs = [Result(None, 0, [0, 1], [1, 1], [1, 1], [0, 0], [0, 0], 0.5, x) for x in (0.5, float("nan"), 0.7)]
    assert means(runs) == ("1.0000 ± 0.0000", "0.5000 ± 0.0000", "0.6000 ± 0.1414 (1 of 3 not a number)")
    assert spread([float("nan")]) == "not a number" and spread([None]) == ""


def test_two_tasks_never_share_a_report(tmp_path, monkeypatch, capsys):
    more = "\nother = Task('few', data, task.model)\nlike = Task('../few', data, task.model)\n"
    (tmp_path / "mine.py").write_text(OWN + more)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for names in ("mine:task,mine:other", "mine:task,mine:like", "digits,digits"):
        folder = "runs/digits" if names.startswith("digits") else "runs/few"
        assert main(["compare", "--task", names]) == 2
        err = capsys.readouterr().err
        assert f"would share the folder {folder}: compare them one at a time" in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "..", "<!--<script>", "x" * 300, "漢字 ü"])
def test_a_name_leads_nowhere_and_ends_nothing(tmp_path, capsys, name):
    """It is in the page as it is, in the path as a name of one folder, and all figures are still there."""
    (tmp_path / "here").mkdir()
    code = OWN.replace('"few"', repr(name))
    (tmp_path / "here" / "mine.py").write_text(code)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(one_task, "sweep", inline)
        patched.setattr(one_task.stopwatch.measure, "__defaults__", (0.0,))
        patched.chdir(tmp_path / "here")
        patched.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])
        said = "compare --task mine:task --points 2 --seeds 2 --workers 1 --optimizers sgd,mine:Mine"
        assert main(said.split()) == 0
    (page,) = tmp_path.rglob("report.html")
    assert page.parent.parent == tmp_path / "here" / "runs" and len(page.parent.name) <= 100
    text = page.read_text(encoding="utf-8")
    charts = text.split('<script type="application/json" id="charts">')[1].split("</script>")[0]
    assert {"train", "valid", "seeds"} <= set(json.loads(charts)["figures"])
    assert "<" not in charts and "<!--<script>" not in text


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "\udcff", None, 7])
def test_a_name_that_cannot_be_printed_is_refused(name):
    with pytest.raises(LabError, match="a task's name is"):
        Task(name, None, None)
