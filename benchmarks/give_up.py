"""What does `ravine compare --give-up SHARE` save, and what does it cost? From the trials of comparisons.

    python benchmarks/give_up.py FOLDER …       folders of ravine compare (--out): benchmarks/results/give-up-cpu.json

A trial of the search is given up whose validation loss is not below its first after this share of its steps; it then
counts as one that diverged. For each folder, of the longest trials of the search in it, and each share: how many of
those that did not diverge are given up, the share of all steps that this saves, how many of them end below their first
loss (wrongly given up), and by how much the loss to be expected of a search of a quarter of the trials changes at most,
among the methods that have as many trials as any.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import RESULTS, command_line, machine

from ravine.lab.protocol.judged import sample
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.study import SELECTION
from ravine.lab.protocol.trial import Result, doubted

SHARES = (0.1, 0.25, 0.5)


def searched(folder: Path) -> dict[str, list[Result]]:
    """The trials of the search of each method, those with most epochs."""
    with Reading(folder) as records:
        rows = [row for row in records.rows() if row.trial.seed >= SELECTION]
    found = defaultdict[str, list[Result]](list)
    for row in rows:
        if row.trial.epochs == max(r.trial.epochs for r in rows):
            found[row.trial.optimizer].append(row.result)
    return found


def given_up(result: Result, share: float) -> Result:
    """What the rule makes of it."""
    at = doubted(set(result.step), share * result.step[-1])
    i = result.step.index(at)
    if result.diverged_at is not None or result.valid[i] < result.valid[0]:
        return result
    return replace(result, diverged_at=at, step=result.step[: i + 1], valid=result.valid[: i + 1])


def expected(runs: Sequence[Result]) -> float:
    """Of a search of a quarter of them."""
    return fmean(sample(runs, max(1, min(16, len(runs) // 4))).values)


def row(task: str, found: dict[str, list[Result]], share: float) -> dict[str, Any]:
    """One task and share."""
    runs = [r for of in found.values() for r in of]
    whole = [r for r in runs if r.diverged_at is None]
    stopped = [(r, now) for r in whole if (now := given_up(r, share)) is not r]
    full = {name: of for name, of in found.items() if len(of) == max(map(len, found.values()))}
    moved = {name: expected([given_up(r, share) for r in of]) / expected(of) - 1 for name, of in full.items()}
    most = max(moved, key=lambda name: abs(moved[name]))
    return {
        "task": task, "share": share, "methods": len(found), "trials": len(runs), "diverged": len(runs) - len(whole),
        "given up": len(stopped), "wrongly": sum(r.valid[-1] < r.valid[0] for r, _ in stopped),
        "steps saved": sum(r.step[-1] - now.step[-1] for r, now in stopped) / sum(r.step[-1] for r in runs),
        "loss of a search changes at most": moved[most], "of": most,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "give-up-cpu.json")
    args = parser.parse_args()
    told = [row(folder.name, found, share) for folder in args.folders if (found := searched(folder))
            for share in SHARES]  # fmt: skip
    for line in told:
        print(json.dumps(line))
    record = {"command": command_line(), "date": date.today().isoformat(), "machine": machine("cpu"), "found": told}
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
