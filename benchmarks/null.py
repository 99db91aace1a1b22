"""Do the verdicts of `ravine compare` hold? One method under several names, and a method that was handicapped.

    python benchmarks/null.py --data FOLDER      an hour on two cores: benchmarks/results/null-cpu.json

Of each task and method whole searches are run that share nothing: other points, other seeds. A comparison takes some of
them for as many methods, and asks what `ravine compare` would say. Names of one method must be told apart in at most
one of twenty comparisons. Handicapped is a copy whose loss is 10 % higher, and one that loses every second step. It is
compared with its own search, and with the same points and seeds, as `ravine compare` gives them to methods whose spaces
are alike. Comparisons draw from the same searches: --searches says how many there are. --work keeps what was trained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from bench import RESULTS, command_line, machine

import ravine
from ravine.lab.protocol.judged import sample
from ravine.lab.protocol.search import Entry, entries
from ravine.lab.protocol.statistics import Sample, differences
from ravine.lab.protocol.study import TIERS, Study
from ravine.lab.protocol.trial import Result, Trial, run
from ravine.lab.tasks import Data, Task, load_task

METHODS = ("adam", "momentum")
TASKS = {"digits": None, "fashion-mnist": 5, "adult": 5, "noisy-quadratic": 1}  # and epochs, if other than the task's
ROWS = 2000  # of the larger ones, to train on and to test
NAMES = (2, 8, 15)
REPEATS = 400


class Halved(ravine.Adam):
    """Adam that loses every second step."""

    def step(self, *given: Any, **named: Any) -> Any:
        """Only if it is odd."""
        self.calls = getattr(self, "calls", 0) + 1
        return super().step(*given, **named) if self.calls % 2 else None


HALVED = Entry("halved", Halved)


@cache
def opened(name: str, folder: Path | None) -> tuple[Task, Data]:
    """The task, and its first rows."""
    task = load_task(name, None if folder is None or name in ("digits", "noisy-quadratic") else folder / name)
    data = task.load()
    return replace(task, epochs=TASKS[name] or task.epochs), Data(*(None if x is None else x[:ROWS] for x in data))


def searched(job: tuple[str, str, str, int, Path | None]) -> list[Result]:
    """One search of a method on a task, with the number that makes it another."""
    name, method, tier, number, folder = job
    torch.set_num_threads(1)
    task, data = opened(name, folder)
    (entry,) = [HALVED] if method == "halved" else entries([method])
    space = entries(["adam"])[0] if method == "halved" else entry
    epochs = max(1, round(TIERS[tier].share * task.epochs))

    def make(hyper: Any, seed: int) -> Trial:
        return Trial(name, method, hyper, seed, epochs, task.batch, "", schedule="cosine")

    (points,) = Study(space, TIERS[tier], make, number=number).rounds({})
    return [run(trial, task, data, entry.cls)[0] for trial in points.trials]


def pool(
    task: str, method: str, tier: str, count: int, folder: Path | None, work: Path, workers: int
) -> list[list[Result]]:
    """So many searches, those that are not there yet trained."""
    file = work / f"{task}-{method}-{tier}.json"
    kept = [[Result(**r) for r in x] for x in json.loads(file.read_text())] if file.exists() else []
    with ProcessPoolExecutor(workers, get_context("spawn")) as processes:
        jobs = [(task, method, tier, i, folder) for i in range(len(kept), count)]
        for i, found in enumerate(processes.map(searched, jobs)):
            kept.append([replace(r, train=[], deviation=[], metric=r.metric[-1:]) for r in found])
            if i % 8 == 7 or i + 1 == len(jobs):
                file.write_text(json.dumps([[vars(r) for r in x] for x in kept]))
    return kept[:count]


def drawn(searches: Sequence[Sequence[Result]], tier: str, names: int) -> Iterator[list[Sample]]:
    """Comparisons of so many names of one method, a search each; a full one is made of several smaller ones."""
    rng, each = np.random.default_rng(names), TIERS[tier].points // len(searches[0])
    for _ in range(REPEATS):
        order = rng.choice(len(searches), (names, each), replace=False)
        yield [sample([r for i in numbers for r in searches[i]], TIERS[tier].search) for numbers in order]


def more(x: Sample, factor: float) -> Sample:
    """So many times the loss."""
    return Sample([factor * v for v in x.values], None if x.parts is None else factor * x.parts)


def null(searches: Sequence[Sequence[Result]], tier: str, names: int) -> dict[str, Any]:
    """The share of comparisons in which some of the names are told apart."""
    wrong = [any(d.distinct for d in differences(x).values()) for x in drawn(searches, tier, names)]
    return {"names": names, "told apart": float(np.mean(wrong))}


def planted(searches: Sequence[Sequence[Result]], tier: str) -> dict[str, Any]:
    """Two names, the second with 10 % more loss: the share in which it is found, and what half the time is found."""
    own: list[bool] = []
    same: list[bool] = []
    half: list[float] = []
    for first, second in drawn(searches, tier, 2):
        d = differences([first, more(second, 1.1)])[0, 1]
        own.append(d.low > 0)
        half.append(d.half / float(np.mean(first.values)))
        same.append(differences([first, more(first, 1.1)])[0, 1].low > 0)
    return {"own search": float(np.mean(own)), "same points": float(np.mean(same)), "half of": median(half)}


def halved(whole: Sequence[Sequence[Result]], lost: Sequence[Sequence[Result]], tier: str) -> dict[str, Any]:
    """Adam, and Adam that loses every second step."""
    a, b = [[sample(x, TIERS[tier].search) for x in side[: len(lost)]] for side in (whole, lost)]
    levels = [float(np.mean([np.mean(x.values) for x in side])) for side in (a, b)]
    same = [differences([x, y])[0, 1].low > 0 for x, y in zip(a, b, strict=True)]
    own = [differences([x, y])[0, 1].low > 0 for i, x in enumerate(a) for j, y in enumerate(b) if i != j]
    return {"more loss": levels[1] / levels[0] - 1, "own search": float(np.mean(own)),
            "same points": float(np.mean(same))}  # fmt: skip


def main() -> None:
    """All tasks, methods and tiers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder that has fashion-mnist/ and adult/")
    parser.add_argument("--searches", type=int, default=32, help="of each task and method (default 32)")
    parser.add_argument("--halved", type=int, default=8, help="searches of the handicapped Adam (default 8)")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--work", type=Path, default=Path("runs/null"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "null-cpu.json")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for task in asked.only:
        for method in METHODS:
            for kept, tiers in (("smoke", ("smoke",)), ("standard", ("standard", "full"))):
                found = pool(task, method, kept, asked.searches, asked.data, asked.work, asked.workers)
                for tier in tiers:
                    about = {"task": task, "method": method, "tier": tier}
                    most = sum(map(len, found)) // TIERS[tier].points
                    rows += [about | null(found, tier, names) for names in NAMES if names <= most]
                    if most > 1:
                        rows.append(about | {"planted": "10 % more loss"} | planted(found, tier))
                if kept == "standard" and method == "adam":
                    lost = pool(task, "halved", kept, asked.halved, asked.data, asked.work, asked.workers)
                    rows.append({"task": task, "method": method, "tier": kept, "planted": "every second step lost"}
                                | halved(found, lost, kept))  # fmt: skip
            for row in rows[-12:]:
                print({k: round(x, 3) if isinstance(x, float) else x for k, x in row.items()}, flush=True)
    about = {"command": command_line(), "date": date.today().isoformat(), "machine": machine("cpu")}
    about |= {"searches": asked.searches, "comparisons": REPEATS}
    asked.out.write_text(json.dumps(about | {"null and planted": rows}, indent=1) + "\n")
    print(f"written to {asked.out}")


if __name__ == "__main__":
    main()
