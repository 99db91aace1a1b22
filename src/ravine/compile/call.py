"""A torch function on matrices as an operation of a rule: its shapes in letters, its arguments, and when it is due."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.expr import (
    BATCH,
    COL,
    COMPARE,
    ROW,
    SCALAR,
    SEVERAL,
    Expr,
    Shape,
    is_array,
    leaf,
    node,
    of_pair,
    pair,
)

GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, less their whole parts, lie evenly in [0, 1)


@dataclass(frozen=True)
class Slot:
    """An argument that is a number at run time: which of the call's operands."""

    place: int


@dataclass(frozen=True)
class Size:
    """An argument that is a size of a tensor: a whole number at run time."""

    token: str


@dataclass(frozen=True)
class Fixed:
    """An argument that is written in the rule. 1, 1.0 and True are not the same."""

    value: object = field(compare=False)
    said: str


@dataclass(frozen=True)
class Asked:
    """What a call is given now: matrices, and those of its arguments that are numbers at run time."""

    matrices: list[Tensor]
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Call:
    """What a `call` node does with its operands: matrices, then numbers, then what stands when it is not due, and
    whether it is due."""

    fn: Callable[..., Any]
    shapes: str | None  # as they are written; None: written for one matrix, like the first of which the result is
    stack: bool  # equal calls may be one of a stack
    takes: tuple[tuple[str, ...], ...]  # the sizes of each matrix that the function is given
    gives: tuple[tuple[str, ...], ...]  # and of each result
    several: bool = False  # it returns a tuple
    args: tuple[Any, ...] = ()  # after the matrices
    options: tuple[tuple[str, Any], ...] = ()
    numbers: int = 0
    asked: bool = False  # the last operands are what stands, and the condition

    @property
    def name(self) -> str:
        """What it is called in errors and equations."""
        return getattr(self.fn, "__name__", "call").lstrip("_")

    def run(self, values: Sequence[Any], size: Callable[[str], int], batch: Sequence[int], like: Tensor) -> Any:
        """The results of one call, or what stands where it is not due: a tuple where it returns several."""
        if (asked := self.ask(values, size)) is None:
            return self.standing(values)
        return self.arrays(self.results(self.apply(asked, size, batch), size, batch), like)

    def ask(self, values: Sequence[Any], size: Callable[[str], int]) -> Asked | None:
        """What the function is to be given; None where it is not due."""
        if self.asked and not plain(values[-1]):
            return None
        numbers = tuple(plain(x) for x in values[len(self.takes) : len(self.takes) + self.numbers])
        matrices = [given(x, letters) for x, letters in zip(values, self.takes, strict=False)]
        return Asked(matrices, numbers)

    def made_of(self, matrices: Sequence[Tensor], numbers: Sequence[float], size: Callable[[str], int]) -> Any:
        """What the function returns of these matrices and numbers."""
        args = [filled(x, numbers, size) for x in self.args]
        return self.fn(*matrices, *args, **{k: filled(x, numbers, size) for k, x in self.options})

    def standing(self, values: Sequence[Any]) -> Any:
        """What stands where it is not due."""
        old = tuple(values[len(self.takes) + self.numbers : -1])
        return old if self.several else old[0]

    def apply(self, asked: Asked, size: Callable[[str], int], batch: Sequence[int]) -> Any:
        """What the function returns."""
        matrices = [x.clone() for x in asked.matrices]  # it may write into what it is given
        if self.shapes is None and batch:  # it is written for one matrix
            return torch.stack([self.made_of(one, asked.numbers, size) for one in zip(*matrices, strict=True)])
        return self.made_of(matrices, asked.numbers, size)

    def arrays(self, found: Sequence[Tensor], like: Tensor) -> Any:
        """Results as arrays of the graph, of this type: a tuple where it returns several."""
        made = tuple(array(x.to(like), letters) for x, letters in zip(found, self.gives, strict=True))
        return made if self.several else made[0]

    def results(self, made: Any, size: Callable[[str], int], batch: Sequence[int]) -> Sequence[Tensor]:
        """The results, or one error about what the function has returned."""
        found: Sequence[Any] = cast(Sequence[Any], made) if self.several else [made]
        wanted = [(*batch, *map(size, letters)) for letters in self.gives]
        if isinstance(found, tuple | list) and all(isinstance(x, Tensor) for x in found):
            if [tuple(x.shape) for x in found] == wanted:
                return found
            said = "shape " + ", ".join(str(tuple(x.shape)) for x in found)
        else:
            said = f"a {type(made).__name__}"
        if self.shapes is None:
            raise TypeError(
                f"{self.name} returned {said}, and without shapes a matrix_op returns one matrix like its first, here "
                f'{wanted[0]}; say what it returns, as in @matrix_op("r c -> r r")'
            )
        also = f"; the first size is that of the stack of {batch[0]}" if batch else ""
        raise TypeError(
            f"{self.name} returned {said}, and by its shapes {self.shapes!r} it returns "
            f"{', '.join(map(str, wanted))}{also}"
        )


def call(
    fn: Callable[..., Any], shapes: str | None, args: Sequence[Any], options: Mapping[str, Any], stack: bool = True
) -> Any:
    """The nodes that a call of a matrix_op makes in a rule."""
    name, options = getattr(fn, "__name__", "call"), dict(options)
    asked, old = options.pop("due", True), options.pop("old", None)
    takes, gives = ([()], [()]) if shapes is None else parse(shapes)
    n = next((i for i, x in enumerate(args) if not is_matrix_like(x)), len(args)) if shapes is None else len(takes)
    matrices = [x for x in args[:n] if is_matrix_like(x)]
    if len(matrices) < max(n, 1):
        said = f"{len(takes)} matrices, as {shapes!r} says" if shapes else "a matrix"
        not_these = ", ".join(map(told, args[:n] or args[:1])) or "nothing"
        raise TypeError(f"{name}: a matrix_op takes {said}, not {not_these}")
    bound = {k: x for k, x in sizes_given(fn, options).items() if not any(k in array for array in takes)}
    if shapes is None:
        if len(matrices[0].shape) < 2:
            raise TypeError(f"{name}: a matrix_op takes a matrix, not shape {matrices[0].shape}; for rows or columns "
                            'say shapes, as in @matrix_op("r -> r")')  # fmt: skip
        sizes = [pair(x.shape) for x in matrices]
        results = [sizes[0]]
    else:
        sizes, results = unify(name, shapes, takes, gives, [x.shape for x in matrices], bound)
    numbers: list[Expr] = []
    made = Call(
        fn,
        shapes,
        stack and shapes is not None,
        tuple(sizes),
        tuple(results),
        len(gives) > 1,
        tuple(template(name, x, numbers) for x in args[n:]),
        tuple((k, template(name, x, numbers)) for k, x in sorted(options.items())),
        len(numbers),
    )
    kept = [] if asked is True else standing(made, asked, old)
    if asked is False:
        return tuple(kept) if made.several else kept[0]
    src = [*matrices, *numbers, *kept, *([asked] if kept else [])]
    made = replace(made, asked=bool(kept))
    arrays = [shape_of(x) for x in made.gives]
    if not made.several:
        return node("call", *src, arg=made, shape=arrays[0])
    whole = node("call", *src, arg=made, shape=SEVERAL)
    return tuple(node("part", whole, arg=i, shape=s) for i, s in enumerate(arrays))


def standing(made: Call, asked: Any, old: Any) -> list[Expr]:
    """What stands where a call is not due, or one error about `due` and `old`."""
    if asked is not False and not (isinstance(asked, Expr) and asked.op in COMPARE):
        raise TypeError(f"{made.name}: due is {told(asked)}; it must be a condition, such as turn(t, 10) or t > 100")
    if isinstance(asked, Expr) and not (asked.on_host or asked.shape == SCALAR):
        raise TypeError(f"{made.name}: due has shape {asked.shape}; it asks about numbers of the host or the tensor")
    kept: list[Any] = list(cast(Sequence[Any], old)) if isinstance(old, tuple | list) else [] if old is None else [old]
    wanted = [shape_of(x) for x in made.gives]
    if [getattr(x, "shape", HOSTLESS) for x in kept] != wanted:
        said = ", ".join(map(told, kept)) or "nothing"
        raise TypeError(
            f"{made.name}: due= needs old=, what stands where it is not due, of shape {', '.join(map(str, wanted))}; "
            f"it is {said}. Write, for a state s.x, s.x = {made.name}(…, due=…, old=s.x)"
        )
    return kept


HOSTLESS = object()  # the shape of what is no symbol


def parse(shapes: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The letters of "r c, c -> r r" or one error."""
    left, arrow, right = shapes.partition("->")
    found = [[tuple(x.split()) for x in side.split(",")] for side in (left, right)]
    letters = [x for side in found for array in side for x in array]
    long = any(len(array) > 2 for side in found for array in side)
    if not arrow or long or not left.strip() or not all(re.fullmatch(r"[a-z]|[1-9][0-9]*", x) for x in letters):
        raise ValueError(
            f"{shapes!r} are no shapes of a matrix_op: write one or two letters or whole numbers for each array, with "
            'blanks between, as in "r c, c c -> r c" or "n n -> n, n n"'
        )
    return found[0], found[1]


def sizes_given(fn: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, str]:
    """The letters that are named by an argument of the function: how large each is."""
    try:
        taken = inspect.signature(fn).parameters.items()
    except (TypeError, ValueError):  # a function of C has none
        taken = ()
    known = {k: x.default for k, x in taken if x.default is not inspect.Parameter.empty} | dict(options)
    return {k: found for k, x in known.items() if len(k) == 1 and (found := token(x))}


def unify(
    name: str,
    shapes: str,
    takes: Sequence[tuple[str, ...]],
    gives: Sequence[tuple[str, ...]],
    arrays: Sequence[Shape],
    bound: dict[str, str],
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The sizes of what it takes and gives, or one error: a letter is one size throughout."""
    sizes: list[tuple[str, ...]] = []
    for letters, shape in zip(takes, arrays, strict=True):
        own: tuple[str, ...] = pair(shape)
        if len(letters) < 2:  # a number of rows, of columns or of matrices
            own = tuple(x for x in own if x != "1") or own[: len(letters)]
        if len(own) != len(letters):
            raise TypeError(f"{name}: an array of shape {shape} is given where {shapes!r} says {' '.join(letters)!r}")
        for letter, size in zip(letters, own, strict=True):
            known = letter if letter.isdigit() else bound.setdefault(letter, size)
            if known != size:
                raise TypeError(
                    f"{name} takes {shapes!r}, and is given {', '.join(map(str, arrays))}: {letter} would be {known} "
                    f"and {size}"
                )
        sizes.append(own)
    unknown = [x for array in gives for x in array if not x.isdigit() and x not in bound]
    if unknown:
        raise TypeError(
            f"{name}: {unknown[0]} in {shapes!r} is no size of what it takes; say it, as in {name}(…, {unknown[0]}=4)"
        )
    return sizes, [tuple(bound.get(x, x) for x in array) for array in gives]


def token(size: object) -> str | None:
    """How a size stands in a shape: a whole number, what `rows` and `cols` give, and the smallest of several."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return str(size)
    if not isinstance(size, Expr):
        return None
    if size.op == "size":
        return str(size.arg)
    if size.op == "const" and float(str(size.arg)).is_integer():
        return str(int(float(str(size.arg))))
    if size.op == "min" and all(parts := [token(x) for x in size.src]):
        return "&".join(sorted({y for x in parts for y in str(x).split("&")}))
    return None


def template(name: str, x: Any, numbers: list[Expr]) -> Any:
    """An argument as it is kept in the graph; its numbers of run time are added to these."""
    if isinstance(x, tuple | list):
        return tuple(template(name, y, numbers) for y in cast(Sequence[Any], x))
    if not isinstance(x, Expr):
        if isinstance(x, Tensor):
            raise TypeError(f"{name}: an argument is a tensor of shape {tuple(x.shape)}; make it a state")
        return Fixed(x, f"{type(x).__qualname__} {x!r}")
    if x.op in COMPARE:
        raise TypeError(f"{name}: a comparison is no number; write where(a > b, 1, 0)")
    if is_array(x.shape):
        raise TypeError(f"{name}: an array of shape {x.shape} is given as an option; arrays come first, by place")
    if size := token(x) if x.shape == SCALAR else None:
        return Size(size)
    numbers.append(x)
    return Slot(len(numbers) - 1)


def filled(x: Any, numbers: Sequence[float], size: Callable[[str], int]) -> Any:
    """An argument as the function is given it."""
    match x:
        case Slot(place):
            return numbers[place]
        case Size(token):
            return size(token)
        case Fixed(value):
            return value
        case _:
            return tuple(filled(y, numbers, size) for y in x)


def plain(x: Tensor) -> float:
    """A number for a function; of a tensor without numbers, as estimates of memory use, any will do."""
    return 1.0 if x.is_meta or isinstance(x, FakeTensor) else float(x)


def turned(t: float, k: float, index: int) -> bool:
    """True in the first step, and then in one step of k, which is another for another index."""
    return t <= 1 or (t - 1 - math.floor(k * (index * GOLDEN % 1))) % k < 1


def given(x: Tensor, letters: tuple[str, ...]) -> Tensor:
    """An array as a function takes it: of (…, r, 1) or (…, 1, c) where it has one letter, (…, n)."""
    if len(letters) == 1:
        return x.squeeze(-1 if x.shape[-1] == 1 else -2)
    return x if letters else x.squeeze(-1).squeeze(-1)


def array(x: Tensor, letters: tuple[str, ...]) -> Tensor:
    """What a function returns, as an array of the graph."""
    if len(letters) == 1:
        return x.unsqueeze(-2 if letters == COL else -1)
    return x if letters else x[..., None, None]


def shape_of(letters: tuple[str, ...]) -> Shape:
    """The shape in the graph of what has these sizes: numbers of anything but columns stand in a column."""
    match letters:
        case ():
            return BATCH
        case ("c",):
            return COL
        case ("r",):
            return ROW
        case (one,):
            return of_pair(one, "1")
        case _:
            return of_pair(*letters)


def size_named(token: str) -> Any:
    """A size in a shape as a number: the inverse of `token`."""
    parts = [float(x) if x.isdigit() else leaf("size", x, SCALAR) for x in token.split("&")]
    return parts[0] if len(parts) == 1 else reduce(partial(node, "min"), parts)


def state_shape(letters: str, given: Mapping[str, object]) -> Shape:
    """The shape of a state that is written as "r k", where k is given."""
    known = {"r": "r", "c": "c", **{k: x for k, size in given.items() if (x := token(size))}}
    parts = letters.split()
    if len(parts) > 2 or not all(x in known or re.fullmatch("[1-9][0-9]*", x) for x in parts):
        raise TypeError(
            f"{letters!r} with {dict(given)} is no shape of a state: write one or two of r, c, whole numbers, and "
            'letters that are given, as in zeros("r k", k=4)'
        )
    return shape_of(tuple(known.get(x, x) for x in parts))


def is_matrix_like(x: object) -> bool:
    """True for a symbol of elements, rows, columns, matrices, or another array."""
    return isinstance(x, Expr) and is_array(x.shape)


def told(x: object) -> str:
    """A symbol or another argument in words."""
    return f"shape {x.shape}" if isinstance(x, Expr) else repr(x)
