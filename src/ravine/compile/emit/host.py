"""The numbers that depend only on t and hyperparameters: one Python function per plan, in float64."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from ravine.compile.expr import Expr, walk
from ravine.compile.interpret import evaluate
from ravine.compile.path import code, number_of

OPS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "pow({0}, {1})",  # of math: it raises where ** makes a complex number
    "neg": "-{0}",
    "sqrt": "sqrt({0})",
    "cbrt": "cbrt({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "floor": "float(floor({0}))",
    "abs": "abs({0})",
    "max": "{0} if {0} > {1} or {0} != {0} else {1}",  # a NaN comes through
    "min": "{0} if {0} < {1} or {0} != {0} else {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "where": "{1} if {0} else {2}",
}

NONE: Mapping[str, Any] = MappingProxyType({})  # of inputs, or of sums

# t, the rule's numbers, its hyperparameters, its inputs, and the sums over all tensors that are known by now
Host = Callable[..., tuple[float, ...]]


def emit(numbers: list[Expr]) -> str:
    """The source of `numbers(t, state, hyper, given, every) -> tuple`."""
    lines: list[str] = []
    name: dict[Expr, str] = {}
    for x in needed(numbers):
        if x.op == "t":
            name[x] = x.op
            continue
        if x.op == "const":
            name[x] = str(x.arg)
            continue
        name[x] = f"x{len(name)}"
        if x.op == "hyper":
            made = f"float({code('hyper', str(x.arg))})"
        elif x.op == "state":
            made = f"state[{x.arg!r}]"
        elif x.op == "input":
            made = f"given[{x.arg!r}]"
        elif x.op == "every":
            made = f"every[{x.arg!r}]"
        else:
            made = OPS[x.op].format(*(name[s] for s in x.src))
        lines.append(f"    {name[x]} = {made}\n")
    result = ", ".join(name[x] for x in numbers) + ","
    return f"def numbers(t, state, hyper, given, every):\n{''.join(lines)}    return {result if numbers else '()'}\n"


def needed(numbers: list[Expr]) -> list[Expr]:
    """All nodes that the numbers are computed from, operands first; sums over all tensors are given."""
    return walk(numbers, {x for x in walk(numbers) if x.op == "every"})


def build(numbers: list[Expr]) -> Host:
    """The function itself. Where Python would raise (0/0, the root of −1) torch's rules give inf or NaN."""
    scope: dict[str, Any] = {
        "sqrt": math.sqrt,
        "cbrt": math.cbrt,
        "exp": math.exp,
        "log": math.log,
        "floor": math.floor,
        "pow": math.pow,
        "inf": math.inf,
        "nan": math.nan,
    }
    exec(compile(emit(numbers), "<ravine host>", "exec"), scope)
    fast: Host = scope["numbers"]

    def safe(
        t: float,
        state: Mapping[str, float],
        hyper: Mapping[str, Any],
        given: Mapping[str, float] = NONE,
        every: Mapping[str, float] = NONE,
    ) -> tuple[float, ...]:
        try:
            return fast(t, state, hyper, given, every)
        except (ArithmeticError, ValueError):

            def found(x: Expr) -> Any:
                match x.op:
                    case "hyper":
                        return number_of(hyper, str(x.arg))
                    case "every":
                        return every[str(x.arg)]
                    case "state":
                        return state[str(x.arg)]
                    case "input":
                        return given[str(x.arg)]
                    case _:
                        return t

            leaves = [x for x in needed(numbers) if x.op in ("t", "input", "state", "every", "hyper")]
            known = {x: torch.tensor(float(found(x)), dtype=torch.float64, device="cpu") for x in leaves}
            values = evaluate(numbers, known.__getitem__, torch.empty(0, device="cpu"), known)
            return tuple(float(values[x]) for x in numbers)

    return safe
