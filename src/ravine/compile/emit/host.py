"""The numbers that depend only on t and hyperparameters: one Python function per plan, in float64."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ravine.compile.emit.reference import evaluate
from ravine.compile.expr import Expr, walk
from ravine.compile.trace import number_of

OPS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "pow({0}, {1})",  # of math: it raises where ** makes a complex number
    "neg": "-{0}",
    "sqrt": "sqrt({0})",
    "abs": "abs({0})",
    "max": "max({0}, {1})",
    "min": "min({0}, {1})",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "where": "{1} if {0} else {2}",
}

Host = Callable[[float, Mapping[str, float], Mapping[str, Any]], tuple[float, ...]]


def emit(numbers: list[Expr]) -> str:
    """The source of `numbers(t, state, hyper) -> tuple`."""
    lines: list[str] = []
    name: dict[Expr, str] = {}
    for x in walk(numbers):
        if x.op == "t":
            name[x] = "t"
            continue
        if x.op == "const":
            name[x] = str(x.arg)
            continue
        name[x] = f"x{len(name)}"
        if x.op == "hyper":
            key, _, index = str(x.arg).partition(".")
            code = f"float(hyper[{key!r}]{f'[{index}]' * bool(index)})"
        elif x.op == "state":
            code = f"state[{x.arg!r}]"
        else:
            code = OPS[x.op].format(*(name[s] for s in x.src))
        lines.append(f"    {name[x]} = {code}\n")
    result = ", ".join(name[x] for x in numbers) + ","
    return f"def numbers(t, state, hyper):\n{''.join(lines)}    return {result if numbers else '()'}\n"


def build(numbers: list[Expr]) -> Host:
    """The function itself. Where Python would raise (0/0, the root of −1) torch's rules give inf or NaN."""
    scope: dict[str, Any] = {"sqrt": math.sqrt, "pow": math.pow, "inf": math.inf, "nan": math.nan}
    exec(compile(emit(numbers), "<ravine host>", "exec"), scope)
    fast: Host = scope["numbers"]

    def safe(t: float, state: Mapping[str, float], hyper: Mapping[str, Any]) -> tuple[float, ...]:
        try:
            return fast(t, state, hyper)
        except (ArithmeticError, ValueError):

            def read(x: Expr) -> torch.Tensor:
                found = t if x.op == "t" else state[str(x.arg)] if x.op == "state" else number_of(hyper, str(x.arg))
                return torch.tensor(float(found), dtype=torch.float64)

            values = evaluate(numbers, read, torch.empty(0))
            return tuple(float(values[x]) for x in numbers)

    return safe
