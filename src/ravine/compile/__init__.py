"""From a rule to something that runs. The stages in order, each in the file of its name:

trace     run the rule once on symbols: a graph; watch.py puts a guard and measures beside it
check     is it a legal graph? if not, say what to write instead
simplify  move to the host what the host can do
plan      cut the graph into phases: sweeps over memory, reductions, short and matrix work, numbers of the host
storage   how an array lies in memory: types, and the codes of compressed states
emit      the text of the kernels for one backend: reference, llvm, triton, latex
cache     machine code is kept on disk
launch    bind a plan to the tensors of a model and run it
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.compile.check import check
from ravine.compile.debug import debug
from ravine.compile.emit import host
from ravine.compile.expr import HOST
from ravine.compile.geometry import moves
from ravine.compile.path import number_of
from ravine.compile.plan import Plan, plan
from ravine.compile.simplify import simplify
from ravine.compile.trace import Program, Questions, Rule, trace


@dataclass(frozen=True, eq=False)
class Compiled:
    """A rule at fixed flags: its graph as written, the plan of its kernels, its numbers on the host."""

    program: Program
    plan: Plan
    stages: tuple[host.Host, ...]  # its numbers on the host: before a step, and after each sum over all tensors
    asked: dict[str, bool]  # which floats the rule asked to be zero or not, and the answers
    known: dict[str, Any]  # what it asked about the tensor
    keeps: tuple[tuple[str, int], ...]  # the numbers that the host carries to the next step: where each stands

    def fits(self, hyper: Mapping[str, Any]) -> bool:
        """True while each float that the rule asked about is zero, or not zero, as it was then."""
        for name, answer in self.asked.items():
            if bool(hyper[name] if name in hyper else number_of(hyper, name)) != answer:
                return False
        return True

    def suits(self, facts: Mapping[str, Any]) -> bool:
        """True for tensors about which what the rule asked has the same answers."""
        return all(facts[k] == x for k, x in self.known.items())

    def kept(self, values: Sequence[float]) -> dict[str, float]:
        """The numbers that the host carries to the next step, of those of this one."""
        return {name: values[i] for name, i in self.keeps}


MATRIX = {"p.vector": False, "p.places": 1, "p.eps": 2.0**-23}  # the tensor that is meant where none is given


def facts_of(p: Tensor) -> dict[str, Any]:
    """What a rule may ask about a tensor."""
    return {"p.vector": p.dim() < 2, "p.places": max(1, math.prod(p.shape[2:])), "p.eps": torch.finfo(p.dtype).eps}


def compile_rule(rule: type[Rule], hyper: Mapping[str, Any], facts: Mapping[str, Any] = MATRIX) -> Compiled:
    """The whole front half of the pipeline; what depends on a device and its types comes at launch."""
    questions = Questions(hyper, facts)
    program = check(trace(rule, hyper, questions))
    simple = simplify(program, roots=hyper.get("storage") == "int8")
    view = hyper.get("blocks") or getattr(rule, "view", "first")
    steps = plan(simple, view, hyper.get("storage"), hyper.get("master_bits"))
    if moves(view) and any(map(steps.rowwise, steps.kernels)):
        raise ValueError(
            f"{rule.__name__} has numbers of rows, columns or matrices beside its elements, and {view!r} gives matrix "
            "operations elements that do not lie together; use a block that keeps their order, as Heads(n) and QKV() do"
        )
    if steps.storage == "int8" and any(map(steps.rowwise, steps.kernels)):
        raise ValueError(
            f'{rule.__name__} looks at rows and columns, and storage="int8" keeps blocks of elements; '
            'use storage="bf16"'
        )
    debug(1, f"{rule.__name__}: {len(steps.kernels)} kernel(s), arrays {', '.join(steps.arrays)}")
    debug(2, f"{rule.__name__} on the host:\n{host.emit(steps.numbers)}")
    keeps = {k: x for k, x in steps.outputs.items() if k != "p" and steps.start[k].shape is HOST}
    places = tuple((k, steps.numbers.index(x)) for k, x in keeps.items())
    stages = tuple(map(host.build, steps.stages))
    return Compiled(program, steps, stages, questions.asked, questions.known, places)
