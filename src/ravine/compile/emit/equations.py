"""The backend for people: the equations of a rule, from the same graph that the kernels come from.

A Notation is a table from op to text, like a backend's; `latex` and `text` are the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ravine.compile.call import Call
from ravine.compile.expr import BATCH, COL, REDUCE, ROW, Expr, walk
from ravine.compile.trace import Program


@dataclass(frozen=True)
class Notation:
    """How to write each op, how tightly it binds (what has no level needs no brackets), and the names of things."""

    forms: Mapping[str, str]
    levels: Mapping[str, int]
    greek: Mapping[str, str]  # of hyperparameters
    states: Mapping[str, str]  # whose names are not their symbols
    word: str  # a longer name
    now: str  # the value that a step leaves
    before: str  # the value that it finds
    number: str  # a part that has a line of its own
    index: str  # a state of several with one letter
    parameter: str
    gradient: str
    brackets: str
    line: str
    between: str

    def state(self, name: str) -> str:
        """A state's symbol: its letter, or its name; `m.0` and `x0` have an index."""
        base, index = cast(re.Match[str], re.fullmatch(r"([A-Za-z](?=\d)|[^.]+)\.?(.*)", name)).groups()
        symbol = self.states.get(base, base if len(base) == 1 else self.word.format(base.replace("_", " ")))
        return self.index.format(symbol, index) if index else symbol

    def leaf(self, x: Expr) -> str:
        """The symbol of a leaf: it is read before the step, so states and the parameter are the old ones."""
        name = str(x.arg)
        match x.op:
            case "const":
                return f"{x.arg:g}"
            case "hyper":
                return self.greek.get(name, self.word.format(name.replace("_", " ")))
            case "p":
                return self.before.format(self.parameter)
            case "g":
                return self.now.format(self.gradient)
            case "state":
                return self.before.format(self.state(name))
            case "eye":
                return "I"
            case "input":
                return self.now.format("f" if name == "loss" else self.state(name))
            case _:
                return name


def equations(program: Program, notation: Notation) -> str:
    """Lines `symbol = …`: each state, then the parameter; long parts that are used twice get a line of their own."""
    names: dict[Expr, str] = {}
    lines: list[str] = []
    often = shared(program.outputs.values())
    free = next(x for x in "dabch" if x not in program.next)
    parts = iter(range(1, 99))

    def say(symbol: str, x: Expr) -> None:
        lines.append(notation.line.format(symbol, write(x, names, notation)))
        if x.src and x not in names:
            names[x] = symbol

    results = {notation.now.format(notation.state(k)): x for k, x in program.next.items()}
    for symbol, x in {**results, notation.now.format(notation.parameter): program.p}.items():
        for part in walk([x], names):
            if part in often and part not in names and part is not x and part not in results.values():
                say(notation.number.format(free, next(parts)), part)
        say(symbol, x)
    return notation.between.join(lines)


def shared(roots: Iterable[Expr]) -> set[Expr]:
    """Parts that are used more than once and are long enough to deserve a name."""
    within = walk(roots)
    uses = Counter(s for x in within for s in x.src)
    return {x for x in within if uses[x] > 1 and len(walk([x])) > 6}


def write(x: Expr, names: Mapping[Expr, str], notation: Notation) -> str:
    """One expression."""
    if x in names:
        return names[x]
    if not x.src:
        return notation.leaf(x)

    def part(i: int, level: int) -> str:
        s = x.src[i]
        inner = write(s, names, notation)
        bare = s in names or notation.levels.get(s.op, 9) >= level
        return inner if bare else notation.brackets.format(inner)

    level = notation.levels.get(x.op, 0)
    after = level and level + {"sub": 1, "div": 2}.get(x.op, 0)  # a − (b + c), a / (b c)
    operands = [part(i, after if i else level) for i in range(len(x.src))]
    op = x.op
    if op == "pow":  # only a single symbol stands under a power without brackets
        base = x.src[0]
        single = not base.src or base in names
        operands[0] = write(base, names, notation) if single else notation.brackets.format(write(base, names, notation))
        if x.src[1].op == "const" and x.src[1].arg == 2.0:
            op = "square"
    elif op == "mul" and operands[1].lstrip("{")[0].isdigit():  # a number after another factor
        op = "dot"
    elif op in ("gt", "ge") and x.src[0].op == "const":
        op, operands = {"gt": "lt", "ge": "le"}[op], operands[::-1]
    elif op in REDUCE:
        op += {ROW: " row", COL: " column", BATCH: " matrix"}.get(x.shape or (), "")
    elif op == "part":
        operands.append(str(x.arg))
    elif op == "call":
        return called(cast(Call, x.arg), operands, notation)
    return notation.forms[op].format(*operands)


def called(made: Call, operands: Sequence[str], notation: Notation) -> str:
    """A call of a torch function, and what stands where it is not due."""
    n = len(made.takes) + made.numbers
    name = notation.word.format(made.name.replace("_", " "))
    text = notation.forms["call"].format(name, ", ".join(operands[:n]))
    if not made.asked:
        return text
    old = operands[n] if len(operands) == n + 2 else notation.brackets.format(", ".join(operands[n:-1]))
    return notation.forms["where"].format(operands[-1], text, old)
