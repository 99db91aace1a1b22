"""Does noise in the gradients start a deep network that does not learn, and how often?

    RAVINE_DATA=FOLDER python benchmarks/gradient_noise.py    minutes: benchmarks/results/gradient-noise-cpu.json

The task deep-narrow from ten seeds, which choose the weights, the batches and the noise: 1,500 steps of SGD at rate 0.1
with each list of modifiers, and of Adam at 0.001. What is kept of a run is the mean loss of its last 100 batches; null
where a loss was not finite, from which no run comes back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import date
from math import isfinite
from pathlib import Path
from statistics import fmean

import torch
from bench import RESULTS, command_line, machine
from torch import nn

import ravine
from ravine.lab.tasks import Data, load_task
from ravine.mods import ClipNorm, GradientNoise

Make = Callable[[Sequence[nn.Parameter], int], ravine.Optimizer]
STEPS, LAST, BATCH, SEEDS = 1500, 100, 64, 10
RUNS: dict[str, Make] = {
    "SGD": lambda params, seed: ravine.SGD(params, lr=0.1),
    "SGD, noise 0.01": lambda params, seed: ravine.SGD(params, lr=0.1, mods=[GradientNoise(0.01, seed=seed)]),
    "SGD, noise 0.1": lambda params, seed: ravine.SGD(params, lr=0.1, mods=[GradientNoise(0.1, seed=seed)]),
    "SGD, noise 1": lambda params, seed: ravine.SGD(params, lr=0.1, mods=[GradientNoise(1.0, seed=seed)]),
    "SGD, clip 1": lambda params, seed: ravine.SGD(params, lr=0.1, mods=[ClipNorm(1.0)]),
    "SGD, clip 1, noise 0.1": lambda params, seed: ravine.SGD(
        params, lr=0.1, mods=[ClipNorm(1.0), GradientNoise(0.1, seed=seed)]
    ),
    "Adam": lambda params, seed: ravine.Adam(params, lr=1e-3),
}


def final(make: Make, model: Callable[[], nn.Module], data: Data, seed: int, steps: int = STEPS) -> float | None:
    """The mean loss of the last batches of one run, or None where one was not finite."""
    torch.manual_seed(seed)
    net = model()
    opt = make(list(net.parameters()), seed)
    losses: list[float] = []
    for _ in range(steps):
        rows = torch.randint(len(data.x), (BATCH,))
        loss = nn.functional.cross_entropy(net(data.x[rows]), data.y[rows])
        if not isfinite(loss.item()):
            return None
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return fmean(losses[-LAST:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=RESULTS / "gradient-noise-cpu.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task("deep-narrow")
    data, found = task.data(), {}
    for name, make in RUNS.items():
        found[name] = [final(make, task.model, data, seed, asked.steps) for seed in range(asked.seeds)]
        print(f"{name:24}", " ".join("nan" if x is None else f"{x:.2f}" for x in found[name]), flush=True)
    record = {"command": command_line(), "date": str(date.today()), "machine": machine("cpu"), "losses": found}
    asked.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
