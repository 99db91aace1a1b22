"""Changing between the weights that a model trains with and those to evaluate, where a rule has two kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile.block import View
from ravine.compile.expr import FULL, HOST, VECTORS, Expr
from ravine.compile.geometry import extent, real
from ravine.compile.interpret import evaluate, wide
from ravine.compile.path import number_of
from ravine.optimizer.state import as_numbers, weight_of
from ravine.optimizer.zero import send
from ravine.rule.programs import TRAIN

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


def begin_in_train(group: dict[str, Any]) -> None:
    """Note the mode from the first step on: distributed checkpoints have what groups have then."""
    group.setdefault("mode", "train")


@torch.no_grad()
def show(opt: Optimizer) -> None:
    """Put the weights to evaluate into the model, and those that were there aside."""
    for group in opt.param_groups:
        for p in group["params"]:
            compiled, state = opt.compiled(group, p), opt.state.get(p)
            if compiled.program.shown is None:
                continue
            group["mode"] = "eval"
            if state and TRAIN not in state:
                value = weights(opt, compiled.program.shown, compiled.plan.view, group, p, state)
                state[TRAIN] = p.detach().clone(memory_format=torch.preserve_format)
                real(p).copy_(value.reshape(real(p).shape))
    send(opt)


def weights(
    opt: Optimizer, shown: Expr, view: View, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Tensor]
) -> Tensor:
    """The weights to evaluate, in the type of computation."""
    compute = torch.float64 if p.dtype in (torch.float64, torch.complex128) else torch.float32
    numbers, rule = wide(p.device), opt.rule_of(group)

    def read(leaf: Expr) -> Tensor:
        if leaf.op == "hyper":
            return torch.tensor(float(number_of(group, str(leaf.arg))), dtype=numbers, device="cpu")
        found = (
            weight_of(p, state)
            if leaf.op == "p"
            else as_numbers(state, "step" if leaf.op == "t" else rule.key(str(leaf.arg)))
        )
        if leaf.shape is HOST:
            return found.to("cpu", numbers)
        found = real(found).to(compute)
        return found.reshape(extent(real(p), leaf.shape, view)) if leaf.shape in (FULL, *VECTORS) else found

    return evaluate([shown], read, real(p), view=view)[shown]


@torch.no_grad()
def put_back(opt: Optimizer) -> None:
    """Put the weights to train with into the model again."""
    for group in opt.param_groups:
        if "mode" in group:
            group["mode"] = "train"
        for p in group["params"]:
            if TRAIN in opt.state.get(p, {}):
                p.copy_(opt.state[p].pop(TRAIN))
    send(opt)
