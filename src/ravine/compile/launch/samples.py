"""A loop over samples (emit/llvm/samples.py), bound to the memory of weights, their states and the data."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ravine.compile.emit.host import Host
from ravine.compile.emit.llvm.samples import emit, fields, names
from ravine.compile.expr import walk
from ravine.compile.interpret import evaluate
from ravine.compile.launch.llvm import POINTER
from ravine.compile.native import Code
from ravine.compile.path import number_of
from ravine.compile.plan import Plan


class Samples:
    """The loop of one thread: it claims samples from a counter that others claim from too, until none is left.

    host: the numbers of a step, where none of them depends on t. weights: for each weight its arrays by the names of
    the plan. data: the tensors `first`, `second`, `values` and `targets`, where the problem has them. counter: one
    int64, how many samples of this epoch are claimed. lock: one int32, 0 while nobody holds it.
    """

    def __init__(
        self,
        plan: Plan,
        host: Host,
        problem: str,
        loss: str,
        adds: str,
        weights: Sequence[Mapping[str, Tensor]],
        data: Mapping[str, Tensor],
        counter: Tensor,
        lock: Tensor,
        rank: int = 0,
    ):
        arrays = names(plan)
        kinds = tuple((a, str(weights[0][a].dtype).removeprefix("torch.")) for a in arrays)
        self.plan, self.host, self.counter = plan, host, counter
        self.held = [weights, data, lock]  # while their addresses are in use
        self.samples, self.claim = functions(plan, kinds, problem, loss, adds)
        known = {name: x.data_ptr() for name, x in data.items()} | {"lock": lock.data_ptr(), "rank": rank}
        known |= {
            f"{side}.{name}": weight[name].data_ptr()
            for side, weight in zip("ab", weights, strict=False)
            for name in arrays
        }
        self.fields = fields(plan, problem)
        self.context = (ctypes.c_int64 * len(self.fields))(*(known.get(name, 0) for name in self.fields))
        self.timed = any(x.op == "t" for x in walk(plan.numbers))

    def run(self, order: Tensor, block: int, count: float, group: Mapping[str, Any]) -> None:
        """Walk blocks of this many samples in this order. count: steps made before the epoch. group: the
        hyperparameters; their numbers are read again at each block."""
        found, total = ctypes.c_int64(), len(order)
        while True:
            self.claim(self.counter.data_ptr(), block, ctypes.addressof(found))
            low, high = found.value, min(found.value + block, total)
            if low >= high:
                return
            table = self.numbers(count + 1 + low, high - low, group)
            now = {"low": low, "high": high, "order": order.data_ptr(), "table": table.data_ptr()}
            now["stride"] = table.shape[1] if self.timed else 0
            for name, x in now.items():
                self.context[self.fields.index(name)] = x
            self.samples(self.context)

    def numbers(self, first: float, count: int, group: Mapping[str, Any]) -> Tensor:
        """The numbers of the host in steps first, first + 1, …: a row for each, or one where none depends on t."""
        plan = self.plan
        if not plan.numbers:
            return torch.zeros(1, 0, dtype=torch.float64, device="cpu")
        if not self.timed:
            made = self.host(first, {}, group)
            return torch.tensor([made], dtype=torch.float64, device="cpu")
        t = torch.arange(count, dtype=torch.float64, device="cpu") + first
        leaves = [x for x in walk(plan.numbers) if x.op in ("t", "hyper")]
        known = {
            x: t
            if x.op == "t"
            else torch.tensor(float(number_of(group, str(x.arg))), dtype=torch.float64, device="cpu")
            for x in leaves
        }
        values = evaluate(plan.numbers, known.__getitem__, torch.empty(0, device="cpu"), known)
        return torch.stack([values[x].double().expand(count) for x in plan.numbers], 1)


@cache
def functions(plan: Plan, kinds: tuple[tuple[str, str], ...], problem: str, loss: str, adds: str):
    """The functions samples and claim."""
    ir = emit(plan, dict(kinds), problem, loss, adds)
    code = Code(ir, ["samples", "claim"])
    return code.function("samples", POINTER), code.function("claim", POINTER, ctypes.c_int64, POINTER)
