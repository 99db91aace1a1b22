"""How fast is AdamW when its states are kept in 8 or 16 bits? Beside torch's fused AdamW in float32, in turns.

    python benchmarks/storage.py                 a table, and benchmarks/results/storage-cpu.json

A step on a large model is bound by memory, so smaller states should make it faster, not only smaller. The bound of
a row is the time that its bytes need at the speed of `x.mul_(c)`, measured in the same rounds: what no
implementation can go below. `state` is what is kept for each number, `bytes` what a step moves for it.
"""

from __future__ import annotations

import torch
from bench import MODELS, Bench, Record, arguments, state_bytes, traffic

import ravine

STORAGE = {"float32": None, "bf16": "bf16", "int8": "int8"}  # as the table calls it, and the constructor
AIMS = {"int8": 1.4, "bf16": 1.3}


def main() -> None:
    parser = arguments(__doc__, "storage-cpu.json", rounds=15)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["one-100m", "gpt2-124m"])
    args = parser.parse_args()
    record = Record()
    for model in args.models:
        bench = Bench(model)
        opts = {name: ravine.AdamW(bench.params, storage=storage) for name, storage in STORAGE.items()}
        others = {"fused": torch.optim.AdamW(bench.params, fused=True).step, "stream": bench.stream()}
        times = bench.seconds({name: opt.step for name, opt in opts.items()} | others, args.rounds)
        for name, opt in opts.items():
            size, kept = traffic(opt), state_bytes([*opt.state.values()]) / bench.count
            s = {"ravine": times[name], "fused": times["fused"], "stream": times["stream"]}
            s["bound"] = s["stream"] * size / 8
            ratios = {"fused/ravine": s["fused"] / s["ravine"], "ravine/bound": s["ravine"] / s["bound"]}
            aims = {"fused/ravine": ("at least", AIMS[name])} if name in AIMS else "told, for comparison"
            record.say(f"adamw {name}", model, s, ratios, aims, bytes=size, state=kept)
        del bench, opts, others
    record.write(args.out)


if __name__ == "__main__":
    main()
