"""How fast is a step on the touched rows of a large embedding? Beside torch's own, in turns, in one run.

    python benchmarks/embedding.py                  a table, and benchmarks/results/embedding-cpu.json

The gradient is uncoalesced, as nn.Embedding(sparse=True) makes it from a batch with repeated words, and each step
adds equal rows up anew. A step of SparseAdam must cost what its rows cost, whatever the length of the table: the
last rows say how 10 000 touched rows fare in tables of 100 000 and of a million.
"""

from __future__ import annotations

import torch
from bench import Record, arguments, take_turns

import ravine

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
    grad = gradient(table, touched)

    def before(name: str) -> None:
        params[name].grad = grad.clone()

    times = take_turns({name: opt.step for name, opt in opts.items()}, rounds, before=before)
    apart = (params["ravine"] - params["torch"]).abs().max()
    assert apart < 1e-6, f"they are {apart} apart"
    return times


def main() -> None:
    args = arguments(__doc__, "embedding-cpu.json", rounds=101).parse_args()
    record = Record()
    for table, touched in CASES:
        s = seconds(table, touched, args.rounds)
        ratios = {"torch/ravine": s["torch"] / s["ravine"]}
        where = {"table": [table, WIDTH], "touched": touched}
        record.say("sparseadam", f"{touched} of {table}", s, ratios, {"torch/ravine": ("at least", 1)}, **where)
    record.write(args.out)


if __name__ == "__main__":
    main()
