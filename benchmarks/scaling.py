"""What does one more number cost, and one more tensor? AdamW, beside torch's fused AdamW, in turns.

    python benchmarks/scaling.py                 a table, and benchmarks/results/scaling-cpu.json

Numbers: one tensor of 1 to 500 million, as long as all contestants fit into free memory. Tensors: 10 to 10 000 of
10 numbers each, with gradients that stay where they are (`kept`), and with gradients that are new tensors at other
addresses before every step (`new`), as zero_grad() and backward() leave them. Making them is not timed; noticing them
is. A further tensor is what the larger number of tensors adds, divided by how many it adds: the slope of the line,
which is straight where the slope stays (bend = 1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import Bench, Record, arguments, free, nothing, take_turns, traffic

import ravine

NUMBERS = [1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000, 250_000_000, 500_000_000]
TENSORS = [10, 100, 1_000, 10_000]
EACH = 10  # numbers in a small tensor
NEEDS = 4 * (2 + 2 + 2 + 1)  # bytes for each number: p and g, the states of both contestants, the stream
SPARE = 1 << 30  # for Python and torch
A_TENSOR, FURTHER = "microseconds a tensor", "microseconds a further tensor"
AIMS = {FURTHER: ("at most", 0.4), "bend": ("at most", 1.25)}


def numbers(record: Record, sizes: list[int], rounds: int) -> None:
    """One tensor of each size."""
    for n in sizes:
        model = f"{n / 1e6:g}m"
        if n * NEEDS + SPARE > (left := free()):
            need = (n * NEEDS + SPARE) / 1e9
            record.leave("numbers", model, f"{need:.1f} GB would be needed, {left / 1e9:.1f} were free")
            continue
        bench = Bench([(n,)])
        ours, fused = ravine.AdamW(bench.params), torch.optim.AdamW(bench.params, fused=True)
        inner = max(1, 3_000_000 // n)
        s = bench.seconds({"ravine": ours.step, "fused": fused.step, "stream": bench.stream()}, rounds, inner)
        s["bound"] = s["stream"] * traffic(ours) / 8
        ratios = {
            "nanoseconds a number": s["ravine"] / n * 1e9,
            "fused/ravine": s["fused"] / s["ravine"],
            "ravine/bound": s["ravine"] / s["bound"],
        }
        record.say("numbers", model, s, ratios, "told, without an aim")
        del bench, ours, fused


def tensors(record: Record, counts: list[int], rounds: int, new: bool) -> None:
    """So many small tensors."""
    last, slope = (0, 0.0), 0.0
    for n in counts:
        bench = Bench([(EACH,)] * n)
        opts = {"ravine": ravine.AdamW(bench.params), "fused": torch.optim.AdamW(bench.params, fused=True)}
        inner = 1 if new else max(1, 2_000 // n)
        turns = rounds * 4 if inner == 1 else rounds  # single steps are short, and medians need many
        before = renewing(bench.params) if new else nothing
        s = take_turns({k: opt.step for k, opt in opts.items()}, turns, inner, before=before)
        ratios = {A_TENSOR: s["ravine"] / n * 1e6, "fused/ravine": s["fused"] / s["ravine"]}
        if last[0]:  # the first has all that a step costs without tensors
            further = (s["ravine"] - last[1]) / (n - last[0]) * 1e6
            ratios |= {FURTHER: further} | ({"bend": further / slope} if slope else {})
            slope = further
        record.say("tensors, new" if new else "tensors, kept", str(n), s, ratios, AIMS)
        last = n, s["ravine"]


def renewing(params: list[torch.nn.Parameter]) -> Callable[[str], None]:
    """Gives each parameter a gradient of its own at another address: the old one is there until the new one is."""

    def renew(_: str) -> None:
        for p in params:
            p.grad = p.grad.clone()

    return renew


def main() -> None:
    parser = arguments(__doc__, "scaling-cpu.json", rounds=15)
    parser.add_argument("--numbers", nargs="*", type=int, default=NUMBERS, help="sizes of the one tensor")
    parser.add_argument("--tensors", nargs="*", type=int, default=TENSORS, help="how many small tensors")
    args = parser.parse_args()
    record = Record()
    numbers(record, args.numbers, args.rounds)
    for new in (False, True):
        tensors(record, args.tensors, args.rounds, new)
    record.write(args.out)


if __name__ == "__main__":
    main()
