"""Logs from a file or folder, whichever of the known forms they have. Nothing in them is run."""

import os
from collections import Counter
from pathlib import Path

from ..errors import LabError
from . import algoperf, deepobs
from .run import Run, of_csv

FORMS = ("a CSV in the form of docs/logs.md, a folder of such files, AlgoPerf's logs (eval_measurements.csv) or "
         "DeepOBS's (JSON)")  # fmt: skip


def read(path: Path) -> tuple[list[Run], list[str]]:
    """The runs, and what was left out, a sentence each."""
    if (path / "trials.sqlite").exists():
        raise LabError(f"--from {path}: these are ravine's own records: ravine compare --report {path} shows them")
    if path.is_file():
        runs, said = of_csv(path), list[str]()
    elif path.is_dir():
        runs, said = _folder(path)
    else:
        raise LabError(f"--from {path}: there is no such file or folder")
    if not runs:
        raise LabError(f"--from {path}: no runs are there; name {FORMS}")
    for (task, *who), n in Counter((r.task, r.optimizer, r.setting, r.seed) for r in runs).items():
        if n > 1:
            called = " ".join(filter(None, who))
            raise LabError(f"--from {path}: {n} runs are called {called} on {task}: tell them apart by their seeds")
    return runs, said


def _folder(root: Path) -> tuple[list[Run], list[str]]:
    files = sorted(Path(at) / name for at, _, names in os.walk(root) for name in names)
    plain = [f for f in files if f.is_file() and not f.is_symlink()]
    if logs := [f for f in plain if f.name in algoperf.NAMES]:
        return algoperf.runs(logs)
    if logs := [f for f in plain if f.parent == root and f.suffix == ".csv"]:
        return [run for f in logs for run in of_csv(f)], []
    return deepobs.runs([f for f in plain if f.suffix == ".json"], root), []
