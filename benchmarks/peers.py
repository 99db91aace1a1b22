"""How fast is AdamW elsewhere? Its step, its state, and what it needs to start, on the shapes of GPT-2 124M.

    pip install -c constraints.txt -e ".[peers]"     the peers, on a CPU with a torch that is there already
    python benchmarks/peers.py                       a table, and benchmarks/results/peers-cpu.json: half an hour
    python benchmarks/peers.py --only ravine fused optax --model resnet-50

The peers are torch's own (fused, foreach, under torch.compile), optax under jit, heavyball, pytorch-optimizer,
torch-optimizer, torchao's and bitsandbytes' 8-bit AdamW.

First each runs alone, in a process that has only imported torch and finds empty caches: `start` is all from there to
the end of its first step: importing it, tracing, compiling. `gap` is how far its weights are from those of torch's
AdamW after three steps with gradients that change: the mean distance, lr = 1. `state` is the bytes it keeps for each
number.

Then all take turns in one process, on the same tensors (optax on its own). A peer that cannot run beside the others
keeps the time that it took alone, divided by that of a stream, `x.mul_(c)`, which ran beside it there and runs
beside all here. What does not run at all stays in the table, with the reason.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from bench import MODELS, Bench, Record, arguments, free, state_bytes, take_turns

Params = list[torch.nn.Parameter]
HYPER = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
CHANGES = (-0.5, -0.5)  # what the gradients are multiplied by after the first step, and after the second
PATIENCE = 900  # seconds for a peer alone
SPARE = 2 << 30  # bytes of memory that the peers leave to others


class Contestant(Protocol):
    """What is timed, and what it has made."""

    def step(self) -> object: ...
    def scale(self, factor: float) -> None:
        """Multiply the gradients."""

    def state(self) -> object: ...
    def weights(self) -> list[torch.Tensor]: ...


class OfTorch:
    """An optimizer with torch's interface."""

    def __init__(self, params: Params, opt: torch.optim.Optimizer, step: Callable[[], object] | None = None):
        self.params, self.opt, self.step = params, opt, step or opt.step

    def scale(self, factor: float) -> None:
        for p in self.params:
            p.grad.mul_(factor)

    def state(self) -> object:
        return list(self.opt.state.values())

    def weights(self) -> list[torch.Tensor]:
        return [p.detach() for p in self.params]


class OfOptax:
    """A transformation of optax under jit, which may write where the old weights and states were."""

    def __init__(self, params: Params):
        import jax
        import optax

        betas = {"b1": HYPER["betas"][0], "b2": HYPER["betas"][1]}
        rule = optax.adamw(HYPER["lr"], **betas, eps=HYPER["eps"], weight_decay=HYPER["weight_decay"])

        def update(params: Any, kept: Any, grads: Any) -> Any:
            changes, kept = rule.update(grads, kept, params)
            return optax.apply_updates(params, changes), kept

        self.jax, self.update = jax, jax.jit(update, donate_argnums=(0, 1))
        self.params = [jax.numpy.array(p.detach().numpy()) for p in params]
        self.grads = [jax.numpy.array(p.grad.numpy()) for p in params]
        self.kept = jax.block_until_ready(rule.init(self.params))

    def step(self) -> None:
        self.params, self.kept = self.jax.block_until_ready(self.update(self.params, self.kept, self.grads))

    def scale(self, factor: float) -> None:
        self.grads = [g * factor for g in self.grads]

    def state(self) -> object:
        return self.jax.tree.leaves(self.kept)

    def weights(self) -> list[torch.Tensor]:
        import numpy

        return [torch.from_numpy(numpy.array(p)) for p in self.params]


def ours(params: Params, name: str = "AdamW", **hyper: Any) -> Contestant:
    import ravine

    return OfTorch(params, getattr(ravine, name)(params, **HYPER | hyper))


def torchs(params: Params, **how: Any) -> Contestant:
    return OfTorch(params, torch.optim.AdamW(params, **HYPER, **how))


def compiled(params: Params) -> Contestant:
    opt = torch.optim.AdamW(params, **HYPER)
    return OfTorch(params, opt, torch.compile(opt.step))


def heavyball(params: Params) -> Contestant:
    import heavyball

    opt = heavyball.AdamW(params, **HYPER)
    opt.consume_grad = False  # it would take the gradients away from the others
    return OfTorch(params, opt)


def torchao(params: Params) -> Contestant:
    from torchao.optim import AdamW8bit

    return OfTorch(params, AdamW8bit(params, **HYPER))


def bitsandbytes(params: Params, name: str) -> Contestant:
    import bitsandbytes

    return OfTorch(params, getattr(bitsandbytes.optim, name)(params, **HYPER))


def pytorch_optimizer(params: Params) -> Contestant:
    from pytorch_optimizer import load_optimizer

    return OfTorch(params, load_optimizer("adamw")(params, **HYPER))


def torch_optimizer(params: Params) -> Contestant:
    from torch_optimizer import AdaBelief

    # its AdaBelief adds the decay to the gradient unless told otherwise
    return OfTorch(params, AdaBelief(params, **HYPER, weight_decouple=True))


@dataclass(frozen=True)
class Peer:
    """Who takes part."""

    package: str  # as pip calls it
    make: Callable[[Params], Contestant]
    note: str = ""  # what a reader of its figures has to know
    adamw: bool = True

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")


PEERS = {
    "ravine": Peer("ravine", ours, "ravine.AdamW(…)"),
    "ravine bf16": Peer("ravine", lambda params: ours(params, storage="bf16"), 'storage="bf16"'),
    "ravine int8": Peer("ravine", lambda params: ours(params, storage="int8"), 'storage="int8"'),
    "fused": Peer("torch", lambda params: torchs(params, fused=True), "torch.optim.AdamW(fused=True)"),
    "foreach": Peer("torch", lambda params: torchs(params, foreach=True), "torch.optim.AdamW(foreach=True)"),
    "compile": Peer("torch", compiled, "torch.compile(torch.optim.AdamW(…).step)"),
    "optax": Peer("optax", OfOptax, "optax.adamw under jax.jit, its arrays donated"),
    "heavyball": Peer("heavyball", heavyball, "it compiles itself; told to leave the gradients where they are"),
    "pytorch-optimizer": Peer("pytorch-optimizer", pytorch_optimizer, "its AdamW is torch's, at torch's defaults"),
    "torchao 8-bit": Peer("torchao", torchao, "AdamW8bit: it compiles itself, tensor by tensor"),
    "bitsandbytes": Peer("bitsandbytes", lambda params: bitsandbytes(params, "AdamW"), "AdamW"),
    "bitsandbytes 8-bit": Peer("bitsandbytes", lambda params: bitsandbytes(params, "AdamW8bit"), "AdamW8bit"),
    "torch-optimizer": Peer("torch-optimizer", torch_optimizer, "it has no AdamW: this is AdaBelief", adamw=False),
    "ravine adabelief": Peer("ravine", lambda params: ours(params, "AdaBelief"), "for torch-optimizer", adamw=False),
}


# alone, in a process of its own


def alone(name: str, model: str) -> dict[str, float]:
    """Start it, step it, and look at what it has made."""
    bench, peer = Bench(model), PEERS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    contestant = peer.make(bench.params)
    contestant.step()
    found = {"start": time.perf_counter() - start}
    for factor in CHANGES:
        contestant.scale(factor)
        contestant.step()
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024  # bytes, on Linux
    found["state"] = state_bytes(contestant.state()) / bench.count
    weights = [w.clone() for w in contestant.weights()]
    steps = {"alone": contestant.step, "stream beside it": bench.stream()}
    found |= take_turns(steps, rounds=3, warm=1)
    del contestant, steps
    if peer.adamw:
        apart = sum((w - x).abs().sum().item() for w, x in zip(weights, expected(model), strict=True))
        found["gap"] = apart / bench.count / HYPER["lr"]
    return found


def expected(model: str) -> list[torch.Tensor]:
    """The weights after three steps of torch's own."""
    again = torchs(Bench(model).params, fused=True)
    again.step()
    for factor in CHANGES:
        again.scale(factor)
        again.step()
    return again.weights()


def probe(name: str, model: str) -> dict[str, float] | str:
    """What `alone` finds in a new process, or the reason why it finds nothing."""
    peer = PEERS[name]
    if find_spec(peer.module) is None:
        return f"not installed: pip install {peer.package}"
    command = [sys.executable, __file__, "--alone", name, "--model", model]
    with tempfile.TemporaryDirectory() as empty:
        caches = dict.fromkeys(("RAVINE_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"), empty)
        try:
            done = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"not done after {PATIENCE} s"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return f"it fails: {lines[-1].strip()}" if lines else f"it ends with status {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


# together


def together(bench: Bench, wanted: list[str], rounds: int) -> tuple[dict[str, float], dict[str, str]]:
    """The median time of a step of each, in turns with a stream; and who could not run beside the others, and why."""
    running: dict[str, Callable[[], object]] = {"stream": bench.stream()}
    refused: dict[str, str] = {}
    for name in wanted:
        try:
            contestant = PEERS[name].make(bench.params)
            contestant.step()
        except Exception as problem:  # of another library, whatever it is: it is told
            refused[name] = f"beside the others it fails: {type(problem).__name__}: {str(problem).splitlines()[0]}"
        else:
            running[name] = contestant.step
    return take_turns(running, rounds, warm=2), refused


def fitting(found: Mapping[str, dict[str, float]]) -> list[str]:
    """Those that fit into free memory together, in their order."""
    left, out = free() - SPARE, []
    for name, x in found.items():
        if x["memory"] <= left:
            out.append(name)
            left -= x["memory"]
    return out


def measure(record: Record, model: str, only: list[str], rounds: int) -> None:
    """Alone, then together, then a row for each."""
    found: dict[str, dict[str, float]] = {}
    for name in only:
        what = probe(name, model)
        if isinstance(what, str):
            record.leave(name, model, what, note=PEERS[name].note)
        else:
            found[name] = what
            print(f"{name:<23} starts in {what['start']:.3g} s", flush=True)
    bench = Bench(model)
    wanted = fitting(found)
    times, refused = together(bench, wanted, rounds)
    refused |= {name: "no memory for it beside the others" for name in found.keys() - set(wanted)}
    for name, x in found.items():
        aside = x.pop("alone"), x.pop("stream beside it")
        step = aside[0] / aside[1] * times["stream"] if name in refused else times[name]
        s = {"step": step, "start": x.pop("start"), "stream": times["stream"]}
        ratios = {"step/ravine": step / times["ravine"]} if "ravine" in times else {}
        more = {"alone": refused[name]} if name in refused else {}
        more |= {"note": PEERS[name].note, "version": installed(PEERS[name].package)}
        record.say(name, model, s, ratios, "told, without an aim", **x, **more)


def installed(package: str) -> str:
    """Its version, and where jax does the work, jax's."""
    try:
        return version(package) + (f" on jax {version('jax')}" if package == "optax" else "")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


def main() -> None:
    parser = arguments(__doc__, "peers-cpu.json", rounds=7)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--model", choices=MODELS, default="gpt2-124m")
    parser.add_argument("--alone", choices=PEERS, help="print what one finds in this process, as the others are probed")
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(alone(args.alone, args.model)))
        return
    record = Record()
    measure(record, args.model, args.only, args.rounds)
    record.write(args.out)


if __name__ == "__main__":
    main()
