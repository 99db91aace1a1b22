"""How fast is a step? Each optimizer against torch's own and against the memory's speed, side by side in one run.

    python benchmarks/step.py                    all but torch.compile: a table, and benchmarks/results/step-cpu.json
    python benchmarks/step.py --only compile     that too: it compiles for many minutes
    python benchmarks/step.py --device cuda      the same on a GPU: step-<its name>.json

Contestants of one row take turns, many rounds, and the medians are compared, so that a busy machine disturbs
all alike. The bound of a rule is the time that its bytes need at the speed of `x.mul_(c)`, which reads and
writes each element once, measured in the same rounds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

import torch
from bench import MODELS, RESULTS, Bench, Record, arguments

import ravine
from ravine.catalog.names import beyond_the_loss
from ravine.optimizer.explain import moved

LARGE = ("gpt2-124m", "resnet-50", "one-25m")


def measure(record: Record, only: list[str], device: str, rounds: int) -> None:
    """Every measurement: what, where, seconds, ratios."""
    if "adamw" in only:
        for model in LARGE:
            bench = Bench(model, device)
            ours, fused = ravine.AdamW(bench.params), torch.optim.AdamW(bench.params, fused=True)
            s = bench.seconds({"ravine": ours.step, "fused": fused.step}, rounds, 1)
            ratios = {"ravine/fused": s["ravine"] / s["fused"]}
            record.say("adamw", model, s, ratios, {"ravine/fused": ("at most", 1.05)})
    if "bytes" in only:
        for model in LARGE[1:]:  # fifty rules: the largest would take an hour and say the same
            bench = Bench(model, device)
            for name, cls in dense().items():
                opt = cls(bench.params, **({"momentum": 0.9} if name == "sgd" else {}))
                program = opt.compiled(opt.param_groups[0])
                step = partial(opt.step, loss=1.0) if program.program.inputs else opt.step
                s = bench.seconds({"ravine": step, "stream": bench.stream()}, rounds, 1)
                bound = s["stream"] * moved(program.plan, dict.fromkeys(program.plan.arrays, "float32")) / 8
                elementwise = len(program.plan.phases) == 2  # Host, Sweep
                aims = {"ravine/bound": ("at most", 1.2)} if elementwise else "not elementwise: told, without an aim"
                record.say(f"bytes {name}", model, s | {"bound": bound}, {"ravine/bound": s["ravine"] / bound}, aims)
                del opt, step
    if "torch" in only or "compile" in only:
        for model in LARGE:
            bench = Bench(model, device)
            for name in ("radam", "nadam", "adadelta", "rmsprop", "adamax"):
                cls = ravine.optim.registry()[name]
                contestants: dict[str, Callable[[], object]] = {"ravine": cls(bench.params).step}
                contestants["foreach"] = cls.twin(bench.params, foreach=True).step
                if "compile" in only:
                    torch._dynamo.reset()
                    contestants["compile"] = torch.compile(cls.twin(bench.params, **compilable(device)).step)
                s = bench.seconds(contestants, rounds, 1)
                ratios = {f"{k}/ravine": s[k] / s["ravine"] for k in s if k != "ravine"}
                aims = {"foreach/ravine": ("at least", 3), "compile/ravine": ("at least", 1.7)}
                record.say(name, model, s, ratios, aims)
    if "mlp" in only:
        bench = Bench("mlp", device)
        made = {
            "ravine": ravine.AdamW(bench.params),
            "fused": torch.optim.AdamW(bench.params, fused=True),
            "foreach": torch.optim.AdamW(bench.params, foreach=True),
        }
        s = bench.seconds({k: opt.step for k, opt in made.items()}, rounds * 4, 50)
        ratios = {f"{k}/ravine": s[k] / s["ravine"] for k in ("fused", "foreach")}
        record.say("mlp", "mlp", s, ratios, {"fused/ravine": ("at least", 2), "foreach/ravine": ("at least", 5)})
    if "tiny" in only:
        bench = Bench("tiny", device)
        opts = {"ravine": ravine.AdamW(bench.params), "fused": torch.optim.AdamW(bench.params, fused=True)}
        s = bench.seconds({k: opt.step for k, opt in opts.items()}, rounds * 4, 200)
        record.say("tiny", "tiny", s, {"microseconds": s["ravine"] * 1e6}, {"microseconds": ("at most", 20)})
    if "start" in only and device == "cpu":
        for name in ("sgd", "adam", "adamw", "radam", "lamb", "adafactor", "prodigy"):
            cold, warm = [], []
            for _ in range(3):
                with tempfile.TemporaryDirectory() as cache:
                    cold.append(first_step(name, cache))
                    warm.append(first_step(name, cache))
            s = {"cold": statistics.median(cold), "warm": statistics.median(warm)}
            ratios = {k: v * 1e3 for k, v in s.items()}
            aims = {"cold": ("at most", 200), "warm": ("at most", 10)}
            record.say(f"start {name}", "mlp", s, ratios, aims)


def dense() -> dict[str, type[ravine.Optimizer]]:
    """The registry without what takes sparse gradients only, which benchmarks/embedding.py has, and without what needs
    a second backward pass: a step is not its cost."""
    return {name: cls for name, cls in ravine.optim.registry().items() if cls.dense and not beyond_the_loss(cls)}


def compilable(device: str) -> dict[str, bool]:
    """What torch.compile needs of torch's optimizers."""
    return {"capturable": True} if device == "cuda" else {}


def first_step(name: str, cache: str) -> float:
    """What the first step in a new process takes beyond a later one: all of tracing and compiling.

    Before it, another rule steps once on the reference backend, which wakes torch's threads and allocator, and the
    objects that importing torch has left are collected: neither belongs to the compiler.
    """
    other = "adagrad" if name == "sgd" else "sgd"
    code = f"""
import gc, time, torch, ravine
params = [torch.nn.Parameter(torch.randn(s)) for s in {MODELS["mlp"]}]
for p in params: p.grad = torch.randn_like(p)
ravine.optim.registry()[{other!r}](params, backend="reference").step()
opt = ravine.optim.registry()[{name!r}](params)
gc.collect()
start = time.perf_counter(); opt.step(); first = time.perf_counter() - start
start = time.perf_counter(); opt.step(); print(first - (time.perf_counter() - start))
"""
    env = os.environ | {"RAVINE_CACHE": cache}
    return float(
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
    )


def main() -> None:
    questions = ["adamw", "bytes", "torch", "compile", "mlp", "tiny", "start"]
    parser = arguments(__doc__, "", rounds=15)
    parser.add_argument("--only", nargs="+", choices=questions, default=[q for q in questions if q != "compile"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.set_defaults(out=None)  # it depends on what is asked
    args = parser.parse_args()
    where = args.device if args.device == "cpu" else torch.cuda.get_device_name().lower().replace(" ", "-")
    part = "" if args.only == parser.get_default("only") else "-" + "-".join(args.only)
    record = Record(args.device)
    measure(record, args.only, args.device, args.rounds)
    record.write(args.out or RESULTS / f"step-{where}{part}.json")


if __name__ == "__main__":
    main()
