"""The words a rule may use, besides + - * / ** @ and comparisons.

On plain numbers they are plain arithmetic, so the same line works with a flag's constant and with a symbol.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from ravine.compile.expr import BATCH, COL, EVERY, FULL, ROW, SCALAR, Expr, leaf, node, traces

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
    if not isinstance(condition, Expr):
        return yes if condition else no
    a, b = condition.src if condition.op == "gt" else (condition, condition)
    if a.op == "t" and b.op == "const" and float(str(b.arg)) < 1:  # t counts from 1: t > 0 is no question
        return yes
    return node("where", condition, yes, no)


def sign(x: Value) -> Any:
    """1, −1 or 0 as x is; NaN stays NaN."""
    return where(x > 0, 1.0, where(x < 0, -1.0, x))


def exp(x: Value) -> Any:
    """eˣ of a number of the host."""
    return node("exp", x) if isinstance(x, Expr) else math.exp(x)


def log(x: Value) -> Any:
    """ln x of a number of the host."""
    return node("log", x) if isinstance(x, Expr) else math.log(x)


def floor(x: Value) -> Any:
    """The largest whole number that is not above x, a number of the host."""
    return node("floor", x) if isinstance(x, Expr) else math.floor(x)


def cbrt(x: Value) -> Any:
    """The real cube root of x, element by element."""
    return node("cbrt", x) if isinstance(x, Expr) else math.cbrt(x)


def normal(like: Expr, seed: Value, t: Value) -> Expr:
    """A standard normal number for every element of `like`: a pure function of seed, t, and the element's place.

    It is the same on every backend. Philox 4x32-10 (Salmon et al. 2011) and Box & Muller's transform.
    """
    return node("normal", seed, t, shape=like.shape)


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


# sums and maxima: these end a kernel and start the next one


def total(x: Expr) -> Expr:
    """The sum of all elements of the tensor, or of all its rows' or columns' numbers."""
    return node("sum", x, shape=SCALAR)


def norm(x: Expr) -> Expr:
    """The Euclidean norm of the tensor."""
    return sqrt(total(x**2))


def row_total(x: Expr) -> Expr:
    """The sum of each row: one number for each, which meets the row's elements in arithmetic."""
    return node("sum", x, shape=ROW)


def col_total(x: Expr) -> Expr:
    """The sum of each column."""
    return node("sum", x, shape=COL)


def matrix_total(x: Expr) -> Expr:
    """The sum of each matrix of the tensor: of its elements, or of its rows' or columns' numbers."""
    return node("sum", x, shape=BATCH)


def row_max(x: Expr) -> Expr:
    """The largest of each row; NaN where any is NaN."""
    return node("amax", x, shape=ROW)


def col_max(x: Expr) -> Expr:
    """The largest of each column; NaN where any is NaN."""
    return node("amax", x, shape=COL)


def every(x: Expr) -> Expr:
    """`x`, which is a total of each tensor, summed over all tensors of the optimizer that have a gradient."""
    return node("every", x, arg=traces.stack[-1].mark(), shape=EVERY)


# what is known of a tensor: its sizes stay letters, so that one program serves all; a question makes two programs


def rows(x: Expr) -> Expr:
    """The first size of the tensor (1 for a 0-d one), as a number."""
    return leaf("size", (x.shape or FULL)[0], SCALAR)


def cols(x: Expr) -> Expr:
    """How many numbers a row has: all sizes after the first, multiplied."""
    return leaf("size", (x.shape or FULL)[-1], SCALAR)


def numel(x: Expr) -> Expr:
    """How many elements the tensor has."""
    return rows(x) * cols(x) * leaf("size", "b", SCALAR)


def is_vector(p: Expr) -> bool:
    """True for tensors of fewer than two dimensions: an ordinary `if` may ask it."""
    assert p.op == "p"
    return traces.stack[-1].fact("p.vector")


def precision(p: Expr) -> float:
    """The distance from 1 to the next number of the parameter's type (torch.finfo(dtype).eps)."""
    assert p.op == "p"
    return traces.stack[-1].fact("p.eps")


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


def shared(value: Value) -> Expr:
    """A number() that all parameters of the optimizer share: one that joins late takes over the others'."""
    return node("fill", value, arg="shared", shape=None)


def per_row(value: Value, positive: bool = False) -> Expr:
    """A state of one number per row that begins at `value`."""
    return node("fill", value, arg=positive, shape=ROW)


def per_col(value: Value, positive: bool = False) -> Expr:
    """A state of one number per column that begins at `value`."""
    return node("fill", value, arg=positive, shape=COL)


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
