"""How fast is the end of a training loop: clip the gradients' norm, step AdamW, average the weights?

    python benchmarks/loop.py                    a table, and benchmarks/results/loop-cpu.json

Here that is one call, `ravine.AdamW(params, mods=[ClipNorm(1.0), EMA(0.999)])`, which reads the gradients once for
their norm and everything once for the rest. In torch it is three, each the fastest that torch has on a CPU. They take
turns in one run. The bound is the time that the bytes of our step need at the speed of `x.mul_(c)`, measured in the
same rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import MODELS, Bench, Record, arguments, traffic

import ravine
from ravine.mods import EMA, ClipNorm

AIMS = {"gpt2-124m": 1.4, "resnet-50": 1.8}


def ours(params: list[torch.nn.Parameter]) -> ravine.Optimizer:
    """All in one."""
    return ravine.AdamW(params, mods=[ClipNorm(1.0), EMA(0.999)])


def theirs(params: list[torch.nn.Parameter]) -> Callable[[], None]:
    """The same in torch; `.averages` are the averaged weights."""
    opt = torch.optim.AdamW(params, fused=True)
    averages = [p.detach().clone() for p in params]

    @torch.no_grad()
    def step() -> None:
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        torch._foreach_lerp_(averages, params, 1 - 0.999)

    step.averages = averages
    return step


def main() -> None:
    parser = arguments(__doc__, "loop-cpu.json", rounds=21)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(AIMS))
    args = parser.parse_args()
    record = Record()
    for model in args.models:
        bench = Bench(model)
        opt = ours(bench.params)
        s = bench.seconds({"ravine": opt.step, "torch": theirs(bench.params), "stream": bench.stream()}, args.rounds)
        size = traffic(opt)
        bound = s["stream"] * size / 8
        ratios = {"torch/ravine": s["torch"] / s["ravine"], "ravine/bound": s["ravine"] / bound}
        aims = {"torch/ravine": ("at least", AIMS[model])} if model in AIMS else "told, without an aim"
        record.say("clip + adamw + ema", model, s | {"bound": bound}, ratios, aims, bytes=size)
        del bench, opt
    record.write(args.out)


if __name__ == "__main__":
    main()
