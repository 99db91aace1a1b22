"""Is `ravine advise` worth following? Each task is advised on by the others alone, beside always taking one method.

    python benchmarks/advice.py                  hours; stopped and started again it goes on: --work keeps the trials
    python benchmarks/advice.py --only digits adult

Every task is compared at the standard tier and at the smoke tier, which is what `ravine advise` runs, for the epochs
below. It writes what advise reads, src/ravine/lab/protocol/evidence.json, and benchmarks/results/advice-cpu.json, which
also has the best setting of each method, of which docs/migrate.md is made. Tasks that are not in this run stay as they
were.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import RESULTS, command_line, machine
from torch import nn

import ravine
from ravine.lab.commands.one_task import on
from ravine.lab.protocol.evidence import EVIDENCE, Seen, evidence, left_out, traits
from ravine.lab.protocol.outcome import Outcome
from ravine.lab.protocol.settings import Settings
from ravine.lab.tasks import load_task

METHODS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adam", "adamw", "nadam", "radam", "lion", "muon", "soap")
EPOCHS = {  # fewer than the task's where those take too long for twelve methods
    "digits": 30,
    "adult": 5,
    "noisy-quadratic": 8,
    "banking77": 10,
    "deep-narrow": 2,
    "autoencoder": 1,
    "fashion-mnist": 1,
    "fashion-mnist-cnn": 1,
    "fashion-mnist-cnn-bn": 1,
    "tinyshakespeare": 1,
    "tinyshakespeare-lstm": 1,
    "programs": 1,
}
HALF = tuple(EPOCHS)[5:]  # a trial takes 4 to 60 seconds: 16 points a method instead of the tier's 32
TOO_SLOW = {"fashion-mnist-cnn": "soap", "fashion-mnist-cnn-bn": "soap"}  # 0.6 s a step: a layer is 3136 wide
TRUST = (0.0, 0.5, 1.0)
Best = dict[str, dict[str, float]]  # each method's best setting, as its space calls the numbers


def see(name: str, work: Path, workers: str | None) -> tuple[Seen, Best]:
    """Both tiers of one task."""
    task = load_task(name)
    methods = task.optimizers or tuple(m for m in METHODS if fits(m, task.model()) and m != TOO_SLOW.get(name))

    def found(tier: str, epochs: int, points: int | None = None) -> Outcome:
        settings = Settings(tasks=(name,), optimizers=methods, tier=tier, epochs=epochs, points=points, workers=workers)
        return on(name, task, work / name, settings, f"benchmarks/advice.py, {tier}")

    whole = found("standard", EPOCHS[name], 16 if name in HALF else None)
    short = found("smoke", math.ceil(EPOCHS[name] / 10))
    losses = {m.card.ours: m.loss for m in whole.methods}
    first = {m.card.ours: m.validation for m in short.methods}  # as ravine advise chooses, which sees no test loss
    return Seen(name, traits(task, task.load()), losses, first), {m.card.ours: m.hyper for m in whole.methods}


def fits(method: str, model: nn.Module) -> bool:
    """False of a method for matrices where the model has none inside it."""
    try:
        return bool(ravine.create(method, model))
    except ValueError:
        return False


def interval(values: list[float], resamples: int = 10_000) -> tuple[float, float]:
    """Where the mean over tasks lies, 95 %, by resampling tasks."""
    draw = random.Random(0)
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(resamples))
    return means[round(0.025 * resamples)], means[round(0.975 * resamples) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--work", type=Path, default=Path("runs/advice"), help="the folder of the trials")
    parser.add_argument("--workers")
    parser.add_argument("--out", type=Path, default=RESULTS / "advice-cpu.json")
    args = parser.parse_args()
    seen = {one.task: one for one in evidence()}
    best: dict[str, Best] = json.loads(args.out.read_text())["best"] if args.out.exists() else {}
    for name in args.only:
        seen[name], best[name] = see(name, args.work, args.workers)
        write(list(seen.values()), best, args.out)


def write(seen: list[Seen], best: dict[str, Best], out: Path) -> None:
    """The evidence, and what following it would have been worth."""
    EVIDENCE.write_text(json.dumps({"tasks": [one.json() for one in seen]}, indent=1) + "\n", encoding="utf-8")
    ways: dict[str, dict[str, float]] = {}
    for trust in TRUST:
        regrets = left_out(seen, trust)
        ways[f"advice, trust {trust:g}"] = regrets.pop("advice")
        ways |= regrets
    rows: list[dict[str, Any]] = []
    for way, regrets in ways.items():
        capped = [min(x, 1.0) for x in regrets.values()]
        (low, high), mean = interval(capped), fmean(capped)
        rows.append({"way": way, "mean regret": mean, "low": low, "high": high, "regrets": regrets})
        print(
            f"{way:20} {math.expm1(mean):7.1%} more loss than the best, {math.expm1(low):.1%} to {math.expm1(high):.1%}"
        )
    advice, usual = (ways[way] for way in ("advice, trust 0.5", "always adamw"))
    gained = [min(advice[task], 1.0) - min(usual[task], 1.0) for task in usual]
    low, high = interval(gained)
    record = {
        "command": command_line(), "date": date.today().isoformat(), "machine": machine("cpu"),
        "advice less always adamw": {"mean": fmean(gained), "low": low, "high": high},
        "epochs": {one.task: EPOCHS[one.task] for one in seen},
        "points": {one.task: 16 if one.task in HALF else 32 for one in seen}, "ways": rows, "best": best,
        "losses": {one.task: one.losses for one in seen},
    }  # fmt: skip
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
