"""How fast is a step? Each optimizer against torch's own and against the memory's speed, side by side in one run.

    python benchmarks/step.py                    all but torch.compile: a table, and benchmarks/results/step-cpu.json
    python benchmarks/step.py --only compile     that too: it compiles for many minutes
    python benchmarks/step.py --device cuda      the same on a GPU: step-<its name>.json

Contestants of one row take turns, many rounds, and the medians are compared, so that a busy machine disturbs
all alike. The bound of a rule is the time that its bytes need at the speed of `x.mul_(c)`, which reads and
writes each element once, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import torch

import ravine
from ravine.explain import moved

HERE = Path(__file__).parent
Shapes = list[tuple[int, ...]]


def gpt2(d: int = 768) -> Shapes:
    """GPT-2 124M: 148 tensors."""
    block = [(d,), (d,), (3 * d, d), (3 * d,), (d, d), (d,), (d,), (d,), (4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return [(50257, d), (1024, d), *block * 12, (d,), (d,)]


def resnet50() -> Shapes:
    """ResNet-50: 161 tensors, 25.6M numbers."""
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for blocks, mid in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for i in range(blocks):
            for shape in ((mid, width, 1, 1), (mid, mid, 3, 3), (4 * mid, mid, 1, 1)):
                shapes += [shape, (shape[0],), (shape[0],)]
            if i == 0:
                shapes += [(4 * mid, width, 1, 1), (4 * mid,), (4 * mid,)]
            width = 4 * mid
    return [*shapes, (1000, 2048), (1000,)]


MODELS: dict[str, Shapes] = {
    "gpt2-124m": gpt2(),
    "resnet-50": resnet50(),
    "one-25m": [(25_000_000,)],
    "mlp": [(300, 784), (300,), (100, 300), (100,), (10, 100), (10,)],
    "tiny": [(10,)] * 6,
}
LARGE = ("gpt2-124m", "resnet-50", "one-25m")


class Bench:
    """Tensors of a model with gradients, and contestants that take turns."""

    def __init__(self, model: str, device: str):
        self.device = device
        torch.manual_seed(0)
        self.params = [torch.nn.Parameter(torch.randn(s, device=device) * 0.02) for s in MODELS[model]]
        for p in self.params:
            p.grad = torch.randn_like(p) * 0.01
        self.count = sum(p.numel() for p in self.params)

    def seconds(self, contestants: dict[str, Callable[[], object]], rounds: int, inner: int) -> dict[str, float]:
        """The median time of one call of each, taken in turns."""
        for step in contestants.values():
            for _ in range(3):
                step()
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, step in contestants.items():
                self.wait()
                start = time.perf_counter()
                for _ in range(inner):
                    step()
                self.wait()
                times[name].append((time.perf_counter() - start) / inner)
        return {name: statistics.median(t) for name, t in times.items()}

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def stream(self) -> Callable[[], object]:
        """Read and write each number of the model once."""
        x = torch.ones(self.count, device=self.device)
        return lambda: x.mul_(0.9999)


def rows(only: list[str], device: str, rounds: int) -> list[dict[str, object]]:
    """Every measurement: what, where, seconds, ratios."""
    out: list[dict[str, object]] = []

    def say(question: str, model: str, seconds: dict[str, float], ratios: dict[str, float], target: str) -> None:
        out.append({"question": question, "model": model, "seconds": seconds, "ratios": ratios, "target": target})
        times = "  ".join(f"{k} {v * 1e3:.4g} ms" for k, v in seconds.items())
        print(f"{question:<24}{model:<11}{'  '.join(f'{k} {v:.2f}' for k, v in ratios.items()):<44}{times}", flush=True)

    if "adamw" in only:
        for model in LARGE:
            bench = Bench(model, device)
            ours, fused = ravine.AdamW(bench.params), torch.optim.AdamW(bench.params, fused=True)
            s = bench.seconds({"ravine": ours.step, "fused": fused.step}, rounds, 1)
            say("adamw", model, s, {"ravine/fused": s["ravine"] / s["fused"]}, "at most 1.05")
    if "bytes" in only:
        for model in LARGE[1:]:  # fifty rules: the largest would take an hour and say the same
            bench = Bench(model, device)
            for name, cls in dense().items():
                opt = cls(bench.params, **({"momentum": 0.9} if name == "sgd" else {}))
                program = opt.compiled(opt.param_groups[0])
                step = partial(opt.step, loss=1.0) if program.loss else opt.step
                s = bench.seconds({"ravine": step, "stream": bench.stream()}, rounds, 1)
                bound = s["stream"] * moved(program.plan, dict.fromkeys(program.plan.arrays, "float32")) / 8
                target = "at most 1.2" if len(program.plan.steps) == 1 else "not elementwise: told, without an aim"
                say(f"bytes {name}", model, s | {"bound": bound}, {"ravine/bound": s["ravine"] / bound}, target)
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
                say(name, model, s, ratios, "foreach at least 3, compile at least 1.7")
    if "mlp" in only:
        bench = Bench("mlp", device)
        made = {
            "ravine": ravine.AdamW(bench.params),
            "fused": torch.optim.AdamW(bench.params, fused=True),
            "foreach": torch.optim.AdamW(bench.params, foreach=True),
        }
        s = bench.seconds({k: opt.step for k, opt in made.items()}, rounds * 4, 50)
        ratios = {f"{k}/ravine": s[k] / s["ravine"] for k in ("fused", "foreach")}
        say("mlp", "mlp", s, ratios, "fused at least 2, foreach at least 5")
    if "tiny" in only:
        bench = Bench("tiny", device)
        opts = {"ravine": ravine.AdamW(bench.params), "fused": torch.optim.AdamW(bench.params, fused=True)}
        s = bench.seconds({k: opt.step for k, opt in opts.items()}, rounds * 4, 200)
        say("tiny", "tiny", s, {"microseconds": s["ravine"] * 1e6}, "at most 20 microseconds")
    if "start" in only and device == "cpu":
        for name in ("sgd", "adam", "adamw", "radam", "lamb", "adafactor", "prodigy"):
            cold, warm = [], []
            for _ in range(3):
                with tempfile.TemporaryDirectory() as cache:
                    cold.append(first_step(name, cache))
                    warm.append(first_step(name, cache))
            s = {"cold": statistics.median(cold), "warm": statistics.median(warm)}
            say(f"start {name}", "mlp", s, {k: v * 1e3 for k, v in s.items()}, "ms: cold at most 200, warm at most 10")
    return out


def dense() -> dict[str, type[ravine.Optimizer]]:
    """The registry without what takes sparse gradients only: benchmarks/sparse.py has that."""
    return {name: cls for name, cls in ravine.optim.registry().items() if cls.dense}


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


def machine(device: str) -> dict[str, object]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x), cpu)
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {"cpu": cpu, "threads": torch.get_num_threads(), "gpu": gpu, "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = ["adamw", "bytes", "torch", "compile", "mlp", "tiny", "start"]
    parser.add_argument("--only", nargs="+", choices=questions, default=[q for q in questions if q != "compile"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    where = args.device if args.device == "cpu" else torch.cuda.get_device_name().lower().replace(" ", "-")
    part = "" if args.only == parser.get_default("only") else "-" + "-".join(args.only)
    out = args.out or HERE / "results" / f"step-{where}{part}.json"
    found = {
        "command": "python " + " ".join(["benchmarks/step.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
        "machine": machine(args.device),
        "rows": rows(args.only, args.device, args.rounds),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
