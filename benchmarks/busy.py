"""Does a step stall when other processes want the cores?

    python benchmarks/busy.py                    a table, and benchmarks/results/busy-cpu.json

AdamW, beside so many processes that do nothing but count. A team of threads ends with its last thread, and one that
has lost its core may wait for it many times as long as a small step takes: the median says what most steps cost, the
90th percentile and the mean how they stall. `team` is ravine as it would be if it never left a team that lost time.
Contestants take turns of half a second, or of one step that takes longer: the scheduler makes a process wait that has
just burned its share, and of single steps the next contestant would pay for it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from bench import Bench, Record, arguments

import ravine
from ravine.compile.launch import llvm

MODELS = ("mlp", "resnet-50", "gpt2-124m")
TURN = 0.5  # seconds
COUNT = """import os
print(flush=True)
while os.getppid() == {parent}:  # not beyond a benchmark that was killed
    sum(range(100_000))"""
ALONE = llvm.ALONE


@contextmanager
def beside(processes: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """With so many processes that are busy."""
    command = [sys.executable, "-c", COUNT.format(parent=os.getpid())]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()  # it counts
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def contestants(model: str) -> dict[str, Callable[[], object]]:
    """The steps of two of ravine's, as each learns for itself, and of torch's."""
    params = Bench(model).params
    return {
        "ravine": ravine.AdamW(params).step,
        "team": ravine.AdamW(params).step,
        "fused": torch.optim.AdamW(params, fused=True).step,
        "foreach": torch.optim.AdamW(params, foreach=True).step,
    }


def all_turns(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The time of every step of each."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    try:
        for i in range(1 + rounds):
            for name, step in steps.items():
                llvm.ALONE = 0 if name == "team" else ALONE
                end = time.perf_counter() + TURN
                while (start := time.perf_counter()) < end:
                    step()
                    if i:  # the first round warms up
                        times[name].append(time.perf_counter() - start)
    finally:
        llvm.ALONE = ALONE
    return times


def measure(record: Record, model: str, processes: int, rounds: int) -> None:
    """A row: the medians, and beside them the 90th percentiles and the means."""
    with beside(processes):
        times = all_turns(contestants(model), rounds)
        load = round(os.getloadavg()[0], 2)
    s = {name: statistics.median(t) for name, t in times.items()}
    s |= {f"{name} p90": sorted(t)[int(0.9 * len(t))] for name, t in times.items()}
    s |= {f"{name} mean": statistics.mean(t) for name, t in times.items()}
    steps = {name: len(t) for name, t in times.items()}
    ratios = {f"{name}/ravine": s[f"{name} mean"] / s["ravine mean"] for name in times if name != "ravine"}
    record.say(f"{processes} busy", model, s, ratios, "told, without an aim", load=load, steps=steps)


def main() -> None:
    parser = arguments(__doc__, "busy-cpu.json", rounds=9)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 2], help="how many processes beside it")
    args = parser.parse_args()
    record = Record()
    for model in args.models:
        for processes in args.busy:
            measure(record, model, processes, args.rounds)
    record.write(args.out)


if __name__ == "__main__":
    main()
