"""The list of trials of a comparison: every optimizer, at every rate, with every seed."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

import ravine

from .search import Entry
from .tasks import Task
from .trial import Trial
from .worker import Job


def plan(
    entries: list[Entry],
    task_name: str,
    task: Task,
    does: str,
    epochs: int,
    seeds: int,
    carry_over: bool,
    schedule: str = "constant",
    curriculum: str = "none",
) -> list[Job]:
    """One job a trial; with `carry_over` one job a seed, in which each fit goes on from the weights of the last."""
    jobs: list[Job] = []
    for seed in range(seeds):
        chain: list[Trial] = []
        for entry in entries:
            content = _content(does, entry)
            for lr in entry.lrs:
                after = chain[-1].key if carry_over and chain else ""
                hyper = (("lr", lr), *entry.hyper)
                trial = Trial(task_name, entry.name, hyper, seed, epochs, task.batch, content, after, schedule)
                chain.append(replace(trial, curriculum=curriculum))
        jobs += [tuple(chain)] if carry_over else [(trial,) for trial in chain]
    return jobs


def _content(does: str, entry: Entry) -> str:
    """Names all that the settings do not: what the task does, the code of ravine and of the optimizer, the versions."""
    versions = f"ravine {version('ravine')}, torch {torch.__version__}"
    return hashlib.sha256(" ".join((does, versions, _ours(), _theirs(entry.cls))).encode()).hexdigest()


@cache
def _ours() -> str:
    """Hash of the package, all but what only shows results."""
    root = Path(ravine.__file__).parent
    showing = (root / "visuals", root / "lab" / "report", root / "lab" / "live.py")
    return _hash(p for p in root.rglob("*.py") if not any(p.is_relative_to(s) for s in showing))


def _theirs(cls: type) -> str:
    """Hash of the files of a stranger's class and of those it derives from."""
    names = {c.__module__ for c in cls.__mro__ if c.__module__.split(".")[0] not in ("builtins", "ravine", "torch")}
    files = (getattr(sys.modules[name], "__file__", None) for name in names)
    return _hash(Path(file) for file in files if file)


def _hash(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(p.read_bytes()).digest() for p in files))).hexdigest()
