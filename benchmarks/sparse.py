"""How fast is a step on the touched rows of a large embedding? Beside torch's own, in turns, in one run.

    python benchmarks/sparse.py                  a table, and benchmarks/results/sparse-cpu.json

The gradient is uncoalesced, as nn.Embedding(sparse=True) makes it from a batch with repeated words, and each step
adds equal rows up anew. A step of SparseAdam must cost what its rows cost, whatever the length of the table: the
last rows say how 10 000 touched rows fare in tables of 100 000 and of a million.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch
from step import machine

import ravine

HERE = Path(__file__).parent
WIDTH = 64
CASES = [(1_000_000, 100), (1_000_000, 1_000), (1_000_000, 10_000), (100_000, 10_000)]


def gradient(table: int, touched: int) -> torch.Tensor:
    """Of so many different rows, a tenth of them twice."""
    made = torch.Generator().manual_seed(touched)
    rows = torch.randperm(table, generator=made)[:touched]
    rows = torch.cat([rows, rows[: touched // 10]])[None]
    values = torch.randn(rows.shape[1], WIDTH, generator=made)
    return torch.sparse_coo_tensor(rows, values, (table, WIDTH), check_invariants=False)


def seconds(table: int, touched: int, rounds: int) -> dict[str, float]:
    """The median time of a step of each, taken in turns."""
    params = {name: torch.nn.Parameter(torch.zeros(table, WIDTH)) for name in ("ravine", "torch")}
    opts = {"ravine": ravine.SparseAdam([params["ravine"]]), "torch": torch.optim.SparseAdam([params["torch"]])}
    grad, times = gradient(table, touched), {name: list[float]() for name in opts}
    for turn in range(rounds + 3):
        for name, opt in opts.items():
            params[name].grad = grad.clone()
            start = time.perf_counter()
            opt.step()
            if turn >= 3:
                times[name].append(time.perf_counter() - start)
    apart = (params["ravine"] - params["torch"]).abs().max()
    assert apart < 1e-6, f"they are {apart} apart"
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sparse-cpu.json", help="where the JSON goes")
    args = parser.parse_args()
    rows = []
    for table, touched in CASES:
        s = seconds(table, touched, args.rounds)
        ratio = s["torch"] / s["ravine"]
        rows.append({"table": [table, WIDTH], "touched": touched, "seconds": s, "ratios": {"torch/ravine": ratio}})
        times = "  ".join(f"{k} {v * 1e3:.4g} ms" for k, v in s.items())
        print(f"{table:>9} x {WIDTH}  {touched:>6} touched   {times}   torch/ravine {ratio:.2f}", flush=True)
    found = {
        "command": "python " + " ".join(["benchmarks/sparse.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
        "machine": machine("cpu"),
        "rows": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
