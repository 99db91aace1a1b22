"""The list of trials of a comparison: every optimizer, at every rate, with every seed."""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from .search import Entry
from .tasks import Task
from .trial import Trial
from .worker import Job


def plan(
    entries: list[Entry], task_name: str, task: Task, does: str, epochs: int, seeds: int, carry_over: bool
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
                chain.append(Trial(task_name, entry.name, hyper, seed, epochs, task.batch, content, after))
        jobs += [tuple(chain)] if carry_over else [(trial,) for trial in chain]
    return jobs


def _content(does: str, entry: Entry) -> str:
    """Names all that the settings do not: what the task does, the optimizer's own file, the versions."""
    file = sys.modules[entry.cls.__module__].__file__
    rule = Path(file).read_bytes() if file else b""
    versions = f"ravine {version('ravine')}, torch {torch.__version__}"
    return hashlib.sha256(f"{does} {versions} ".encode() + rule).hexdigest()
