"""What does gradient compression save, and what does it cost? Two processes under DDP, and one process alone.

    python benchmarks/compress.py                 a table, and benchmarks/results/compress-cpu.json

Rows of `digits`: a 64-256-10 network on scikit-learn's digits, 300 steps of SGD, two processes with halves of the data,
gloo; one rate for all but the vote, which has a hundredth. `sent` is the bytes that a process hands to collectives
in a step (after the plain steps with which PowerSGD begins), `loss` and `accuracy` are on a held-out fifth, the mean of
--seeds. `momentum` is the same with momentum 0.9 and a third of the rate: more than three times the step.

Rows of `1M`: CPU time of the process for `all_reduce_mean` of one matrix of 1000 × 1000 in float32 on one thread,
compression, decompression and memory together, without a network; in turns with the sum of ten such matrices.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from bench import Record, arguments
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from ravine.parallel.compress import Compressor, PowerSGD, SignCompress, TopK

STEPS, PLAIN = 300, 30
CASES = {"digits": (0.3, 0.0), "momentum": (0.1, 0.9)}  # rate and momentum
MAKE: dict[str, Callable[[], Compressor] | None] = {
    "none": None,
    "PowerSGD(1)": lambda: PowerSGD(1),
    "PowerSGD(4)": lambda: PowerSGD(4),
    "TopK(0.01)": lambda: TopK(0.01),
    "SignCompress()": lambda: SignCompress(),
    "SignCompress(vote=True)": lambda: SignCompress(vote=True),
}


def train(case: str, name: str, seed: int, rank: int, world: int) -> tuple[float, float, float]:
    """Bytes in the last step, loss and accuracy on held-out digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    mine, held_out = order[:1437][rank::world], order[1437:]
    torch.manual_seed(seed)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)))
    compressor = make() if (make := MAKE[name]) else None
    if isinstance(compressor, PowerSGD):
        compressor.ddp_hook(model, start=PLAIN)
    elif compressor is not None:
        compressor.ddp_hook(model)
    rate, momentum = CASES[case]
    rate = rate / 100 if "vote" in name else rate  # its numbers are 1 and -1
    opt = torch.optim.SGD(model.parameters(), rate, momentum)
    random = torch.Generator().manual_seed(100 * seed + rank)
    sent = 0
    for _ in range(STEPS):
        before = compressor.sent_bytes if compressor else 0
        rows = mine[torch.randint(len(mine), (64,), generator=random)]
        opt.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        opt.step()
        sent = compressor.sent_bytes - before if compressor else sum(p.nbytes for p in model.parameters())
    with torch.no_grad():
        out = model.module(x[held_out])
        found = float(cross_entropy(out, y[held_out])), float((out.argmax(1) == y[held_out]).float().mean())
    del model, opt
    gc.collect()
    return sent, *found


def process(rank: int, world: int, store: str, out: str, seeds: int) -> None:
    """One of the two processes; the first writes what was found."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = {
        case: {name: [train(case, name, seed, rank, world) for seed in range(seeds)] for name in MAKE} for case in CASES
    }
    if rank == 0:
        Path(out).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def cpu_seconds(rounds: int) -> dict[str, float]:
    """Median CPU time of one call of each, in turns, and of a sum to compare with."""
    torch.set_num_threads(1)
    grads = [torch.randn(1000, 1000, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    each = {name: make() for name, make in MAKE.items() if make}
    times: dict[str, list[float]] = {name: [] for name in ["sum", *each]}
    calls = {"sum": lambda g: torch.stack(g * 10).sum(0)} | {name: c.all_reduce_mean for name, c in each.items()}
    for i in range(rounds + 3):
        for name, call in calls.items():
            start = time.thread_time()
            call([grads[i % 3]])
            if i >= 3:
                times[name].append(time.thread_time() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> None:
    if sys.argv[1:2] == ["process"]:
        rank, world, store, out, seeds = sys.argv[2:]
        return process(int(rank), int(world), store, out, int(seeds))
    parser = arguments(__doc__, "compress-cpu.json", rounds=15)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "found"
        env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        script = [sys.executable, __file__, "process"]
        made = [
            subprocess.Popen([*script, str(r), "2", str(store), str(out), str(args.seeds)], env=env) for r in (0, 1)
        ]
        if any(p.wait(timeout=1200) for p in made):
            raise SystemExit("a process failed; what it says stands above")
        found = json.loads(out.read_text())
    for case, runs in found.items():
        means = {name: [statistics.mean(x) for x in zip(*run, strict=True)] for name, run in runs.items()}
        for name, (sent, loss, accuracy) in means.items():
            ratios = {"all/sent": means["none"][0] / sent, "loss/plain": loss / means["none"][1]}
            record.say(name, case, {}, ratios, "told, for comparison", sent=sent, loss=loss, accuracy=accuracy)
    seconds = cpu_seconds(args.rounds)
    for name in (x for x in seconds if x != "sum"):
        s = {"call": seconds[name], "sum": seconds["sum"]}
        record.say(name, "1M", s, {"call/sum": s["call"] / s["sum"]}, "told, for comparison")
    record.write(args.out)


if __name__ == "__main__":
    main()
