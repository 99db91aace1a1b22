"""`ravine compare --track`: each result once to each tracker; one that fails loses nothing."""

import math
import re
import socket
import struct
import sys
from pathlib import Path

import pytest

from ravine.lab import LabError, trackers
from ravine.lab.protocol.study import SELECTION
from ravine.lab.protocol.trial import Result, Trial
from ravine.lab.trackers import Trackers, run_of

POINTS = {"step": [0, 5, 10], "train": [2.3, 1.1, 0.7], "valid": [2.2, 1.0, 0.5], "metric": [0.1, 0.6, 0.9]}


def trial(optimizer="adam", seed=0):
    return Trial("digits", optimizer, (("lr", 0.02), ("betas", (0.9, 0.99))), seed, 2, 32, "c" * 64, schedule="cosine")


FINISHED = Result(seconds=1.5, test=0.4, test_metric=0.8, **POINTS)
DIVERGED = Result(diverged_at=10, **{**POINTS, "valid": [2.2, 9.0, math.nan]})
TRIALS = {trial(): FINISHED, trial(seed=SELECTION): FINISHED, trial("sgd"): DIVERGED}


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    """Python's own connections; wandb's service is told by WANDB_MODE."""
    connect = socket.socket.connect

    def here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a connection to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", here)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def send(name, folder, trials=TRIALS, times=1):
    for _ in range(times):
        there = Trackers([name], folder, "digits", "accuracy", {})
        for one, result in trials.items():
            there.add(one, result)
        there.close()
        assert name in there.open


def test_tensorboard_has_a_folder_for_each_trial(tmp_path):
    pytest.importorskip("tensorboard", reason='needs the extra: pip install ".[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    send("tensorboard", tmp_path, times=2)
    folders = sorted(tmp_path.glob("tensorboard/*"))
    assert [x.name.rsplit("-", 1)[0] for x in folders] == ["adam-confirm", "adam-search", "sgd-confirm"]
    read = [EventAccumulator(str(x)) for x in folders]
    for one in read:
        one.Reload()
    assert [(x.step, x.value) for x in read[0].Scalars("valid")] == [
        (step, pytest.approx(value)) for step, value in zip(POINTS["step"], POINTS["valid"], strict=True)
    ]
    assert [x.step for x in read[2].Scalars("valid")] == [0, 5]  # where it was a number
    assert [x.value for x in read[0].Scalars("accuracy")] == pytest.approx(POINTS["metric"])
    page = read[0].PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert b"beta1" in page and b"cosine" in page and read[0].Scalars("hparam/test")[0].value == pytest.approx(0.4)


def logged(data, block=32768):
    """The records of wandb's file, which is a LevelDB log: checksum, length and type before each part of one."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_offline_groups_by_optimizer_and_says_nothing_of_the_machine(tmp_path):
    wandb = pytest.importorskip("wandb", reason='needs the extra: pip install ".[wandb]"')
    from wandb.proto.wandb_internal_pb2 import Record

    send("wandb", tmp_path, times=2)
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    assert sorted(x.name.rsplit("-", 1)[1] for x in folders) == sorted(one.key for one in TRIALS)
    runs, told = {}, b""
    for folder in folders:
        (file,) = folder.glob("*.wandb")
        lines = []
        for data in logged(file.read_bytes()):
            told += data
            record = Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                run = record.run
            elif record.WhichOneof("record_type") == "history":
                lines.append({x.key or x.nested_key[0]: x.value_json for x in record.history.item})
        runs[run.run_id] = run, lines
    run, lines = runs[trial().key]
    assert (run.run_group, run.job_type, run.display_name) == ("adam", "confirm", "adam confirm 0")
    assert run.project == "ravine-digits" and {x.key or x.nested_key[0] for x in run.config.update} >= {"lr", "beta1"}
    assert [(x["_step"], float(x["valid"])) for x in lines] == [("0", 2.2), ("5", 1.0), ("10", 0.5)]
    assert runs[trial("sgd").key][0].run_group == "sgd"
    host = rf"(?<![0-9a-z]){re.escape(socket.gethostname())}(?![0-9a-z])"  # a short one may lie inside a random id
    assert not re.search(host.encode(), told) and str(Path.home()).encode() not in told
    assert not list(tmp_path.glob("wandb/*/files/*")) and wandb.run is None


@pytest.mark.filterwarnings("ignore:::sqlalchemy", "ignore::DeprecationWarning")  # of MLflow's own
def test_mlflow_writes_sqlite(tmp_path):
    pytest.importorskip("mlflow", reason='needs the extra: pip install ".[mlflow]"')
    pytest.importorskip("sqlalchemy", reason='needs the extra: pip install ".[mlflow]"')
    from mlflow import MlflowClient

    send("mlflow", tmp_path, times=2)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    runs = {run.data.tags["key"]: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {one.key for one in TRIALS} and not (Path.cwd() / "mlruns").exists()
    run = runs[trial().key]
    assert run.data.params["lr"] == "0.02" and run.data.params["beta2"] == "0.99" and run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == 0.8 and "final" not in runs[trial("sgd").key].data.metrics
    history = client.get_metric_history(run.info.run_id, "valid")
    assert sorted((x.step, x.value) for x in history) == list(zip(POINTS["step"], POINTS["valid"], strict=True))
    assert run.data.params["stage"] == "confirm" and runs[trial(seed=SELECTION).key].data.params["stage"] == "search"


class Notes:
    """A tracker that notes what it is given, and fails as often as it is told."""

    given: list[str] = []
    failing = 0

    def __init__(self, out, task):
        self.closed = False

    def add(self, run):
        if Notes.failing:
            Notes.failing -= 1
            raise ConnectionError("no\nroute")
        Notes.given.append(run.key)

    def close(self):
        self.closed = True


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.setattr(trackers, "TRACKERS", ("notes",))
    monkeypatch.setitem(sys.modules, "ravine.lab.trackers.notes", type(sys)("notes"))
    sys.modules["ravine.lab.trackers.notes"].Tracker = Notes
    Notes.given, Notes.failing = [], 0
    return Notes


def test_one_that_fails_says_so_once_and_gets_the_rest_next_time(notes, tmp_path, capsys):
    first, *others = TRIALS
    there = Trackers(["notes"], tmp_path, "digits", None, {})
    there.add(first, FINISHED)
    notes.failing = 1
    for one in others:
        there.add(one, FINISHED)
    assert notes.given == [first.key]
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith(
        "ravine: --track notes fails and is left out (ConnectionError: no ro"
    )
    send("notes", tmp_path)
    assert notes.given == [one.key for one in TRIALS]
    assert capsys.readouterr().err == ""


@pytest.mark.ci
def test_a_comparison_gives_each_trial_once_and_a_failing_tracker_loses_none(
    notes, tmp_path, ravine_command, monkeypatch
):
    def run(seeds):
        arguments = ("--tier", "smoke", "--optimizers", "sgd", "--points", "1", "--epochs", "1", "--workers", "1")
        return ravine_command("compare", *arguments, "--seeds", str(seeds), "--track", "notes", "--export", "csv",
                              cwd=tmp_path)  # fmt: skip

    notes.failing = 1
    status, printed = run(1)
    assert status == 0 and printed.count("--track notes fails") == 1 and notes.given == []
    rows = (tmp_path / "runs" / "digits" / "trials.csv").read_text().splitlines()[1:]
    assert len(rows) == 3  # one of the search, the best again, the defaults
    status, printed = run(2)
    assert status == 0 and "fails" not in printed
    rows = (tmp_path / "runs" / "digits" / "trials.csv").read_text().splitlines()[1:]
    assert sorted(notes.given) == sorted(row.split(",")[0] for row in rows) and len(rows) == 4


def test_what_is_not_finite_is_left_out():
    run = run_of(trial("sgd"), DIVERGED, "accuracy", {})
    assert "final" not in run.final and run.final["diverged_at"] == 10
    assert run.points[2] == (10, {"train": 0.7, "accuracy": 0.9})


def test_without_a_metric_there_is_none():
    run = run_of(trial(), FINISHED, None, {})
    assert set(run.points[0][1]) == {"train", "valid"} and set(run.final) == {"final", "test", "seconds"}


@pytest.mark.parametrize(
    ("name", "missing"), [("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")]
)
def test_without_the_extra_it_names_it(monkeypatch, tmp_path, name, missing):
    for known in [x for x in sys.modules if x.split(".")[0] == missing or x == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.delitem(sys.modules, f"ravine.lab.trackers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(LabError, match=rf'--track {name} needs {missing}: pip install ".\[{name}\]"'):
        Trackers([name], tmp_path, "digits", None, {})


def test_a_tracker_of_no_name_is_said(tmp_path):
    with pytest.raises(LabError, match="--track comet: known are tensorboard, wandb, mlflow"):
        Trackers(["comet"], tmp_path, "digits", None, {})
