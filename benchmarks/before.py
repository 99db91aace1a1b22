"""Is a step slower than it was at another commit?

    python benchmarks/before.py COMMIT           a table, and benchmarks/results/before-cpu.json

The sources of the commit are laid beside today's, and processes of the two take turns: in each, AdamW makes steps with
gradients that stay and with new ones in each step, and the medians of the processes' medians are compared.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CASES = {  # a model of bench.py, or tensors of 10 numbers: steps in each process
    "tiny": 2000,
    "300 tensors of 10": 600,
    "mlp": 800,
    "resnet-50": 20,
    "gpt2-124m": 6,
}


def times(models: list[str]) -> dict[str, float]:
    """The median seconds of a step in this process, by model and kind of gradients."""
    import torch
    from bench import Bench

    import ravine

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    out: dict[str, float] = {}
    for model in models:
        bench = Bench([(10,)] * 300 if model.startswith("300") else model)
        opt = ravine.AdamW(bench.params, lr=1e-4)
        grads = [[torch.rand_like(p) * 1e-3 for p in bench.params] for _ in range(2)]
        for kind in ("kept", "new"):
            found: list[float] = []
            for i in range(CASES[model] + 10):
                if kind == "new":
                    for p, g in zip(bench.params, grads[i % 2], strict=True):
                        p.grad = g
                start = time.perf_counter()
                opt.step()
                found.append(time.perf_counter() - start)
            out[f"{model}, gradients {kind}"] = statistics.median(found[10:])
    return out


def laid(commit: str, folder: Path) -> Path:
    """The sources of a commit."""
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


def main() -> None:
    if "--child" in sys.argv:
        print(json.dumps(times(sys.argv[2:])))
        return
    from bench import Record, arguments

    parser = arguments(__doc__, "before-cpu.json", rounds=9)
    parser.add_argument("commit")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    record, found = Record(), {"before": list[dict[str, float]](), "now": list[dict[str, float]]()}
    with tempfile.TemporaryDirectory() as folder:
        sources = {"before": laid(args.commit, Path(folder)), "now": ROOT / "src"}
        command = [sys.executable, __file__, "--child", *args.models]
        for _ in range(args.rounds):
            for name, source in sources.items():
                env = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": str(args.threads)}
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
                found[name].append(json.loads(done.stdout))
    for case in found["now"][0]:
        s = {name: statistics.median(x[case] for x in each) for name, each in found.items()}
        model, kind = case.split(", ")
        aims = {"now/before": ("at most", 1.02)} if model == "tiny" else "told, without an aim"
        record.say(f"AdamW, {kind}", model, s, {"now/before": s["now"] / s["before"]}, aims, before=args.commit)
    record.write(args.out)


if __name__ == "__main__":
    main()
