"""One node of the graph a rule draws when it runs on symbols.

Every node knows its shape in letters, never in numbers, so one trace serves every tensor of the model:

    HOST    None          a number the host knows (a hyperparameter, the step count)
    EVERY   ("every",)    one number for all tensors of the optimizer, known to the host within a step (a global norm)
    SCALAR  ()            one number per tensor (a norm, a trust ratio)
    BATCH   ("b",)        one per matrix, where a tensor of more than two dimensions is a batch of matrices
    ROW     ("r",)        one per row of each matrix
    COL     ("c",)        one per column
    FULL    ("r", "c")    an element of the parameter: what a kernel computes
            ("r", "r") …  anything else: a preconditioner. Two sizes: a letter, a whole number ("4"), or the smallest
                          of several ("8&c"). ("r", "1") is ROW, ("1", "c") is COL, ("1", "1") is BATCH

Where a tensor is a batch of matrices, each of these has the batch's dimension before its own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from threading import local
from typing import Any, Protocol
from weakref import WeakValueDictionary

Shape = tuple[str, ...] | None
HOST = None
EVERY: tuple[str, ...] = ("every",)
SCALAR: tuple[str, ...] = ()
BATCH: tuple[str, ...] = ("b",)
ROW: tuple[str, ...] = ("r",)
COL: tuple[str, ...] = ("c",)
FULL: tuple[str, ...] = ("r", "c")
SEVERAL: tuple[str, ...] = ("several",)  # the results of a call that has more than one: only `part` takes them
LONG = (BATCH, ROW)  # what meets whole rows: computed in float64, as numbers of tensors are
VECTORS = (BATCH, ROW, COL)  # statistics of rows and columns: short beside the tensor

LEAVES = frozenset({"p", "g", "t", "input", "state", "hyper", "const", "size", "eye"})
MATRIX = frozenset({"matmul", "transpose", "call", "part"})
COMPARE = frozenset({"gt", "ge", "turn"})
SIGNS = {"gt": ">", "ge": ">="}  # of comparisons
REDUCE = frozenset({"sum", "amax"})


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Expr:
    """An operation (`op`), its operands (`src`), one constant of the op (`arg`), and the shape of the result."""

    op: str
    src: tuple[Expr, ...]
    arg: object
    shape: Shape

    def __add__(self, other: Value) -> Expr:
        return node("add", self, other)

    def __radd__(self, other: Value) -> Expr:
        return self if other == 0 else node("add", other, self)  # sum() begins with a 0

    def __sub__(self, other: Value) -> Expr:
        return node("sub", self, other)

    def __rsub__(self, other: Value) -> Expr:
        return node("sub", other, self)

    def __mul__(self, other: Value) -> Expr:
        return node("mul", self, other)

    def __rmul__(self, other: Value) -> Expr:
        return node("mul", other, self)

    def __truediv__(self, other: Value) -> Expr:
        return node("div", self, other)

    def __rtruediv__(self, other: Value) -> Expr:
        return node("div", other, self)

    def __pow__(self, other: Value) -> Expr:
        return node("pow", self, other)

    def __rpow__(self, other: Value) -> Expr:
        return node("pow", other, self)

    def __matmul__(self, other: Expr) -> Expr:
        return node("matmul", self, other)

    def __neg__(self) -> Expr:
        return node("neg", self)

    def __gt__(self, other: Value) -> Expr:
        return node("gt", self, other)

    def __lt__(self, other: Value) -> Expr:
        return node("gt", other, self)

    def __ge__(self, other: Value) -> Expr:
        return node("ge", self, other)

    def __le__(self, other: Value) -> Expr:
        return node("ge", other, self)

    def __eq__(self, other: object) -> bool:
        if traces.stack and self is not other:  # as identity it would be False, and a rule would not know
            raise TypeError("a rule cannot ask for equality; use where(abs(a - b) <= 0, yes, no)")
        return self is other

    __hash__ = object.__hash__

    @property
    def T(self) -> Expr:
        """The transpose of a matrix."""
        return node("transpose", self)

    def __bool__(self) -> bool:
        if self.op == "hyper" and traces.stack:
            return traces.stack[-1].nonzero(str(self.arg))
        if self.op in SIGNS and traces.stack and all(x.op in ("size", "const") for x in self.src):
            a, b = (str(x.arg) for x in self.src)
            return traces.stack[-1].fact(f"{a} {SIGNS[self.op]} {b}")
        raise TypeError("a rule is traced once: `if` can test flags and compare sizes; else use where(condition, a, b)")

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.src)) or str(self.arg)
        return f"{self.op}({inner})" if self.src or self.op not in ("const", "hyper", "state", "input") else inner

    @property
    def on_host(self) -> bool:
        """True for a number that the host computes: before a step, or within it from sums over all tensors."""
        return self.shape is HOST or self.shape == EVERY


Value = Expr | float


class Trace(Protocol):
    """A trace under way. It remembers what it was asked, so `if self.weight_decay:` in a rule is a choice between two
    programs and not a hidden branch."""

    def nonzero(self, name: str) -> bool: ...  # is this hyperparameter other than zero?
    def fact(self, name: str) -> Any: ...  # about the tensor: is it a vector?
    def mark(self) -> str: ...  # the name of a sum over all tensors


class Traces(local):
    """The traces under way: a stack for each thread, as one may trace while another emits."""

    def __init__(self):
        self.stack: list[Trace] = []


traces = Traces()

_seen: WeakValueDictionary[tuple[object, ...], Expr] = WeakValueDictionary()


def node(op: str, *src: Value, arg: object = None, shape: Shape | str = "infer") -> Expr:
    """The one way to make a node. Equal nodes are the same object, so common work is shared."""
    made = tuple(s if isinstance(s, Expr) else const(s) for s in src)
    out: Shape = infer_shape(op, made) if isinstance(shape, str) else shape
    key = (op, tuple(map(id, made)), type(arg), repr(arg) if isinstance(arg, float) else arg, out)  # -0.0 is not 0.0
    found = _seen.get(key)
    if found is None:
        _seen[key] = found = Expr(op, made, arg, out)
    return found


def leaf(op: str, arg: object, shape: Shape = HOST) -> Expr:
    """A node that reads something: a parameter, a state, a hyperparameter, a constant."""
    return node(op, arg=arg, shape=shape)


def const(x: float) -> Expr:
    """A number written in a rule."""
    return leaf("const", float(x))


def infer_shape(op: str, src: tuple[Expr, ...]) -> Shape:
    """The shape that `op` makes of these operands."""
    shapes = [s.shape for s in src]
    if op in ("matmul", "transpose"):
        pairs = [pair(s) for s in shapes if is_array(s)]
        if len(pairs) < len(shapes):
            raise TypeError(f"{op} takes matrices; these have shapes {shapes}")
        (rows, inner), (other, cols) = pairs[0], pairs[-1]
        if op == "transpose":
            return of_pair(inner, rows)
        if inner != other:
            raise TypeError(f"matmul of {pairs[0]} and {pairs[-1]}: the inner sizes {inner} and {other} differ")
        return of_pair(rows, cols)
    arrays = {s for s in shapes if is_array(s)}
    if not arrays:
        return SCALAR if SCALAR in shapes else EVERY if EVERY in shapes else HOST
    sizes = [{pair(s)[i] for s in arrays} - {"1"} for i in (0, 1)]
    if any(len(x) > 1 for x in sizes):
        raise TypeError(f"{op} of shapes {sorted(map(pair, arrays))}: they do not line up")
    return of_pair(*(x.pop() if x else "1" for x in sizes))


def is_array(shape: Shape) -> bool:
    """True for an element, a number of rows, columns or matrices, and a matrix."""
    return shape not in (HOST, EVERY, SCALAR, SEVERAL)


def pair(shape: Shape) -> tuple[str, str]:
    """The shape of an array as two sizes: of ROW ("r", "1")."""
    match shape:
        case ("b",):
            return ("1", "1")
        case ("r",):
            return ("r", "1")
        case ("c",):
            return ("1", "c")
        case (rows, cols):
            return (rows, cols)
        case _:
            raise AssertionError(f"{shape} is no array")


def of_pair(rows: str, cols: str) -> Shape:
    """The shape of these two sizes."""
    return next((s for s in VECTORS if pair(s) == (rows, cols)), (rows, cols))


def is_matrix(x: Expr) -> bool:
    """True for what only matrix work touches, such as a preconditioner."""
    return not x.on_host and x.shape not in (SCALAR, FULL, *VECTORS)


def over(x: Expr, which: int) -> Shape:
    """The shape of sums over the rows (0) or over the columns (1) of a matrix."""
    if not is_matrix(x):
        return (COL, ROW)[which]
    sizes = pair(x.shape)
    return of_pair("1", sizes[1]) if which == 0 else of_pair(sizes[0], "1")


def walk(roots: Iterable[Expr], known: Container[Expr] = ()) -> list[Expr]:
    """Every node the roots need, each after its operands; what is `known` needs none."""
    order: dict[Expr, None] = {}
    stack = [(x, False) for x in reversed(list(roots))]
    while stack:
        x, ready = stack.pop()
        if x in order:
            continue
        if ready or not x.src or x in known:
            order[x] = None
        else:
            stack.append((x, True))
            stack += [(s, False) for s in reversed(x.src)]
    return list(order)
