"""The words a rule may use, besides + - * / ** @ and comparisons.

On plain numbers they are plain arithmetic, so the same line works with a flag's constant and with a symbol.
"""

import math
from collections.abc import Callable
from typing import Any, cast, overload

import torch

from ravine.compile.call import call, parse, size_named, state_shape, token
from ravine.compile.expr import (
    BATCH,
    COL,
    EVERY,
    FULL,
    ROW,
    SCALAR,
    Expr,
    is_matrix,
    leaf,
    node,
    of_pair,
    over,
    traces,
)

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


def normal(like: Expr | str, seed: Value, t: Value, **sizes: Value) -> Expr:
    """A standard normal number for every element of `like`: a pure function of seed, t, and the element's place.

    It is the same on every backend. Philox 4x32-10 (Salmon et al. 2011) and Box & Muller's transform. `normal("c k",
    seed, t, k=8)` is a factor of such numbers, with shapes as `zeros` takes them: it is made where it is used and kept
    nowhere, and is one matrix for all tensors that have factors of this size.
    """
    shape = like.shape if isinstance(like, Expr) else state_shape(like, sizes)
    return node("normal", seed, t, shape=shape)


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
    """The sum of all elements of the tensor, or of all its rows' or columns' numbers, or of a factor such as (r, r)."""
    return node("sum", x, shape=SCALAR)


def norm(x: Expr) -> Expr:
    """The Euclidean norm of the tensor, or of a factor."""
    return sqrt(total(x**2))


def row_total(x: Expr) -> Expr:
    """The sum of each row: one number for each, which meets the row's elements in arithmetic."""
    return node("sum", x, shape=over(x, 1))


def col_total(x: Expr) -> Expr:
    """The sum of each column."""
    return node("sum", x, shape=over(x, 0))


def matrix_total(x: Expr) -> Expr:
    """The sum of each matrix of the tensor: of its elements, or of its rows' or columns' numbers."""
    return node("sum", x, shape=BATCH)


def row_max(x: Expr) -> Expr:
    """The largest of each row; NaN where any is NaN."""
    return node("amax", x, shape=over(x, 1))


def col_max(x: Expr) -> Expr:
    """The largest of each column; NaN where any is NaN."""
    return node("amax", x, shape=over(x, 0))


def every(x: Expr) -> Expr:
    """`x`, which is a total of each tensor, summed over all tensors of the optimizer that have a gradient."""
    return node("every", x, arg=traces.stack[-1].mark(), shape=EVERY)


# what is known of a tensor: its sizes stay letters, so that one program serves all; a question, such as
# `if rows(p) > 1000:` or `if is_vector(p):`, makes two programs


def rows(x: Expr) -> Any:
    """The first size of the tensor (1 for a 0-d one), as a number."""
    return size_named((x.shape or FULL)[0])


def cols(x: Expr) -> Any:
    """How many numbers a row has: all sizes after the first, multiplied."""
    return size_named((x.shape or FULL)[-1])


def numel(x: Expr) -> Any:
    """How many elements the tensor has."""
    return rows(x) * cols(x) * leaf("size", "b", SCALAR)


def is_vector(p: Expr) -> bool:
    """True for tensors of fewer than two dimensions: an ordinary `if` may ask it."""
    assert p.op == "p"
    return traces.stack[-1].fact("p.vector")


def places(p: Expr) -> int:
    """How many places the kernel of a convolution has: all sizes after the second, multiplied; 1 for a matrix."""
    assert p.op == "p"
    return traces.stack[-1].fact("p.places")


def precision(p: Expr) -> float:
    """The distance from 1 to the next number of the parameter's type (torch.finfo(dtype).eps)."""
    assert p.op == "p"
    return traces.stack[-1].fact("p.eps")


# how a state begins


def zeros(x: Expr | str, positive: bool = False, average: bool = False, **sizes: Value) -> Expr:
    """A state like x that begins at 0. `positive=True` says it never becomes negative (storage may use that).

    x may say a shape instead: `zeros("r r")` is a factor of the rows, `zeros("r k", k=4)` has four columns, and
    `zeros("c")` is a number for each column. r and c are the rows and columns of the parameter as a matrix; another
    letter is a whole number, or made of `rows(p)`, `cols(p)` and `minimum`. Factors are in float32 at least.
    `average=True` says of a factor that each of its numbers is by itself, as in moments of a low rank, so that
    `storage="bf16"` may keep it in bf16.
    """
    made = filled(x, 0.0, positive, **sizes)
    return node("fill", 0.0, arg="average", shape=made.shape) if average and is_matrix(made) else made


def filled(x: Expr | str, value: Value, positive: bool = False, **sizes: Value) -> Expr:
    """A state like x, or of a shape as `zeros` takes it, that begins at `value`."""
    shape = x.shape if isinstance(x, Expr) else state_shape(x, sizes)
    return node("fill", value, arg=positive, shape=shape)


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


def eye(n: Expr | str | int) -> Expr:
    """The identity matrix of a size: `rows(p)` or "r", `cols(p)` or "c", a whole number."""
    size = token(n) if not isinstance(n, str) else n if n in ("r", "c") else None
    if size is None:
        raise TypeError(f"eye() takes rows(p), cols(p), 'r', 'c' or a whole number, not {n!r}")
    return leaf("eye", size, of_pair(size, size))


# matrices: torch runs these between two kernels


def diagonal(x: Expr) -> Expr:
    """The diagonal of a square matrix: of (r, r) a number for each row, of (c, c) for each column."""
    return call(_diagonal, "n n -> n", [x], {})


def trace(x: Expr) -> Expr:
    """The sum of the diagonal of a square matrix: a number for each matrix, as `matrix_total` has it."""
    return call(_trace, "n n -> ", [x], {})


def turn(t: Value, k: Value, stagger: bool = False) -> Any:
    """Whether step t is one of 1, k + 1, 2k + 1, …: for `due=` of a matrix_op, and for `where`.

    With `stagger=True`, for `due=` only, each tensor has its own step of each k, by its place in the optimizer, so that
    no step but the first has the work of all. In the first step all are due: what has not been computed yet would
    precondition with what it began as.
    """
    if not isinstance(k, Expr) and k < 1:
        raise ValueError(f"turn(t, k) is true every k steps; k is {k!r} and must be 1 or more")
    if not isinstance(k, Expr) and k == 1:
        return True
    if stagger:
        return node("turn", t, k, shape=SCALAR)
    return (t - 1) - k * floor((t - 1) / k) < 1


@overload
def matrix_op(fn: str, *, stack: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
@overload
def matrix_op(fn: Callable[..., Any]) -> Callable[..., Any]: ...
def matrix_op(fn: str | Callable[..., Any], *, stack: bool = True) -> Any:
    """Make a word of a torch function on matrices: torch runs it between two kernels.

        >>> import torch
        >>> from ravine import Optimizer
        >>> from ravine.words import eye, matrix_op, turn, zeros
        >>> @matrix_op("n n -> n n")
        ... def inverse_root(a, eps, power):
        ...     w, q = torch.linalg.eigh(a)
        ...     return (q * (w + eps)[..., None, :] ** (-1 / power)) @ q.mT
        >>> class Shampoo(Optimizer):
        ...     eps: float = 1e-6
        ...     interval: int = 10
        ...     def init(self, s, p):
        ...         s.L, s.R, s.PL, s.PR = zeros("r r"), zeros("c c"), eye("r"), eye("c")
        ...     def update(self, s, p, g, t):
        ...         s.L, s.R, due = s.L + g @ g.T, s.R + g.T @ g, turn(t, self.interval)
        ...         s.PL = inverse_root(s.L, self.eps, power=4, due=due, old=s.PL)
        ...         s.PR = inverse_root(s.R, self.eps, power=4, due=due, old=s.PR)
        ...         return p - self.lr * (s.PL @ g @ s.PR)

    fn: the function, or the shapes of what it takes and returns. `@matrix_op("r c, c c -> r c")` takes two matrices. A
        letter is one size throughout, whichever the operands have. Two letters are a matrix, one is a vector
        (`"n n -> n, n n"` for eigenvalues and eigenvectors), none is a number of each matrix (`"r c -> "`), and several
        results are a tuple. A size that it only returns is a whole number (`"r c -> r 4"`), or a letter that is an
        argument (`"r c -> r k"` of `sketch(x, k=4)`), given by a whole number, `rows(p)`, `cols(p)` or `minimum`.
        Without shapes: written for one matrix; the result is like the first.

    With shapes the function is written for stacks: it is given (…, r, c), and treats each matrix by itself. Of vectors
    it is given (…, n). In a rule a result with one size is a number for each row (r), or for each column (c), and of
    any other size a column of numbers: `q * w.T` scales the columns of q where w has one for each of its rows.

    After the matrices come numbers and options. What is a float in the rule (a field, a schedule, `t`, a norm) is a
    plain Python number when the function runs, and `rows(p)` a whole number; ints, strings, flags, and tuples of all
    these, are fixed when the rule is traced. A norm of the tensor is waited for where it is on a GPU.

    stack: equal calls of a step, for tensors of one shape, are made as one of a stack where a trial on this machine has
        found that faster: one for each function, shape, and 2, 4 or 8 tensors, kept with compiled programs. A batched
        call and single ones may differ in the last bits. False: each is made by itself, as where a function counts its
        calls, draws random numbers, or treats a stack as one.
    due: a condition on numbers of the host or of the tensor, such as `turn(t, 10)` or `t > 100`. Where it does not hold
        the function is not called and `old` is the result, as a tuple where there are several.
    old: what stands where it is not due, most often the state that the result goes to.

    Raises TypeError where shapes do not match, in the rule or by what the function returns; then nothing has changed.
    """
    shapes = fn if isinstance(fn, str) else None
    if shapes is not None:
        parse(shapes)

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        def word(*args: Any, **options: Any) -> Any:
            if any(isinstance(x, Expr) for x in (*args, *options.values())):
                return call(function, shapes, args, options, stack)
            due, old = options.pop("due", True), options.pop("old", None)
            return function(*args, **options) if due else old

        word.__name__, word.__doc__ = getattr(function, "__name__", "call"), function.__doc__
        return word

    return made if shapes is not None else made(cast(Callable[..., Any], fn))


def _diagonal(x: torch.Tensor) -> torch.Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _trace(x: torch.Tensor) -> torch.Tensor:
    return _diagonal(x).sum(-1)
