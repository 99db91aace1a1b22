"""How fast are sparse problems sample by sample: serial, in two threads or processes, behind a lock, in scikit-learn?

    python benchmarks/hogwild.py                  a table, and benchmarks/results/hogwild-cpu.json

Logistic regression on rows of about 30 of 50 000 features, whose frequencies fall as a power; the same on the words of
Banking77 (does the customer ask about a card?), where $RAVINE_DATA has it; matrix completion of 30 000 by 10 000 at
rank 16 from 300 000 entries. Last, what Hogwild! is not for: rows of 256 features that are all there.

All make the same number of epochs with SGD at a constant rate, from the same weights, in turns; a figure is the median
over the epochs of all rounds. `seconds` are those of the clock, for an epoch, and do not count what it takes to start
processes. `processor` are those that a worker had a core for, as a mean over the workers: on a machine that others use
too they say what the clock would say with a core for each, but for what workers that always run at once would cost each
other. `fastest` is the fastest epoch of all, which others have disturbed least. `losses` are means over all rounds.
"""

from __future__ import annotations

import csv
import os
import re
import statistics
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Record, arguments
from torch import nn

import ravine
from ravine.parallel.hogwild import MatrixCompletion, SparseLinear

WORKERS: dict[str, dict[str, Any]] = {
    "serial": {},
    "2 threads": {"threads": 2},
    "2 processes": {"processes": 2},
    "2 processes, atomic": {"processes": 2, "adds": "atomic"},
    "2 processes, locked": {"processes": 2, "adds": "locked"},
}
EPOCHS = 20
CASES: dict[str, tuple[int, ...]] = {  # sizes: samples and features, or rows, columns, rank and entries
    "sparse, 50 000 features": (50_000, 50_000, 30),
    "banking77": (),
    "completion, 30 000 × 10 000": (30_000, 10_000, 16, 300_000),
    "dense, 256 features": (4_000, 256),
}


@dataclass
class Problem:
    """How to begin a problem anew, and what scikit-learn is given."""

    begin: Callable[[], SparseLinear | MatrixCompletion]
    samples: int
    data: Any = None
    targets: Any = None
    rate: float = 0.1


@dataclass
class Times:
    """What the rounds of one contestant have left."""

    seconds: list[float] = field(default_factory=list[float])
    processor: list[float] = field(default_factory=list[float])
    losses: list[float] = field(default_factory=list[float])


def linear(data: Any, targets: np.ndarray, rate: float) -> Problem:
    """Logistic regression, from zeros."""

    def begin() -> SparseLinear:
        weights = nn.Parameter(torch.zeros(data.shape[1], dtype=torch.float64))
        return SparseLinear(data, targets, ravine.SGD([weights], lr=rate))

    return Problem(begin, data.shape[0], data, targets, rate)


def synthetic(samples: int, features: int, each: int) -> Problem:
    """Features that occur as often as a power of their number, and the signs of a plane with noise."""
    from scipy.sparse import csr_matrix

    made = np.random.default_rng(0)
    columns = (features * made.random((samples, each)) ** 3).astype(np.int32)
    starts = np.arange(0, samples * each + 1, each)
    data = csr_matrix((np.ones(columns.size), columns.ravel(), starts), (samples, features))
    data.sum_duplicates()
    noise = made.standard_normal(samples)
    return linear(data, np.sign(data @ made.standard_normal(features) + noise), 0.1)


def banking(words: int = 8192) -> Problem | str:
    """Bags of words of the questions, and whether their intent has to do with a card; or why there are none."""
    from scipy.sparse import csr_matrix

    file = Path(os.environ.get("RAVINE_DATA", ".")) / "banking77" / "train.csv"
    if not file.exists():
        return "no banking77 (set RAVINE_DATA)"
    lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(keepends=True)))
    bags = [
        {zlib.crc32(x.encode()) % words for x in re.findall(r"[a-z']+|\d+", line["text"].lower())} for line in lines
    ]
    starts, columns = np.cumsum([0, *map(len, bags)]), np.array([x for bag in bags for x in sorted(bag)])
    data = csr_matrix((np.ones(len(columns)), columns, starts), (len(bags), words))
    return linear(data, np.array([1.0 if "card" in line["category"] else -1.0 for line in lines]), 0.1)


def dense(samples: int, features: int) -> Problem:
    """Every sample touches every weight."""
    from scipy.sparse import csr_matrix

    made = np.random.default_rng(0)
    data = made.standard_normal((samples, features)) / features**0.5
    return linear(csr_matrix(data), np.sign(data @ made.standard_normal(features)), 0.5)


def completion(rows: int, columns: int, rank: int, entries: int) -> Problem:
    """A matrix of that rank with noise."""
    made = torch.Generator().manual_seed(0)
    at = [torch.randint(0, n, (entries,), generator=made) for n in (rows, columns)]
    whole = [torch.randn(n, rank, generator=made, dtype=torch.float64) / rank**0.25 for n in (rows, columns)]
    values = (whole[0][at[0]] * whole[1][at[1]]).sum(1) + 0.1 * torch.randn(entries, generator=made)
    start = [0.3 * torch.randn(n, rank, generator=made, dtype=torch.float64) for n in (rows, columns)]

    def begin() -> MatrixCompletion:
        return MatrixCompletion(at[0], at[1], values, ravine.SGD([nn.Parameter(x.clone()) for x in start], lr=0.05))

    return Problem(begin, entries)


MAKE: dict[str, Callable[..., Problem | str]] = {
    "sparse": synthetic,
    "banking77": banking,
    "completion": completion,
    "dense": dense,
}


def scikit(problem: Problem, times: Times) -> None:
    """One run of SGDClassifier on the same samples with the same step."""
    from sklearn.linear_model import SGDClassifier

    fixed: dict[str, Any] = {
        "tol": None,
        "loss": "log_loss",
        "penalty": None,
        "learning_rate": "constant",
        "eta0": problem.rate,
    }
    model = SGDClassifier(**fixed, fit_intercept=False, max_iter=EPOCHS, random_state=len(times.losses))
    began, busy = time.monotonic(), time.thread_time()
    model.fit(problem.data, problem.targets)
    times.processor.append((time.thread_time() - busy) / EPOCHS)
    times.seconds.append((time.monotonic() - began) / EPOCHS)
    weights: Any = model.coef_
    margin = problem.targets * (problem.data @ weights[0])
    times.losses.append(float(np.logaddexp(0, -margin).mean()))


def measure(record: Record, case: str, rounds: int) -> None:
    """A row."""
    problem = MAKE[case.split(",")[0]](*CASES[case])
    if isinstance(problem, str):
        record.leave("hogwild", case, problem)
        return
    names = [*WORKERS, *(["scikit-learn"] if problem.data is not None else [])]
    times = {name: Times() for name in names}
    problem.begin().fit(1)  # it is compiled
    for _ in range(rounds):
        for name, found in times.items():
            if name == "scikit-learn":
                scikit(problem, found)
                continue
            own = problem.begin()
            own.fit(EPOCHS, **WORKERS[name])
            found.seconds += own.seconds
            found.processor += [statistics.mean(worked) for worked in own.worked]
            found.losses.append(own.loss())
    seconds = {name: statistics.median(x.seconds) for name, x in times.items()}
    processor = {name: statistics.median(x.processor) for name, x in times.items()}
    ratios = {f"{name}/serial": seconds["serial"] / seconds[name] for name in names if name != "serial"}
    two = [name for name in names if name[0] == "2"]
    fastest = {name: min(x.seconds) for name, x in times.items()}
    ratios |= {f"{name}/serial, processor": processor["serial"] / processor[name] for name in two}
    ratios |= {f"{name}/serial, fastest": fastest["serial"] / fastest[name] for name in two}
    if "scikit-learn" in names:
        ratios["serial/scikit-learn"] = processor["scikit-learn"] / processor["serial"]
    more = {
        "processor": processor,
        "samples": problem.samples,
        "losses": {name: statistics.mean(x.losses) for name, x in times.items()},
        "samples a second": {name: problem.samples / x for name, x in processor.items()},
        "fastest": fastest,
        "slowest": {name: max(x.seconds) for name, x in times.items()},
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    record.say("hogwild", case, seconds, ratios, {"serial/scikit-learn": ("at least", 0.5)}, **more)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as the tables of docs/hogwild.md: samples a second, then what two workers gain, then losses."""
    two = [name for name in WORKERS if name != "serial"]
    lines = ["| | serial, samples/s | scikit-learn | serial / scikit-learn |", "|---|---|---|---|"]
    for row in rows:
        speed, ratio = row["samples a second"], row["ratios"].get("serial/scikit-learn")
        other = f"{speed['scikit-learn']:,.0f} | {ratio:.2f}" if ratio else " | "
        lines.append(f"| {row['model']} | {speed['serial']:,.0f} | {other} |")
    lines += ["", f"| times serial | {' | '.join(two)} |", "|---" * (1 + len(two)) + "|"]
    for row in rows:
        gains = [f"{row['ratios'][f'{x}/serial, processor']:.2f} ({row['ratios'][f'{x}/serial']:.2f})" for x in two]
        lines.append(f"| {row['model']} | {' | '.join(gains)} |")
    names = [*WORKERS, "scikit-learn"]
    lines += ["", f"| loss | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for row in rows:
        losses = [f"{row['losses'][x]:.4f}" if x in row["losses"] else "" for x in names]
        lines.append(f"| {row['model']} | {' | '.join(losses)} |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, "hogwild-cpu.json", rounds=3)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="cases")
    args = parser.parse_args()
    torch.set_num_threads(1)
    record = Record()
    for case in args.only:
        measure(record, case, args.rounds)
    record.write(args.out)
    print(table([row for row in record.rows if "reason" not in row]))


if __name__ == "__main__":
    main()
