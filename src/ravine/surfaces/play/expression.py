"""A function of x and y that somebody typed, as torch operations. It is read, never run: nothing but what is listed
here has a meaning, whatever else Python would make of the text."""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface
from ravine.typed import hint

LENGTH = 200  # characters
NODES = 120  # numbers, names, operators, calls
DEPTH = 60  # one inside another

Value = Tensor | float
Term = Callable[[Tensor, Tensor], Value]

CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
NAMES = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "abs", "sign",
         "erf", "sigmoid")  # fmt: skip
FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {  # a name, how many arguments it takes, what it is
    **{name: (1, getattr(torch, name)) for name in NAMES},
    "relu": (1, torch.relu),
    "min": (2, torch.minimum),
    "max": (2, torch.maximum),
    "atan2": (2, torch.atan2),
    "hypot": (2, torch.hypot),
}  # fmt: skip
SPOKEN = "x, y, numbers, pi, e, + - * / **, parentheses, and functions such as sin, exp, max"
FOREIGN = re.compile(r"[^A-Za-z0-9_.,()+\-*/ ]")


class ExpressionError(ValueError):
    """What is wrong with an expression; `at` is the place in it, counted from 0."""

    def __init__(self, said: str, at: int = 0):
        super().__init__(f"{said} (at character {at + 1})")
        self.said, self.at = said, at


@lru_cache(256)
def read(text: str) -> Term:
    """The function of x and y that `text` is, elementwise for tensors of any shape:

        >>> loss = read("(1 - x)**2 + 100*(y - x**2)**2")
        >>> loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])).tolist()
        [0.0, 1.0]

    It may say x, y, numbers, pi, e, + - * / **, parentheses, and the functions of `FUNCTIONS`; ^ is read as **.
    Anything else is an ExpressionError that says where; so is a text of more than 200 characters, 120 parts or 60
    levels.
    """
    if len(text) > LENGTH:
        raise ExpressionError(f"this is {len(text)} characters long; at most {LENGTH} are read", LENGTH)
    places = [i for i, letter in enumerate(text) for _ in range(1 + (letter == "^"))]
    try:
        return _read(text.replace("^", "**"))
    except ExpressionError as error:
        raise ExpressionError(error.said, [*places, len(text)][min(error.at, len(places))]) from None


def _read(text: str) -> Term:
    """The same without ^."""
    if not text.strip():
        raise ExpressionError("there is nothing here; write a function of x and y, such as x**2 + 3*y**2")
    if found := FOREIGN.search(text):
        raise ExpressionError(f"{found[0]!r} means nothing here; it may have {SPOKEN}", found.start())
    blank = len(text) - len(text.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about texts that are refused below
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        at = blank + error.offset - 1 if error.offset else len(text)  # Python has none for what ends too soon
        raise ExpressionError(f"this cannot be read: {_plain(error.msg)}", at) from None
    except (MemoryError, RecursionError):
        raise ExpressionError("too many parentheses inside one another") from None
    parts = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
    if parts > NODES:
        raise ExpressionError(f"this has {parts} parts; at most {NODES} are read")
    term = _term(tree, blank, 0)
    if not callable(term):
        raise ExpressionError("this is the same everywhere; a surface depends on x or y", blank)
    return term


def _plain(message: str) -> str:
    """Python's words for a mistake, without what concerns programs only."""
    if "decimal literal" in message or "forgot a comma" in message:
        return "something is missing between two parts; a product is written 2*x"
    return message.removesuffix(" Perhaps you forgot a comma?")


def _term(node: ast.expr, blank: int, depth: int) -> Term | float:
    """What a node means: a number, or a function of x and y."""
    at = blank + node.col_offset
    if depth > DEPTH:
        raise ExpressionError(f"this goes more than {DEPTH} levels deep", at)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _number(lambda: float(node.value), at)  # pyright: ignore[reportArgumentType]  # of these two types
    if isinstance(node, ast.Name):
        return _name(node.id, at)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return _apply(OPERATORS[type(node.op)], [node.left, node.right], blank, depth, at)
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return _apply(OPERATORS[type(node.op)], [node.operand], blank, depth, at)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node, node.func.id, blank, depth, at)
    raise ExpressionError(f"this means nothing here; it may have {SPOKEN}", at)


def _name(name: str, at: int) -> Term | float:
    if name == "x":
        return lambda x, y: x
    if name == "y":
        return lambda x, y: y
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in FUNCTIONS:
        raise ExpressionError(f"{name} is a function: {name}(x)", at)
    raise ExpressionError(_unknown(name), at)


def _call(node: ast.Call, name: str, blank: int, depth: int, at: int) -> Term | float:
    if name not in FUNCTIONS:
        raise ExpressionError(f"{name} is no function; a product is written {name}*(…)" if len(name) == 1
                              else _unknown(name), at)  # fmt: skip
    count, function = FUNCTIONS[name]
    if node.keywords or len(node.args) != count or any(isinstance(x, ast.Starred) for x in node.args):
        raise ExpressionError(f"{name} takes {count} {'number' if count == 1 else 'numbers'}, such as "
                              f"{name}({', '.join('xy'[:count])})", at)  # fmt: skip
    return _apply(function, node.args, blank, depth, at)


def _apply(function: Callable[..., Value], nodes: list[ast.expr], blank: int, depth: int, at: int) -> Term | float:
    """`function` of these; where all are numbers, that number now: 2**10 is not computed for every point."""
    terms = [_term(node, blank, depth + 1) for node in nodes]
    numbers = [t for t in terms if not callable(t)]
    if len(numbers) == len(terms):
        exact = [torch.tensor(x, dtype=torch.float64) for x in numbers]
        return _number(lambda: float(function(*exact)), at)
    if function in OPERATORS.values():  # which take numbers as they are; torch's functions want tensors
        return lambda x, y: function(*[t(x, y) if callable(t) else t for t in terms])
    return lambda x, y: function(*[t(x, y) if callable(t) else torch.full_like(x, t) for t in terms])


def _number(compute: Callable[[], float], at: int) -> float:
    try:
        value = compute()
    except OverflowError:  # an int of very many digits
        value = math.inf
    if not abs(value) <= 1e30:
        raise ExpressionError(f"this is {value:g}; numbers must be finite and below 1e30", at)
    return value


def _unknown(name: str) -> str:
    return f"'{name}' is not known; {hint(name, FUNCTIONS)}There are {', '.join(FUNCTIONS)}"


class Expression(Surface):
    """Somebody's own function of x and y.

    >>> bumps = Expression("x**2 + y**2 + 3*sin(5*x)")
    >>> bumps.loss(torch.tensor(0.0), torch.tensor(2.0)).item()
    4.0

    text: what `read` reads.
    """

    name = "expression"
    view = ((-4.0, 4.0), (-4.0, 4.0))
    start = (-3.0, 2.0)

    text: str

    def __init__(self, text: str):
        read(text)
        object.__setattr__(self, "text", text)  # which is frozen, as all surfaces are

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        value = read(self.text)(*torch.broadcast_tensors(x, y))
        assert isinstance(value, Tensor)
        return value
