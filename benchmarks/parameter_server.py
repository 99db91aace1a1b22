"""How many requests does a parameter server answer, and how many bytes? On processes, and on Ray.

    python benchmarks/parameter_server.py             a table, and benchmarks/results/parameter-server-cpu.json

Each worker sends a gradient of the whole model and waits for the parameters, again and again: an exchange, which moves
the model twice. One shard, SGD, models of 10 KB and 10 MB, one and two workers. `start`: the time until a server
answers its first question, the first one with that of the process that all others are forked from; `begins`: until the
first worker does. A Ray cluster is started once, in `cluster` seconds. `cpu`: the time of one core that a worker's
process takes for an exchange. Medians of all rounds; engines take turns.

The 1-minute load of the machine stands beside the numbers: with other work on its cores, they are lower bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import ravine
from ravine.parallel.server.parameter_server import Context, ParameterServer
from ravine.parallel.workers import Downpour

SIZES = {"10 KB": 2_500, "10 MB": 2_500_000}
EXCHANGES = {"10 KB": 300, "10 MB": 40}
RESULTS = Path(__file__).parent / "results" / "parameter-server-cpu.json"


def exchange(worker: Context, size: int, count: int) -> dict[str, float]:
    """A worker's exchanges: when they began and ended, and what each cost its thread."""
    begun = time.time()
    p = torch.nn.Parameter(torch.zeros(size))
    opt = Downpour(worker.server, ravine.SGD([p], lr=0.1))
    p.grad = torch.ones(size)
    for _ in range(3):
        opt.step()
    start, cpu = time.time(), time.process_time()
    for _ in range(count):
        opt.step()
    end = time.time()
    return {"begun": begun, "start": start, "end": end, "cpu": (time.process_time() - cpu) / count}


def measured(engine: Any, model: str, workers: int) -> dict[str, float]:
    """One round."""
    size, count = SIZES[model], EXCHANGES[model]
    first = time.time()
    with ParameterServer([torch.zeros(size)], "sgd:lr=0.1", engine=engine) as server:
        started, hired = time.time() - first, time.time()
        found = [x.value for x in server.run(exchange, workers=workers, args=(size, count))]
    seconds = max(x["end"] for x in found) - min(x["start"] for x in found)
    return {
        "start": started,
        "begins": min(x["begun"] for x in found) - hired,
        "exchanges/s": workers * count / seconds,
        "MB/s": 2 * 4 * size * workers * count / seconds / 1e6,
        "cpu ms": 1e3 * statistics.median(x["cpu"] for x in found),
    }


def main(rounds: int) -> None:
    """All engines, models and numbers of workers, in turns."""
    about: dict[str, Any] = {
        "command": f"python benchmarks/parameter_server.py --rounds {rounds}",
        "date": date.today().isoformat(),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": os.cpu_count(),
            "torch": torch.__version__,
        },
        "load": round(os.getloadavg()[0], 1),
        "rounds": rounds,
    }
    engines = ["local"]
    if find_spec("ray"):
        from ravine.parallel.engines.cluster import join

        first = time.time()
        join(2)
        engines, about["cluster"] = ["local", "ray"], round(time.time() - first, 2)
    cells = [(model, workers, engine) for model in SIZES for workers in (1, 2) for engine in engines]
    found: dict[tuple[str, int, str], list[dict[str, float]]] = {cell: [] for cell in cells}
    for _ in range(rounds):
        for model, workers, engine in cells:
            found[model, workers, engine].append(measured(engine, model, workers))
    rows = []
    for (model, workers, engine), each in found.items():
        medians = {k: round(statistics.median(x[k] for x in each), 3) for k in each[0]}
        rows.append({"model": model, "workers": workers, "engine": engine, **medians})
        print("  ".join(f"{k} {x}" for k, x in rows[-1].items()))
    about |= {"load after": round(os.getloadavg()[0], 1), "servers": rows}
    RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
