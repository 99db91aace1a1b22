"""How far is the range test's suggestion from the best rate of a real search, and what does it cost to believe it?

    RAVINE_DATA=FOLDER python benchmarks/lr_find.py    half an hour: benchmarks/results/lr-find-cpu.json

The record says with which options its other rows were made.

For each task and optimizer: `ravine lr-find`, then whole trainings at rates four to a decade and at the suggestion.
The best rate is that of the lowest mean validation loss; how it was found is in the output, every loss of it.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from inspect import signature
from math import ceil, floor, inf, isfinite, log10
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from bench import RESULTS, command_line, machine

from ravine.lab import Task
from ravine.lab.commands import lr_find
from ravine.lab.protocol.search import optimizer_class
from ravine.lab.protocol.spaces import FOLLOWED, space_of
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import Data, load_task

PER_DECADE = 4
SEEDS = 2
PROTOCOL = (
    "search: final validation losses of two seeds at each rate, four to a decade over the published range of the "
    "optimizer, and further while the best is at an end; the best is that of the lowest mean. suggestion: of ravine "
    "lr-find as it is by default."
)
Search = list[tuple[float, list[float | None]]]


def search(task: Task, data: Data, epochs: int, cls: type, schedule: str) -> Search:
    """Every rate that was tried, and its losses."""
    space, beta = space_of(cls), signature(cls).parameters.get("momentum")
    low, high = space["lr"] if "lr" in space else (x * (1 - beta.default) for x in space[FOLLOWED] if beta)
    first, last = floor(PER_DECADE * log10(low) + 1e-6), ceil(PER_DECADE * log10(high) - 1e-6)
    tried = {i: finals(task, data, epochs, cls, rate(i), schedule) for i in range(first, last + 1)}
    for _ in range(2 * PER_DECADE):
        best = min(tried, key=lambda i: mean(tried[i]))
        beyond = {min(tried): best - 1, max(tried): best + 1}.get(best)
        if beyond is None:
            break
        tried[beyond] = finals(task, data, epochs, cls, rate(beyond), schedule)
    return [(rate(i), tried[i]) for i in sorted(tried)]


def rate(i: int) -> float:
    """Four to a decade."""
    return float(f"{10 ** (i / PER_DECADE):.3g}")


def finals(task: Task, data: Data, epochs: int, cls: type, lr: float, schedule: str) -> list[float | None]:
    """Validation losses at the end, with seeds that the range test has not had; None where it diverged."""
    out: list[float | None] = []
    for seed in range(100, 100 + SEEDS):
        trial = Trial(task.name, cls.__name__, (("lr", lr),), seed, epochs, task.batch, "", schedule=schedule)
        final = run(trial, task, data, cls)[0].final
        out.append(final if isfinite(final) else None)
    return out


def mean(losses: list[float | None]) -> float:
    """Infinite if one diverged."""
    return fmean(inf if x is None else x for x in losses)


def measure(name: str, optimizer: str, epochs: int | None, schedule: str, before: dict[str, Any]) -> dict[str, Any]:
    """One row; `before` has the search, if it was made."""
    task = load_task(name)
    data, cls = task.load(), optimizer_class(optimizer)
    epochs = epochs or task.epochs
    found = lr_find.test(task, data, lr_find.Settings(task=name, optimizer=optimizer))
    made = before.get("search") if before.get("epochs") == epochs else None
    tried: Search = made or search(task, data, epochs, cls, schedule)
    best, at_best = min(tried, key=lambda x: mean(x[1]))
    at_suggestion = finals(task, data, epochs, cls, found.lr, schedule) if found.lr else []
    print(f"{name:15} {optimizer:9} suggestion {found.lr or 0:.2g}, best {best:.2g}, "
          f"loss {mean(at_suggestion or [None]):.4f} and {mean(at_best):.4f}", flush=True)  # fmt: skip
    return {
        "task": name,
        "optimizer": optimizer,
        "epochs": epochs,
        "schedule": schedule,
        "suggestion": found.lr,
        "reason": found.reason,
        "best": best,
        "suggestion/best": found.lr and round(found.lr / best, 3),
        "losses at the suggestion": at_suggestion,
        "losses at the best": at_best,
        "search": tried,
        "curve": [[float(f"{lr:.3g}"), round(x, 4)] for lr, x in zip(found.lrs, found.smooth, strict=False)],
    }


def table(record: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| task, epochs | optimizer | suggestion | best of a search | ratio | validation loss with each |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["searches"]:
        losses = [mean(row[f"losses at the {which}"]) for which in ("suggestion", "best")]
        schedule = "" if row["schedule"] == "constant" else f", {row['schedule']}"
        cells = (f"{row['task']}, {row['epochs']}{schedule}", row["optimizer"], f"{row['suggestion']:.2g}",
                 f"{row['best']:.2g}", f"{row['suggestion/best']:.2g}",
                 " and ".join(f"{x:.3f}" for x in losses))  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    ratios = [row["suggestion/best"] for row in record["searches"]]
    near = [sum(1 / n <= x <= n for x in ratios) for n in (2, 3)]
    lines += [
        "",
        f"{near[0]} of {len(ratios)} suggestions are within a factor of two of the best rate, {near[1]} within three.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Reads what is there, measures the rest, writes after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="digits,fashion-mnist")
    parser.add_argument("--optimizers", default="sgd,momentum,adam")
    parser.add_argument("--epochs", default="fashion-mnist=1", help="shorter trainings, as TASK=N")
    parser.add_argument("--schedule", default="constant", help="of the search, as ravine compare has it")
    parser.add_argument("--out", type=Path, default=RESULTS / "lr-find-cpu.json")
    parser.add_argument("--table", action="store_true", help="print what is in it, as docs/lr_find.md has it")
    asked = parser.parse_args()
    if asked.table:
        return print(table(json.loads(asked.out.read_text())))
    epochs = {name: int(n) for name, n in (x.split("=") for x in asked.epochs.split(",") if x)}
    torch.set_num_threads(1)
    before = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    rows = {(row["task"], row["optimizer"], row["schedule"]): row for row in before.get("searches", [])}
    for task in asked.tasks.split(","):
        for optimizer in asked.optimizers.split(","):
            key = (task, optimizer, asked.schedule)
            rows[key] = measure(task, optimizer, epochs.get(task), asked.schedule, rows.get(key, {}))
            record = {
                "commands": [*dict.fromkeys([*before.get("commands", []), command_line()])],
                "date": date.today().isoformat(),
                "machine": machine("cpu"),
                "protocol": PROTOCOL,
                "searches": list(rows.values()),
            }
            asked.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
