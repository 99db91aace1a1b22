"""The words a rule may use, besides + - * / ** @ and comparisons.

On plain numbers they are plain arithmetic, so the same line works with a flag's constant and with a symbol.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from ravine.compile.expr import FULL, SCALAR, Expr, leaf, node

Value = Any  # in a rule a symbol; fields are annotated with what users give: float, or float | Tensor


def sqrt(x: Value) -> Any:
    """√x, element by element."""
    return node("sqrt", x) if isinstance(x, Expr) else math.sqrt(x)


def abs(x: Value) -> Any:
    """|x|, element by element."""
    return node("abs", x) if isinstance(x, Expr) else math.fabs(x)


def maximum(a: Value, b: Value) -> Any:
    """The larger of a and b, element by element; NaN if either is NaN."""
    return node("max", a, b) if isinstance(a, Expr) or isinstance(b, Expr) else max(a, b)


def minimum(a: Value, b: Value) -> Any:
    """The smaller of a and b, element by element; NaN if either is NaN."""
    return node("min", a, b) if isinstance(a, Expr) or isinstance(b, Expr) else min(a, b)


def where(condition: Any, yes: Value, no: Value) -> Any:
    """`yes` where the condition holds, `no` elsewhere. The side not taken never spoils the result."""
    return node("where", condition, yes, no) if isinstance(condition, Expr) else (yes if condition else no)


def sign(x: Value) -> Any:
    """1, −1 or 0 as x is; NaN stays NaN."""
    return where(x > 0, 1.0, where(x < 0, -1.0, x))


def lerp(a: Value, b: Value, w: Value) -> Any:
    """a + w (b − a): from a (w = 0) to b (w = 1)."""
    return a + w * (b - a)


def root(v: Value, eps: Value, inside: bool) -> Any:
    """The denominator of adaptive rules: √(v + ε) when `inside`, else √v + ε."""
    return sqrt(v + eps) if inside else sqrt(v) + eps


def decayed(p: Expr, g: Expr, lr: Value, weight_decay: Value, decoupled: bool) -> tuple[Expr, Expr]:
    """(p, g) with weight decay in one of its two places: g + λp, or off the weights as (1 − lr λ) p."""
    if not weight_decay:
        return p, g
    return ((1 - lr * weight_decay) * p, g) if decoupled else (p, g + weight_decay * p)


# one number per tensor: these end a kernel and start the next one


def total(x: Expr) -> Expr:
    """The sum of all elements of the tensor."""
    return node("sum", x, shape=SCALAR)


def norm(x: Expr) -> Expr:
    """The Euclidean norm of the tensor."""
    return sqrt(total(x**2))


# sizes stay letters; each tensor fills in its own


def rows(x: Expr) -> Expr:
    """The first size of the tensor (1 for a 0-d one), as a number."""
    return leaf("size", (x.shape or FULL)[0], SCALAR)


def cols(x: Expr) -> Expr:
    """How many numbers a row has: all sizes after the first, multiplied."""
    return leaf("size", (x.shape or FULL)[-1], SCALAR)


def numel(x: Expr) -> Expr:
    """How many elements the tensor has."""
    return rows(x) * cols(x)


# how a state begins


def zeros(x: Expr, positive: bool = False) -> Expr:
    """A state like x that begins at 0. `positive=True` says it never becomes negative (storage may use that)."""
    return filled(x, 0.0, positive)


def filled(x: Expr, value: Value, positive: bool = False) -> Expr:
    """A state like x that begins at `value`."""
    return node("fill", value, arg=positive, shape=x.shape)


def number(value: Value) -> Expr:
    """A state of one number per parameter that the host keeps in float64, like the step count."""
    return node("fill", value, arg=False, shape=None)


def scalar(value: Value) -> Expr:
    """A state of one number per tensor that may depend on norms and sums of the tensor."""
    return node("fill", value, arg=False, shape=SCALAR)


def eye(n: Expr) -> Expr:
    """The identity matrix of a size made by `rows` or `cols`."""
    return leaf("eye", n.arg, (str(n.arg), str(n.arg)))


def matrix_op(fn: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Let a plain torch function on one matrix be called inside a rule: it runs between two kernels."""

    def word(x: Any, **options: Any) -> Any:
        if not isinstance(x, Expr):
            return fn(x, **options)
        return node("call", x, arg=(fn, tuple(sorted(options.items()))), shape=x.shape)

    word.__name__, word.__doc__ = fn.__name__, fn.__doc__
    return word
