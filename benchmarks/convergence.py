"""Does a compressed state cost quality? The same weights and the same batches, with states in float32, bf16 and int8.

    RAVINE_DATA=FOLDER python benchmarks/convergence.py    an hour on 2 cores: benchmarks/results/convergence.json
    python benchmarks/convergence.py --table               what is in it, as a table

FOLDER holds fashion-mnist/ and tinyshakespeare/; without it they are downloaded.

Each optimizer trains each task at one constant learning rate: of those tried the best for float32, with a seed that
is not reported. Every finished run is written at once, and one that is there is not run again, so the command may be
stopped and given again, for other tasks, optimizers or storages too. What the task does is looked at (a change
throws its runs away); the code of ravine is not: after a change of a rule or a codec name another --out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import torch
from bench import RESULTS, command_line, machine

from ravine.lab import LabError
from ravine.lab.protocol.search import optimizer_class
from ravine.lab.protocol.trial import Result, Trial
from ravine.lab.sweep.sweep import TrialFailed, sweep
from ravine.lab.tasks import Data, load_task

HERE = Path(__file__).parent
STORAGES = ("float32", "bf16", "int8")
SELECTION = 1000  # the seed that chooses the rate; those reported are 0, 1, 2 …
RATES = {
    "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "lion": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "adagrad": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "radam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "adabelief": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
PROTOCOL = (
    "Final validation loss after the steps of each task, at a constant learning rate: of those tried the one with the "
    f"lowest final loss in float32 with seed {SELECTION}, which is not reported. Storages are compared with the same "
    "initial weights and batches for each seed. 'difference' is compressed minus float32, paired by seed: its mean and "
    "its standard deviation over seeds. 'within' says whether the mean loss of the compressed runs lies in the spread "
    "of float32: between the lowest and the highest loss of its runs with the same seeds. Standard deviations are of "
    "samples (n - 1)."
)


@dataclass(frozen=True)
class Part:
    """How much of a task is used: rows, spread evenly over all, and epochs."""

    train: int
    valid: int
    epochs: int

    def of(self, data: Data) -> Data:
        rows = (self.train, self.train, self.valid, self.valid)
        parts = (data.x, data.y, data.x_valid, data.y_valid)
        return Data(*(d[:: len(d) // n][:n].clone() for d, n in zip(parts, rows, strict=True)))


PARTS = {
    "fashion-mnist": Part(train=50_000, valid=10_000, epochs=2),
    "fashion-mnist-cnn": Part(train=30_000, valid=2_000, epochs=2),
    "tinyshakespeare": Part(train=15_685, valid=256, epochs=1),
}


def measure(record: dict[str, Any], name: str, args: argparse.Namespace) -> None:
    """Adds to `record` what it lacks of a task: first the runs that choose the rates, then those that are reported."""
    task, part = load_task(name), PARTS[name]
    data = part.of(task.load())
    does = f"{part.epochs} epochs of {task.rehearse(data)}"
    stale = [run for run in record["runs"] if run["task"] == name and run["content"] != does]
    if stale:
        print(f"{name}: {len(stale)} runs were of another task of this name, and go")
        record["runs"] = [run for run in record["runs"] if run not in stale]
    record["tasks"][name] = {
        "about": task.about, "metric": task.metric_name, "batch": task.batch, "epochs": part.epochs,
        "steps": part.epochs * -(-len(data.x) // task.batch), "rows": len(data.x), "validation rows": len(data.x_valid),
    }  # fmt: skip

    def trial(optimizer: str, lr: float, seed: int, storage: str = "float32") -> Trial:
        hyper: Any = (("lr", lr),) if storage == "float32" else (("lr", lr), ("storage", storage))
        return Trial(name, optimizer, hyper, seed, part.epochs, task.batch, does)

    def run(trials: list[Trial]) -> dict[Trial, float]:
        done = {run["key"] for run in record["runs"]}
        todo = deque((t,) for t in trials if t.key not in done)
        for kind, at, result in sweep(todo, name, None, data, args.workers):
            if kind == "failed":
                raise TrialFailed(f"{at.optimizer} at {dict(at.hyper)} with seed {at.seed}: {result}")
            if kind == "result":
                record["runs"].append(row(at, result))
                write(record, args.out, args.workers)
                print(f"{name} {at.optimizer} {dict(at.hyper)} seed {at.seed}: {result.final:.4f}", flush=True)
        loss = {run["key"]: run["loss"] for run in record["runs"]}
        return {t: math.inf if loss[t.key] is None else loss[t.key] for t in trials}

    tried = run([trial(optimizer, lr, SELECTION) for optimizer in args.optimizers for lr in RATES[optimizer]])
    rates = record["rates"].setdefault(name, {})
    for optimizer in args.optimizers:
        rates[optimizer] = min((loss, t.lr) for t, loss in tried.items() if t.optimizer == optimizer)[1]
    run([trial(o, rates[o], seed, s) for seed in range(args.seeds) for o in args.optimizers for s in args.storages])
    write(record, args.out, args.workers)


def row(trial: Trial, result: Result) -> dict[str, Any]:
    """A run as it is kept; what diverged has no loss."""
    lost = result.diverged_at is not None
    return {
        "task": trial.task, "optimizer": trial.optimizer, "storage": dict(trial.hyper).get("storage", "float32"),
        "seed": trial.seed, "lr": trial.lr, "loss": None if lost else result.valid[-1],
        "metric": None if lost else result.metric[-1], "diverged at": result.diverged_at,
        "seconds": round(result.seconds, 2), "date": date.today().isoformat(), "commit": commit(),
        "content": trial.content, "key": trial.key,
    }  # fmt: skip


def summary(record: dict[str, Any]) -> list[dict[str, Any]]:
    """For each task and optimizer what its storages reach over seeds, and how far from float32 they are."""
    out = []
    for task, rates in record["rates"].items():
        for optimizer, lr in rates.items():
            at = {"task": task, "optimizer": optimizer, "lr": lr}
            runs = [run for run in record["runs"] if run["seed"] != SELECTION and at.items() <= run.items()]
            of = {s: {run["seed"]: run for run in runs if run["storage"] == s} for s in STORAGES}
            reached = {s: compared(found, of["float32"]) for s, found in of.items() if found}
            out.append({**at, "name": optimizer_class(optimizer).__name__, "storages": reached})
    return out


def compared(found: dict[int, dict[str, Any]], wide: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The runs {seed: run} of a storage: their spread, and beside those of float32 with the same seeds."""
    out: dict[str, Any] = {
        "seeds": sorted(found),
        "diverged": sum(run["loss"] is None for run in found.values()),
        "loss": spread([run["loss"] for run in found.values()]),
        "metric": spread([run["metric"] for run in found.values()]),
    }
    pairs = [(found[seed]["loss"], wide[seed]["loss"]) for seed in found.keys() & wide.keys()]
    if found is wide or not pairs or any(None in pair for pair in pairs):
        return out
    low, high = min(b for _, b in pairs), max(b for _, b in pairs)
    mean = statistics.fmean(a for a, _ in pairs)
    return {
        **out,
        "difference": spread([a - b for a, b in pairs]),
        "spread": [low, high],
        "within": low <= mean <= high,
    }


def spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean and standard deviation; of runs of which one diverged there is none."""
    known = [x for x in values if x is not None]
    if len(known) < len(values):
        return None
    return {"mean": statistics.fmean(known), "sd": statistics.stdev(known) if len(known) > 1 else None}


def table(record: dict[str, Any]) -> str:
    """The summary in Markdown: a row for each task and optimizer; validation loss, mean ± standard deviation."""
    short = [s for s in STORAGES if s != "float32"]
    head = (
        "task",
        "optimizer",
        "lr",
        "float32",
        *(f"{s} − float32" for s in short),
        f"{' / '.join(short)} within spread?",
    )
    lines = [head, ("---",) * len(head)]
    for at in record["summary"]:
        reached = [at["storages"].get(s, {}) for s in short]
        wide = number(at["storages"].get("float32", {}).get("loss"), "")
        differ = [number(x.get("difference"), "+") if not x.get("diverged") else "diverged" for x in reached]
        within = " / ".join(place(x) for x in reached)
        lines.append((at["task"], at["name"], f"{at['lr']:g}", wide, *differ, within))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def place(x: dict[str, Any]) -> str:
    """Where the mean of a compressed state lies, seen from the spread of float32."""
    if "within" not in x:
        return "–"
    return "yes" if x["within"] else "no (lower)" if x["difference"]["mean"] < 0 else "no (higher)"


def number(x: dict[str, float | None] | None, sign: str) -> str:
    """A mean ± its standard deviation; a dash for what was not measured."""
    if x is None:
        return "–"
    return f"{x['mean']:{sign}.4f}" + ("" if x["sd"] is None else f" ± {x['sd']:.4f}")


def load(path: Path) -> dict[str, Any]:
    """What is there already."""
    empty: dict[str, Any] = {"tasks": {}, "rates": {}, "runs": []}
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def write(record: dict[str, Any], path: Path, workers: int) -> None:
    """Whole or not at all: what was there stays until the new one is complete."""
    found = {
        "command": command_line(),
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": {**machine("cpu"), "workers": workers},
        "protocol": PROTOCOL,
        **{key: record[key] for key in ("tasks", "rates")},
        "summary": summary(record),
        "runs": record["runs"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


@cache
def commit() -> str:
    """Of the code that is running."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="TASK", help=", ".join(PARTS))
    parser.add_argument(
        "--optimizers", nargs="+", choices=RATES, default=list(RATES), metavar="NAME", help=", ".join(RATES)
    )
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=list(STORAGES))
    parser.add_argument("--seeds", type=int, default=5, help="runs of each; 0 only chooses the rates")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS / "convergence.json", help="where the JSON goes")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    args = parser.parse_args()
    record = load(args.out)
    if args.table:
        print(table(record))
        return 0
    torch.set_num_threads(1)
    try:
        for name in args.only:
            measure(record, name, args)
    except (LabError, TrialFailed) as error:
        print(f"{error}\nwhat was finished is kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, the same command goes on", file=sys.stderr)
        return 130
    print(f"{table(load(args.out))}\n\nwritten to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
