"""What does the simulator cost, and which staleness policy is best on ten thousand machines?

    python benchmarks/simulate.py                     all questions, and benchmarks/results/simulate-cpu.json
    python benchmarks/simulate.py --only speed delay  some of them; the others' rows are kept

speed: vector events a second: one is a gradient of 1,000 float32 numbers, computed and applied by a real shard.
    Seconds are those of the thread, so what others do on the machine counts as far as it takes caches away.
delay: AdaptiveRevision beside AdaGrad by delay (McMahan & Streeter 2014), the best rate of a grid.
policies: staleness policies on volunteers' machines (`Cluster.internet`): log-normal paces and bandwidths, churn by the
    hour, 1 % of workers with NaN. The step size of each is tuned with seed 0; what is told are other seeds.
linear: the same where worker i takes i + |N(0, √i)| seconds for a gradient, without failures.
Intervals are mean ± t · s / √n over seeds, 95 %.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Record, arguments

import ravine
from ravine.optimizer.step import again
from ravine.parallel.rules import AdaptiveRevision, AsyncAdaGrad, DualAveragingAdaGrad
from ravine.parallel.server.admit import Buffer, Finite, MaxStaleness, Policy, StalenessLR
from ravine.parallel.simulate import Asynchronous, Cluster, Constant, Exponential, Quadratic, SparseLogistic, simulate
from ravine.parallel.simulate.world import World

T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # of Student's t, by the number of seeds


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval."""
    return statistics.mean(values), T95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


class Kept(Record):
    """A record of several questions, each of which can be asked again by itself; it is written as it grows."""

    def __init__(self, out: Path, again: Sequence[str]):
        super().__init__()
        self.out = out
        kept = json.loads(out.read_text())["rows"] if out.exists() else []
        self.rows = [x for x in kept if x["question"] not in again]


# speed


def speed(record: Kept, rounds: int) -> None:
    """Vector events a second, and what the parts of one cost."""
    problem, rules = Quadratic(1000, noise=0.01), {"sgd": ravine.SGD, "adagrad": ravine.Adagrad}
    rules["adaptive-revision"] = AdaptiveRevision
    cases = [("sgd", 16), ("sgd", 1000), ("sgd", 10_000), ("adagrad", 1000), ("adaptive-revision", 1000)]
    worlds = {}
    for name, workers in cases:
        method, cluster = Asynchronous(partial(rules[name], lr=1e-4)), Cluster(workers, Exponential(1.0))
        worlds[name, workers] = World(problem, method, cluster, watched=0)
        worlds[name, workers].advance(1.0)
    p = torch.nn.Parameter(torch.zeros(1000))
    p.grad = torch.zeros(1000)
    opt = ravine.SGD([p], lr=1e-4)
    opt.step()
    times: dict[str, list[float]] = {}

    def timed(what: str, do: Callable[[], Any], count: Callable[[], int]) -> None:
        before, start = count(), time.thread_time()
        do()
        spent = time.thread_time() - start
        times.setdefault(what, []).append(spent / (count() - before))

    calls = [0]

    def repeat(do: Callable[[], Any]) -> Callable[[], None]:
        def many() -> None:
            for _ in range(2000):
                do()
            calls[0] += 2000

        return many

    with torch.no_grad():
        for _ in range(rounds):
            timed("again(opt)", repeat(lambda: again(opt)), lambda: calls[0])
            timed("gradient", repeat(lambda: problem.gradient([p], 0, calls[0])), lambda: calls[0])
            for (name, workers), world in worlds.items():
                todo = partial(world.advance, world.now + 4000 / workers)
                timed(f"{name}, {workers} workers", todo, lambda world=world: world.events)
    seconds = {k: statistics.median(x) for k, x in times.items()}
    best = {f"{k}, best": min(x) for k, x in times.items()}
    events = {k: round(1 / x) for k, x in seconds.items() if "workers" in k}
    quickest = {k: round(1 / min(x)) for k, x in times.items() if "workers" in k}
    record.rows.append({"question": "speed", "seconds": seconds | best, "events a second": events, "at best": quickest,
                        "target": "20,000 events a second, 1,000 float32 numbers, one core"})  # fmt: skip
    print(json.dumps(record.rows[-1], indent=1), flush=True)


# delay


def delay(record: Kept, rounds: int) -> None:
    """Loss in the second half of a run whose every step is `delay` late, at the best rate of a grid."""
    for late, steps in ((0, 12_000), (100, 12_000), (1000, 12_000), (5000, 12_000), (5000, 30_000)):
        delayed(record, late, steps)


def delayed(record: Kept, late: int, steps: int) -> None:
    """One delay."""
    problem, rates, told = SparseLogistic(4000, 1000, 10), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), dict[str, Any]()
    for rule in (AsyncAdaGrad, DualAveragingAdaGrad, AdaptiveRevision):
        found = {lr: late_loss(problem, rule, lr, late, steps) for lr in rates}
        best = min(found, key=lambda lr: found[lr] if found[lr] == found[lr] else math.inf)
        told[rule.__name__] = {"loss": found[best], "lr": best, "tried": found}
    record.rows.append({"question": "delay", "delay": late, "steps": steps, "rates": rates, "best": told})
    record.write(record.out)
    print(late, steps, told, flush=True)


def late_loss(problem: SparseLogistic, rule: Any, lr: float, late: int, steps: int) -> float:
    """The mean loss in the second half."""
    cluster, method = Cluster(late + 1, Constant(1.0)), Asynchronous(partial(rule, lr=lr))
    run = simulate(problem, method, cluster, pushes=steps, samples=20, lanes=0)
    half = [x for v, x in zip(run.versions, run.losses, strict=True) if v > steps / 2]
    return statistics.mean(half)


# policies

# of a scale that staleness suggests: no method is judged by a rate that suits another
TIMES = (0.02, 0.1, 0.5, 2.0, 6.0, 20.0)
LATE = (0.03, 0.1, 0.3, 1.0, 3.0, 6.0)  # where nobody is much faster than the rest, and all are late


def policies_of(workers: int) -> dict[str, tuple[float, list[Policy]]]:
    """The scale of rates, and the policies; each with Finite, without which one NaN worker ends all."""
    part = max(1, workers // 10)
    made: dict[str, tuple[float, list[Policy]]] = {
        "none": (1 / workers, []),
        "StalenessLR": (1.0, [StalenessLR()]),
        f"MaxStaleness({workers})": (1 / workers, [MaxStaleness(workers)]),
        f"Buffer({part})": (part / workers, [Buffer(part)]),
        f"Buffer({part}, fresh)": (0.5, [Buffer(part, fresh=True)]),
    }
    return {name: (scale, [Finite(), *policies]) for name, (scale, policies) in made.items()}


def tuned(
    record: Kept, question: str, cluster: Cluster, problem: Callable[[int], Quadratic], until: float, seeds: int,
    times: Sequence[float] = TIMES,
) -> None:  # fmt: skip
    """The best rate of each policy by seed 0, and its loss with other seeds."""
    rows, start = dict[str, Any](), time.thread_time()
    for name, (scale, policies) in policies_of(cluster.workers).items():

        def run(lr: float, seed: int, policies: list[Policy] = policies) -> Any:
            method = Asynchronous(partial(ravine.SGD, lr=lr), admit=policies)
            return simulate(problem(seed), method, cluster, seed, until=until, samples=4, lanes=0)

        tried = {round(x * scale, 9): run(x * scale, 0).loss for x in times}
        best = min(tried, key=lambda lr: tried[lr] if tried[lr] == tried[lr] else math.inf)
        runs = [run(best, seed) for seed in range(1, 1 + seeds)]
        mean, half = interval([x.loss for x in runs])
        rows[name] = {
            "loss": mean, "±": half, "lr": best, "at an end of the grid": best in (min(tried), max(tried)),
            "tried": tried, "staleness": statistics.mean(x.mean_staleness for x in runs), "updates": runs[0].version,
            "gradients": runs[0].events, "refused": runs[0].refused, "deaths": runs[0].deaths,
        }  # fmt: skip
        print(question, cluster.workers, name, rows[name], flush=True)
    shown = problem(0)
    record.rows.append({
        "question": question, "workers": cluster.workers, "until": until, "seeds": seeds, "numbers": shown.d,
        "noise": shown.noise, "begins at": shown.loss(shown.initial), "best": rows,
        "thread seconds": round(time.thread_time() - start, 1),
    })  # fmt: skip
    record.write(record.out)


def policies(record: Kept, rounds: int) -> None:
    """On volunteers' machines."""
    for workers, until, seeds in ((100, 40.0, 4), (1000, 8.0, 3), (10_000, 3.0, 3)):
        tuned(record, "policies", Cluster.internet(workers), lambda seed: Quadratic(100, 0.1, seed), until, seeds, LATE)


def linear(record: Kept, rounds: int) -> None:
    """Worker i takes i + |N(0, √i)| seconds."""
    n = 1000
    drawn = np.abs(np.random.default_rng(0).standard_normal(n))
    cluster = Cluster(n, [Constant(i + math.sqrt(i) * float(drawn[i - 1])) for i in range(1, n + 1)])
    tuned(record, "linear", cluster, lambda seed: Quadratic(100, 0.1, seed), 1500.0, 4)


QUESTIONS = {"speed": speed, "delay": delay, "policies": policies, "linear": linear}


def main() -> None:
    parser = arguments(__doc__, "simulate-cpu.json", rounds=9)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    record = Kept(args.out, args.only)
    for name in args.only:
        QUESTIONS[name](record, args.rounds)
        record.write(args.out)


if __name__ == "__main__":
    main()
