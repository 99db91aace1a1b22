"""What every benchmark here shares: models as shapes, contestants that take turns, and the record they leave.

A record is JSON: the command, the date, the commit, the machine, its load before the run, and rows. A row has a
question, a model, median seconds, ratios, and aims for ratios: {"ravine/fused": ["at most", 1.05]}; or a reason why
there is no figure. docs/performance.py makes the page of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import ravine

RESULTS = Path(__file__).parent / "results"
Shapes = list[tuple[int, ...]]
Aims = Mapping[str, tuple[str, float]]  # of a ratio: "at most" or "at least", and how much


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
    "one-100m": [(100_000_000,)],
    "one-25m": [(25_000_000,)],
    "mlp": [(300, 784), (300,), (100, 300), (100,), (10, 100), (10,)],
    "tiny": [(10,)] * 6,
}


class Bench:
    """Tensors with gradients, of a model or of these shapes, and contestants that take turns on them."""

    def __init__(self, model: str | Shapes, device: str = "cpu"):
        self.device = device
        torch.manual_seed(0)
        shapes = MODELS[model] if isinstance(model, str) else model
        self.params = [torch.nn.Parameter(torch.randn(s, device=device) * 0.02) for s in shapes]
        for p in self.params:
            p.grad = torch.randn_like(p) * 0.01
        self.count = sum(p.numel() for p in self.params)

    def seconds(self, contestants: Mapping[str, Callable[[], object]], rounds: int, inner: int = 1) -> dict[str, float]:
        """The median time of one call of each, taken in turns."""
        return take_turns(contestants, rounds, inner, wait=self.wait)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def stream(self) -> Callable[[], object]:
        """Read and write each number of the model once."""
        x = torch.ones(self.count, device=self.device)
        return lambda: x.mul_(0.9999)


def nothing(*_: object) -> None:
    """What most have to do before a turn."""


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    inner: int = 1,
    warm: int = 3,
    before: Callable[[str], object] = nothing,
    wait: Callable[[], object] = nothing,
) -> dict[str, float]:
    """The median time of one call of each, taken in turns. What before(its name) does first does not count."""
    for name, step in contestants.items():
        for _ in range(warm):
            before(name)
            step()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, step in contestants.items():
            before(name)
            wait()
            start = time.perf_counter()
            for _ in range(inner):
                step()
            wait()
            times[name].append((time.perf_counter() - start) / inner)
    return {name: statistics.median(t) for name, t in times.items()}


# bytes


def traffic(opt: ravine.Optimizer) -> float:
    """The bytes that a step reads and writes for each number, as `opt.explain()` has them."""
    from ravine.optimizer.explain import moved, types_of  # here: benchmarks/peers.py times this import

    found = [
        (p.numel(), moved(compiled.plan, types_of(opt, compiled, group, p)))
        for group in opt.param_groups
        for p in group["params"]
        for compiled in [opt.compiled(group, p)]
    ]
    return sum(n * size for n, size in found) / sum(n for n, _ in found)


def state_bytes(state: Any) -> int:
    """The bytes of all tensors in a state, those inside a quantized tensor too; what is shared counts once."""
    return sum({id(x): x.nbytes for x in arrays(state)}.values())


def arrays(tree: Any) -> Iterable[Any]:
    """The tensors of torch, and the arrays of others, in dicts and sequences."""
    if hasattr(tree, "__tensor_flatten__"):  # a tensor made of tensors: codes and scales
        yield from (x for name in tree.__tensor_flatten__()[0] for x in arrays(getattr(tree, name)))
    elif hasattr(tree, "nbytes"):
        yield tree
    elif isinstance(tree, Mapping):
        yield from (x for part in tree.values() for x in arrays(part))
    elif isinstance(tree, list | tuple):
        yield from (x for part in tree for x in arrays(part))


def free() -> int:
    """The bytes of memory that a new process could have."""
    info = Path("/proc/meminfo")
    if info.exists():
        return next(int(x.split()[1]) * 1024 for x in info.read_text().splitlines() if x.startswith("MemAvailable"))
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# the record


def machine(device: str) -> dict[str, object]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x), cpu)
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {"cpu": cpu, "threads": torch.get_num_threads(), "gpu": gpu, "torch": torch.__version__}


def command_line() -> str:
    """What was typed, without the folders of this machine."""
    typed = (Path(x).name if Path(x).is_absolute() else x for x in sys.argv[1:])
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *typed])


class Record:
    """Rows, printed as they are measured and written at the end."""

    def __init__(self, device: str = "cpu"):
        self.device = device
        self.rows: list[dict[str, Any]] = []
        self.load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # of others, before we begin

    def say(
        self,
        question: str,
        model: str,
        seconds: Mapping[str, float],
        ratios: Mapping[str, float],
        aims: Aims | str,
        **more: object,
    ) -> None:
        """A row with figures. In place of aims a text says why there is none."""
        aimed = {} if isinstance(aims, str) else {k: list(aim) for k, aim in aims.items() if k in ratios}
        target = aims if isinstance(aims, str) else ", ".join(f"{k} {word} {x:g}" for k, (word, x) in aimed.items())
        row = {"question": question, "model": model, "seconds": dict(seconds), "ratios": dict(ratios)}
        self.rows.append(row | {"target": target, "aims": aimed} | more)
        told = "  ".join(f"{k} {v:.2f}" for k, v in ratios.items())
        times = "  ".join(f"{k} {v * 1e3:.4g} ms" for k, v in seconds.items())
        print(f"{question:<23} {model:<10} {told:<43} {times}", flush=True)

    def leave(self, question: str, model: str, reason: str, **more: object) -> None:
        """A row without figures, and why."""
        self.rows.append({"question": question, "model": model, "reason": reason, **more})
        print(f"{question:<23} {model:<10} {reason}", flush=True)

    def write(self, out: Path) -> None:
        """The JSON, with what a reader needs to believe it or to measure again."""
        commit = ["git", "rev-parse", "HEAD"]
        found = {
            "command": command_line(),
            "date": date.today().isoformat(),
            "commit": subprocess.run(commit, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip(),
            "machine": machine(self.device),
            "load": self.load,
            "rows": self.rows,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written to {out}")


def missed(row: Mapping[str, Any]) -> list[str]:
    """The ratios of a row that are not what was aimed at."""
    met = {"at most": float.__le__, "at least": float.__ge__}
    aims = row.get("aims", {}).items()
    return [k for k, (word, x) in aims if not met[word](float(row["ratios"][k]), float(x))]


def arguments(doc: str | None, out: str, rounds: int) -> argparse.ArgumentParser:
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, default=RESULTS / out, help="where the JSON goes")
    return parser
