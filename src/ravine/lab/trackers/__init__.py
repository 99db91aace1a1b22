"""Results to TensorBoard, Weights & Biases or MLflow: each is a file here with a class Tracker.

The coordinator writes when a trial has ended: workers know nothing of it, and a tracker that fails loses nothing.
"""

import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import LabError, extra
from ..protocol.trial import Result, Trial
from ..report.export import columns, stage

TRACKERS = ("tensorboard", "wandb", "mlflow")


@dataclass(frozen=True)
class Run:
    """A trial as trackers see it."""

    key: str
    name: str  # optimizer, stage and seed: readable, not unique
    task: str
    optimizer: str
    stage: str
    hyper: Mapping[str, Any]  # of the optimizer, and all else that decides the result
    points: Sequence[tuple[int, Mapping[str, float]]]  # step, and what was measured there
    final: Mapping[str, float]


class Tracker(Protocol):
    """What a tracker has to have."""

    def __init__(self, out: Path, task: str): ...
    def add(self, run: Run) -> None:
        """Writes one finished trial."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


class Trackers:
    """Those that were asked for. Each is given every trial once, also over several runs of the same command."""

    def __init__(self, names: Sequence[str], out: Path, task: str, metric: str | None, usual: Mapping[str, Any]):
        self.metric, self.out, self.usual = metric, out, usual
        self.open: dict[str, Tracker] = {}
        self.seen: dict[str, set[str]] = {}
        for name in names:
            if name not in TRACKERS:
                raise LabError(f"--track {name}: known are {', '.join(TRACKERS)}")
            with extra(name, f"--track {name}"):
                made = importlib.import_module(f".{name}", __name__)
            self.open[name] = made.Tracker(out, task)
            self.seen[name] = self._noted(name)

    def add(self, trial: Trial, result: Result) -> None:
        """To each that has not had it."""
        for name, tracker in list(self.open.items()):
            if trial.key in self.seen[name]:
                continue
            try:
                tracker.add(run_of(trial, result, self.metric, self.usual))
                with self._note(name).open("a", encoding="utf-8") as note:
                    note.write(f"{trial.key}\n")
                self.seen[name].add(trial.key)
            except Exception as error:
                del self.open[name]
                self._say(name, error)

    def close(self) -> None:
        """Nothing comes any more."""
        for name, tracker in self.open.items():
            try:
                tracker.close()
            except Exception as error:
                self._say(name, error)

    def _note(self, name: str) -> Path:
        """The keys of the trials that it has had."""
        return self.out / f"{name}.keys"

    def _noted(self, name: str) -> set[str]:
        note = self._note(name)
        try:
            return set(note.read_text(encoding="utf-8", errors="replace").split()) if note.exists() else set()
        except OSError as error:
            raise LabError(f"--track {name}: {note} cannot be read: {error.strerror}; remove it") from error

    @staticmethod
    def _say(name: str, error: Exception) -> None:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"ravine: --track {name} fails and is left out ({what}); the trials are in the records, and the same "
              "command gives it what it has not had", file=sys.stderr)  # fmt: skip


def run_of(trial: Trial, result: Result, metric: str | None, usual: Mapping[str, Any]) -> Run:
    """What is finite of a trial's results: trackers take infinity for an error, or for a large number."""
    rows = zip(result.step, result.train, result.valid, result.metric, strict=True)
    points = [(step, _finite({"train": train, "valid": valid, metric: value})) for step, train, valid, value in rows]
    final = {
        "final": result.final,
        "test": result.test,
        f"test_{metric}": result.test_metric if metric else None,
        "diverged_at": result.diverged_at,
        "seconds": result.seconds,
    }
    also = {"seed": trial.seed, "epochs": trial.epochs, "batch": trial.batch, "schedule": trial.schedule}
    when = stage(trial, usual)
    name = f"{trial.optimizer} {when} {trial.seed}"
    hyper = columns(trial.hyper) | also | {"optimizer": trial.optimizer, "stage": when}
    return Run(trial.key, name, trial.task, trial.optimizer, when, hyper, points, _finite(final))


def _finite(values: Mapping[Any, float | None]) -> dict[str, float]:
    return {name: float(x) for name, x in values.items() if name is not None and x is not None and math.isfinite(x)}
