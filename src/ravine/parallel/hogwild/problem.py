"""What sparse problems share: an optimizer's own rule in a compiled loop over samples, in threads or processes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.emit.llvm.samples import ADDS, LOSSES, WORDS
from ravine.compile.launch import elementwise
from ravine.compile.launch.memory import lacks
from ravine.compile.launch.samples import Samples
from ravine.optimizer import Optimizer
from ravine.optimizer.clock import count
from ravine.optimizer.release import is_released
from ravine.optimizer.state import keys_of
from ravine.optimizer.swap import begin_in_train
from ravine.parallel.hogwild.processes import hogwild
from ravine.parallel.hogwild.share import prepare
from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, told, whole

LARGEST = 2**31 - 1  # an index is an int32
BLOCK = 4096  # samples that are claimed at once, at most


class SparseProblem:
    """A sum over samples, each of which touches few coordinates of the weights.

    data: the tensors that the loop reads, by their names in compile/emit/llvm/samples.py.
    """

    papers: ClassVar[tuple[str, ...]]  # keys in optim/papers.bib
    problem: ClassVar[str]
    weights: ClassVar[int]  # how many parameters it has

    def __init__(self, data: Mapping[str, Tensor], optimizer: Optimizer, loss: str, shuffle: bool, seed: int):
        self.data, self.optimizer, self.loss_name, self.shuffle, self.seed = data, optimizer, loss, shuffle, seed
        self.epochs = 0  # that have been walked
        self.seconds: list[float] = []  # see fit()
        self.worked: list[list[float]] = []

    @property
    def name(self) -> str:
        """The class, for errors."""
        return type(self).__name__

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.data["targets"])

    def scores(self) -> Tensor:
        """What the weights say of each sample, in float64."""
        raise NotImplementedError(f"{self.name} has no scores()")

    def loss(self) -> float:
        """The mean loss of all samples at the present weights, without what the optimizer adds (weight_decay)."""
        z, y = self.scores(), self.data["targets"]
        match self.loss_name:
            case "logistic":
                each = torch.nn.functional.softplus(-y * z)
            case "hinge":
                each = (1 - y * z).clamp(min=0)
            case _:
                each = (z - y).square() / 2
        return float(each.mean())

    def order(self, epoch: int) -> Tensor:
        """The samples in the order in which they are claimed in this epoch, counted from 0: a function of the seed."""
        if not self.shuffle:
            return torch.arange(len(self), device="cpu")
        made = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        return torch.randperm(len(self), generator=made, device="cpu")

    def fit(
        self,
        epochs: int = 1,
        *,
        backoff: float = 1.0,
        threads: int = 1,
        processes: int = 0,
        adds: str = "plain",
        timeout: float | None = None,
    ) -> None:
        """Make one step of the rule for each sample, in each epoch, and change the weights in place.

        epochs, backoff: after each epoch all workers wait for each other, and the rate is multiplied by `backoff`.
        threads: the number of workers in this process. The compiled loop does not hold the GIL, so this is the simplest
            way to use several cores.
        processes: the number of workers in processes of their own, over shared memory; they take seconds to start, once
            for all epochs. 0: use threads.
        adds: how workers write. "plain": a load and a store, as the paper does it. "atomic": an atomic addition of the
            difference. "locked": one sample at a time; for comparison.
        timeout: seconds for the processes, as in `hogwild`.

        With one worker every run gives the same result: that of single steps of the optimizer on the samples in
        `order(epoch)`. With several workers, runs differ. The step count is exact: workers claim samples, and a
        sample's place among the claims is its t.

        Afterwards `seconds` has the time of each epoch, from the first worker's start to the last one's end, without
        the start of processes, and `worked` the processor seconds of each worker in it.
        """
        epochs = whole(f"{self.name}: epochs", integer(f"{self.name}: epochs", epochs), 0, "")
        threads = whole(f"{self.name}: threads", integer(f"{self.name}: threads", threads), 1, "")
        processes = whole(f"{self.name}: processes", integer(f"{self.name}: processes", processes), 0, "")
        backoff = finite(f"{self.name}: backoff", value_of(f"{self.name}: backoff", float, backoff), 0.0, 1.0, "")
        if timeout is not None:
            finite(f"{self.name}: timeout", timeout, 0.0, sys.float_info.max, "")
        if adds not in ADDS:
            raise ValueError(f"{self.name}: adds is {told(adds)}; it must be one of {', '.join(map(repr, ADDS))}")
        if threads > 1 and processes:
            raise ValueError(f"{self.name}: give threads or processes, not both")
        compiled, group = self.ready(), self.optimizer.param_groups[0]
        if compiled.program.shown is not None:
            begin_in_train(group)
        start, claimed = self.count(), torch.zeros(epochs, dtype=torch.int64)
        lock = torch.zeros(1, dtype=torch.int32)
        times = torch.zeros(epochs, max(threads, processes), 3, dtype=torch.float64)
        block = max(1, min(BLOCK, math.ceil(len(self) / (8 * max(threads, processes)))))
        walk, params = Walk(self.epochs, start, adds, block, claimed, lock, times), group["params"]
        try:
            if processes:
                for x in (*self.data.values(), claimed, lock, times):
                    x.share_memory_()
                workers = {"processes": processes, "epochs": epochs, "backoff": backoff, "timeout": timeout}
                hogwild(walk, self, self.optimizer, **workers)
            else:
                self.in_threads(walk, epochs, backoff, threads)
        finally:
            made = int(claimed.clamp(max=len(self)).sum())
            for x in {id(x): x for p in params if (x := self.optimizer.state[p]["step"]) is not None}.values():
                x.add_(made)
            torch.autograd.graph.increment_version(params)
            self.epochs += int((claimed >= len(self)).sum())
            self.seconds = (times[:, :, 1].amax(1) - times[:, :, 0].amin(1)).tolist()
            self.worked = times[:, :, 2].tolist()

    def in_threads(self, walk: Walk, epochs: int, backoff: float, threads: int) -> None:
        """All epochs, in threads of this process."""
        group = self.optimizer.param_groups[0]
        with ThreadPoolExecutor(threads, thread_name_prefix="ravine") as pool:
            for epoch in range(epochs):
                order = self.order(walk.first + epoch)
                for done in [pool.submit(walk.walk, rank, epoch, self, order) for rank in range(threads)]:
                    done.result()
                if isinstance(group["lr"], Tensor):
                    group["lr"].mul_(backoff)
                else:
                    group["lr"] *= backoff

    def count(self) -> float:
        """The step count of the weights."""
        counts = {count(f"{self.name}: step", self.optimizer.state[p]["step"]) for p in self.params}
        if len(counts) > 1:
            raise ValueError(f"{self.name}: the weights have made {counts} steps; they must have made as many")
        return counts.pop()

    @property
    def params(self) -> list[Any]:
        """The weights."""
        return self.optimizer.param_groups[0]["params"]

    def ready(self) -> Compiled:
        """The compiled rule, with every state made; or one clear error, and nothing has changed."""
        opt, name = self.optimizer, type(self.optimizer).__name__
        if is_released(opt):
            raise ValueError(f"{self.name}: {name} was released (ravine.release): call remove() first")
        if len(opt.param_groups) != 1 or len(self.params) != self.weights:
            held = sum(len(group["params"]) for group in opt.param_groups)
            raise ValueError(
                f"{self.name}: {name} has {held} parameters in {len(opt.param_groups)} groups; it must have one group "
                f"of {self.weights}: its weights"
            )
        group = opt.param_groups[0]
        if group.get("mode") == "eval":
            raise RuntimeError(f"{self.name}: the model holds the weights that eval() put there; call train() first")
        for p in self.params:
            self.check(p)
        compiled = opt.compiled(group, self.params[0])
        if why := refused(compiled, group):
            raise ValueError(
                f"{self.name} steps single coordinates, and {name} {why}; use one that does not, such as Adam"
            )
        prepare(opt)
        for p in self.params:
            for k, x in self.arrays(compiled, p).items():
                if str(x.dtype).removeprefix("torch.") not in WORDS or x.shape != p.shape:
                    raise ValueError(f"{self.name}: state {k} is {told(x)}; it must be float32 or float64")
                if not x.is_contiguous() or lacks(x):
                    raise ValueError(f"{self.name}: state {k} does not lie element after element in memory")
        return compiled

    def check(self, p: Tensor) -> None:
        """Raise unless a weight is of the right kind and shape."""
        if p.device.type != "cpu" or type(p.data) is not Tensor or p.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{self.name}: a weight is {told(p)} on {p.device}; it must be float32 or float64 on cpu")
        if not p.is_contiguous() or lacks(p):
            raise ValueError(
                f"{self.name}: a weight does not lie element after element in memory; make it contiguous()"
            )

    def arrays(self, compiled: Compiled, p: Tensor) -> dict[str, Tensor]:
        """A weight and its states, by the names of the plan."""
        state = self.optimizer.state[p]
        keys = keys_of(self.optimizer.rule_of(self.optimizer.param_groups[0]), compiled, state)
        return {"p": p.detach()} | {k: state[key] for k, key in keys.items()}

    def samples(self, adds: str, claimed: Tensor, lock: Tensor) -> Samples:
        """A loop over what is left of an epoch."""
        compiled, first = self.optimizer.compiled(self.optimizer.param_groups[0], self.params[0]), self.params[0]
        weights = [self.arrays(compiled, p) for p in self.params]
        rank = first.shape[-1] if self.weights > 1 else 0
        plan, host = compiled.plan, compiled.stages[0]
        return Samples(plan, host, self.problem, self.loss_name, adds, weights, self.data, claimed, lock, rank)


@dataclass(frozen=True)
class Walk:
    """The part of a worker in all epochs; `hogwild` calls it in each process."""

    first: int  # epochs before
    start: float  # steps before
    adds: str
    block: int  # samples that are claimed at once
    claimed: Tensor  # of each epoch: samples
    lock: Tensor
    times: Tensor  # of each epoch and worker: its start, its end, and its processor seconds

    def __call__(self, rank: int, epoch: int, problem: SparseProblem, optimizer: Optimizer) -> None:
        problem.optimizer = optimizer
        self.walk(rank, epoch, problem, problem.order(self.first + epoch))

    def walk(self, rank: int, epoch: int, problem: SparseProblem, order: Tensor) -> None:
        """Claim samples of an epoch until none is left."""
        began, busy = time.monotonic(), time.thread_time()
        loop = problem.samples(self.adds, self.claimed[epoch : epoch + 1], self.lock)
        count = self.start + epoch * len(problem)
        loop.run(order, self.block, count, problem.optimizer.param_groups[0])
        spent = [began, time.monotonic(), time.thread_time() - busy]
        self.times[epoch, rank] = torch.tensor(spent, dtype=torch.float64)


def refused(compiled: Compiled, group: Mapping[str, Any]) -> str:
    """Why a rule cannot be walked coordinate by coordinate; nothing if it can."""
    plan, program = compiled.plan, compiled.program
    if group["storage"] in ("int8", "bf16") or group["master_bits"] is not None:
        return "rounds its states or weights"
    if program.inputs:
        return f"takes {', '.join(program.inputs)} beside the gradient"
    if plan.hosted:
        return f"carries a number from step to step ({', '.join(plan.hosted)})"
    if plan.everys or not elementwise(plan):
        return "looks at more than one element, or draws noise"
    return ""


def index(who: str, what: str, x: Any, size: int | None = None) -> Tensor:
    """Whole numbers from 0 to size − 1 in one dimension, as int64; or one clear error."""
    made = torch.as_tensor(x, device="cpu")
    counts = not (made.dtype.is_floating_point or made.dtype.is_complex or made.dtype == torch.bool)
    if made.dim() != 1 or not (counts or not made.numel()):
        raise ValueError(f"{who}: {what} is {told(made)}; it must be whole numbers in one dimension")
    made = made.to(torch.int64)
    if size is not None and made.numel() and not 0 <= int(made.min()) <= int(made.max()) < size:
        raise ValueError(
            f"{who}: {what} has numbers from {int(made.min())} to {int(made.max())}; they must lie from 0 to {size - 1}"
        )
    return made


def real(who: str, what: str, x: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    """Finite numbers in one dimension, as a copy of this type; or one clear error."""
    made = torch.as_tensor(x, device="cpu")
    if made.dim() != 1 or made.dtype.is_complex:
        raise ValueError(f"{who}: {what} is {told(made)}; it must be real numbers in one dimension")
    made = made.detach().to(dtype, copy=True).contiguous()
    if not bool(made.isfinite().all()):
        raise ValueError(f"{who}: {what} has NaN or infinite numbers; every one must be finite in {dtype}")
    return made


def target(who: str, y: Any, samples: int, loss: str) -> Tensor:
    """The target of each sample, in float64."""
    if loss not in LOSSES:
        raise ValueError(f"{who}: loss is {told(loss)}; it must be one of {', '.join(map(repr, LOSSES))}")
    made = real(who, "targets", y)
    if len(made) != samples:
        raise ValueError(f"{who}: there are {len(made)} targets for {samples} samples; give one for each")
    if not samples:
        raise ValueError(f"{who}: there is no sample; give at least one")
    if loss != "squared" and not bool((made.abs() == 1).all()):
        raise ValueError(f"{who}: with loss={loss!r} targets must be −1 or 1; for 0 and 1 give 2 * y - 1")
    return made
