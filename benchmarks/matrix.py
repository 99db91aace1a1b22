"""How fast are methods for matrices? Muon, Shampoo, SOAP and Kron beside those of other libraries, in turns.

    pip install -c constraints.txt heavyball pytorch-optimizer     the peers, where torch is there already
    PYTHONPATH=…/optimizers python benchmarks/matrix.py            Meta's distributed_shampoo lies in its repository
    python benchmarks/matrix.py --only muon --layers 2             a table, and benchmarks/results/matrix-cpu.json

Matrices are those of GPT-2 124M inside its blocks, (2304, 768), (768, 768), (3072, 768) and (768, 3072), of --layers
blocks; Shampoo, SOAP and Kron have those of one. A turn is as many steps as pass from one basis to the next, so that
these are shared out. `rate` is what the machine does in x xᵀ of 768 × 3072, in the same rounds, and `share` is the part
of it that a method reaches if it is given credit for the products of the plain iteration: who needs fewer may reach
more than 1. `near` is how far its step is from that of the iteration in float64, as a part of it, at random gradients
and at such as momentum has: singular values from 1 down to 1/1,000.

`spikes` has the longest step of ours against the median one, roots staggered. `small` has matrices 64 to 256 wide.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from bench import Bench, Record, Shapes, arguments, take_turns

import ravine
from ravine.matrix import newton_schulz

INTERVAL = 10
JORDAN = (3.4445, -4.7750, 2.0315)


def blocks(layers: int, d: int = 768) -> Shapes:
    """The matrices inside so many blocks of GPT-2."""
    return [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)] * layers


Params = list[torch.nn.Parameter]
Made = Callable[[Params], Any]


def heavyball(name: str, **hyper: Any) -> Made:
    def make(params: Params) -> Any:
        import heavyball

        heavyball.utils.compile_mode = "default"  # its own tunes every product for minutes
        opt = getattr(heavyball, name)(params, **hyper)
        opt.consume_grad = False  # it would take the gradients away from the others
        return opt

    return make


def pytorch_optimizer(name: str, **hyper: Any) -> Made:
    def make(params: Params) -> Any:
        import pytorch_optimizer

        group = {"params": params} | ({"use_muon": True} if name == "Muon" else {})
        return getattr(pytorch_optimizer, name)([group], **hyper)

    return make


def metas(kind: str) -> Made:
    def make(params: Params) -> Any:
        import distributed_shampoo as meta

        config = meta.DefaultSOAPConfig if kind == "soap" else meta.DefaultShampooConfig
        graft = None if kind == "soap" else meta.AdamPreconditionerConfig(beta2=0.99, epsilon=1e-8)
        most = 4096 if kind == "soap" else 1024
        return meta.DistributedShampoo(
            params,
            lr=1e-3,
            betas=(0.9, 0.99),
            epsilon=1e-8,
            max_preconditioner_dim=most,
            precondition_frequency=INTERVAL,
            preconditioner_config=config,
            grafting_config=graft,
        )

    return make


def ours(name: str, **hyper: Any) -> Made:
    return lambda params: getattr(ravine, name)(params, **hyper)


SHAMPOO: dict[str, Any] = dict(betas=(0.9, 0.99), average=True, graft="adam", interval=INTERVAL, stagger=True)
SOAP: dict[str, Any] = dict(betas=(0.95, 0.95), interval=INTERVAL, stagger=True)
MUON: Mapping[str, Made] = {
    "ravine": ours("Muon", precision="bf16"),
    "ravine float32": ours("Muon"),
    "torch": lambda params: torch.optim.Muon(params),
    "heavyball": heavyball("Muon"),
    "pytorch-optimizer": pytorch_optimizer("Muon"),  # ns_method="gram_newton_schulz" is float16: minutes on a CPU
}
FACTORED: Mapping[str, Mapping[str, Made]] = {
    "shampoo": {
        "ravine": ours("Shampoo", **SHAMPOO, blocks=ravine.blocks.Partition(1024)),
        "distributed_shampoo": metas("shampoo"),
        "pytorch-optimizer": pytorch_optimizer(
            "ScalableShampoo", block_size=1024, preconditioning_compute_steps=INTERVAL, start_preconditioning_step=1
        ),
    },
    "soap": {
        "ravine": ours("SOAP", **SOAP),
        "distributed_shampoo": metas("soap"),
        "heavyball": heavyball("SOAP", precondition_frequency=INTERVAL, max_precond_dim=4096, merge_dims=False),
        "pytorch-optimizer": pytorch_optimizer("SOAP", precondition_frequency=INTERVAL),
    },
    "kron": {
        "ravine": ours("Kron", probe=True),  # as the others draw V
        "ravine, the mean of V": ours("Kron"),
        "heavyball": heavyball("PSGDKron", max_size_triangular=8192, preconditioner_update_probability=1.0),
        "pytorch-optimizer": pytorch_optimizer("Kron", pre_conditioner_update_probability=1.0),
    },
}
AIM = ("at least", 1.5)


def made(record: Record, question: str, params: Params, contestants: Mapping[str, Made]) -> dict[str, Any]:
    """Those that run here, each of which has made a step; the others are told with their reason."""
    running: dict[str, Any] = {}
    for name, make in contestants.items():
        try:
            running[name] = make(params)
            running[name].step()
        except Exception as problem:  # of another library, whatever it is
            running.pop(name, None)
            said = str(problem).strip().splitlines()
            record.leave(question, name, f"{type(problem).__name__}: {said[0] if said else ''}")
    return running


def work(shapes: Shapes, steps: int = 5) -> int:
    """The multiplications and additions of Newton-Schulz as it is written."""
    sizes = [(min(s), max(s)) for s in shapes]
    return sum(steps * (4 * n * n * m + 2 * n**3) for n, m in sizes)


def muon(record: Record, layers: int, width: int, rounds: int) -> None:
    """A step of Muon at Jordan's coefficients."""
    shapes = blocks(layers, width)
    bench = Bench(shapes)
    running = made(record, "muon", bench.params, MUON)
    x = torch.randn(width, 4 * width)
    half = x.bfloat16()
    products = {"float32": lambda: x @ x.mT, "bf16": lambda: half @ half.mT}
    s = take_turns({name: opt.step for name, opt in running.items()} | products, rounds, warm=1)
    rates = {k: 8 * width**3 / s.pop(k) for k in products}
    for name, step in s.items():
        share = work(shapes) / step / rates["float32" if name == "ravine float32" else "bf16"]
        near = nearness(name, width)
        aims = {"step/ravine": AIM} if name == "torch" else "told, without an aim"
        more = {"share": share, "near random": near["random"], "near momentum": near["momentum"], "rates": rates}
        record.say("muon", name, {"step": step}, {"step/ravine": step / s["ravine"]}, aims, **more)
        print(f"{'':<24}share {share:.2f}, from float64 {near['random']:.2g} and {near['momentum']:.2g}")


def nearness(name: str, n: int) -> dict[str, float]:
    """How far the direction of the first step is from the one in float64, the size of both being 1."""
    found: dict[str, float] = {}
    made = torch.Generator().manual_seed(0)
    for kind in ("random", "momentum"):
        g = torch.randn(n, 4 * n, generator=made)
        if kind == "momentum":
            u, _, v = torch.linalg.svd(g, full_matrices=False)
            g = (u * torch.logspace(0, -3, n)) @ v
        p = torch.nn.Parameter(torch.zeros(n, 4 * n))
        p.grad = g.clone()
        opt = MUON[name]([p])
        for group in opt.param_groups:
            group["weight_decay"] = 0.0
        opt.step()
        exact = newton_schulz(g.double(), (JORDAN,) * 5)
        step = -p.detach().double()
        found[kind] = float((step / step.norm() - exact / exact.norm()).norm())
    return found


def factored(record: Record, question: str, width: int, rounds: int) -> None:
    """An interval of steps of a method with factors, for the matrices of one block."""
    bench = Bench(blocks(1, width))
    running = made(record, question, bench.params, FACTORED[question])

    def interval(opt: Any) -> None:
        for _ in range(INTERVAL):
            opt.step()

    s = take_turns({k: partial(interval, opt) for k, opt in running.items()}, rounds, warm=1)
    s = {k: t / INTERVAL for k, t in s.items()}
    if "ravine" not in s:
        return
    for name, step in s.items():
        aims = "told, without an aim" if name.startswith("ravine") else {"step/ravine": AIM}
        record.say(question, name, {"step": step}, {"step/ravine": step / s["ravine"]}, aims)


def spikes(record: Record, layers: int, width: int) -> None:
    """The longest step against the median one, in two intervals after a warm one."""
    for question, name in {"shampoo": "Shampoo", "soap": "SOAP", "kron": "Kron"}.items():
        if not hasattr(ravine, name):
            continue
        bench = Bench(blocks(layers, width))
        opt = FACTORED[question]["ravine"](bench.params)
        times: list[float] = []
        for _ in range(3 * INTERVAL):
            begin = time.perf_counter()
            opt.step()
            times.append(time.perf_counter() - begin)
        times = times[INTERVAL:]
        s = {"median": statistics.median(times), "longest": max(times)}
        ratios = {"longest/median": s["longest"] / s["median"]}
        record.say(f"spikes {question}", f"{layers} blocks", s, ratios, {"longest/median": ("at most", 3)})


def small(record: Record, rounds: int) -> None:
    """The matrices of a small network beside AdamW's step."""
    shapes: Shapes = [(256, 64), (64, 256), (128, 128), (256, 128), (128, 256), (64, 64)] * 2
    bench = Bench(shapes)
    opts = {
        "adamw": ravine.AdamW(bench.params),
        "torch adamw": torch.optim.AdamW(bench.params),
        "muon": ravine.Muon(bench.params),
        "torch muon": torch.optim.Muon(bench.params),
        "soap": ravine.SOAP(bench.params, stagger=True),
        "shampoo": ravine.Shampoo(bench.params, **SHAMPOO),
    }
    s = take_turns({k: opt.step for k, opt in opts.items()}, rounds * 3, inner=INTERVAL)
    least = work(shapes) / rate_of(128)
    for name, step in s.items():
        ratios = {"step/adamw": step / s["adamw"]}
        aims = {"step/adamw": ("at most", 3)} if name in ("muon", "soap", "shampoo") else "told, without an aim"
        record.say("small", name, {"step": step, "products": least}, ratios, aims)


def rate_of(n: int) -> float:
    """Operations each second in a product of n × n matrices."""
    x = torch.randn(n, n)
    s = take_turns({"x": lambda: x @ x.mT}, 20, inner=20)
    return 2 * n**3 / s["x"]


def main() -> None:
    questions = ["muon", *FACTORED, "spikes", "small"]
    parser = arguments(__doc__, "matrix-cpu.json", rounds=5)
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--layers", type=int, default=6, help="blocks of GPT-2 for Muon; a third of them for spikes")
    parser.add_argument("--width", type=int, default=768, help="of GPT-2, to try the script with less")
    args = parser.parse_args()
    record = Record()
    with torch.no_grad():
        if "muon" in args.only:
            muon(record, args.layers, args.width, args.rounds)
        for question in FACTORED:
            if question in args.only:
                factored(record, question, args.width, max(1, args.rounds // 2))
        if "spikes" in args.only:
            spikes(record, max(1, args.layers // 3), args.width)
        if "small" in args.only:
            small(record, args.rounds)
    record.write(args.out)


if __name__ == "__main__":
    main()
