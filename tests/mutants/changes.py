"""Every change that is made to the code of a file: one at a time, and none in words, types and errors' text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OTHER: dict[type[Any], type[Any]] = {
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn},
    **{ast.NotIn: ast.In, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Add},
    **{ast.Mod: ast.Add, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
    **{ast.BitXor: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And},
}
SWAPPED = {"any": "all", "all": "any", "min": "max", "max": "min"}
LIKE = (  # functions and methods whose argument can stand in the place of what they make of it
    *("sorted", "reversed", "max", "min", "rewrite", "local", "mix", "bool", "frozenset"),
    *("flatten", "float", "abs", "sqrt", "round", "floor", "clamp", "nan_to_num", "contiguous", "resolve_conj"),
    *("partition", "rstrip", "keys", "view", "fromkeys", "redistribute", "held"),
)
WORDS = ("count", "number", "number_as_tensor", "accused")  # what a person is told is their argument


@dataclass
class Mutant:
    """A change of a file that is not yet made."""

    where: str  # "Plan.kernels", or the name of a function
    line: int
    lines: range  # of its statement, without what the statement has below it
    text: str  # the line of code
    change: str
    apply: Callable[[], object]


def mutants(source: str) -> tuple[ast.Module, list[Mutant]]:
    """The tree of a file, and the mutants that can be made of it."""
    tree, lines = ast.parse(source), source.splitlines()
    found: list[Mutant] = []
    for where, node, parent, statement in code(tree):
        for change, apply in changes(node, parent):
            at = next(x.lineno for x in ast.walk(node) if hasattr(x, "lineno"))  # a `case` has none itself
            place = sum(m.line == at and m.change.partition(", place ")[0] == change for m in found)
            what = change + (f", place {place + 1}" if place else "")  # two of one line that read alike
            found.append(Mutant(where, at, statement, lines[at - 1].strip(), what, apply))
    return tree, sorted(found, key=lambda m: m.line)


def code(tree: ast.Module) -> Iterator[tuple[str, Any, Any, range]]:
    """(function, node, its parent, the lines of its statement) of all that functions compute; tables stay."""
    for x in tree.body:
        methods = [f for f in x.body if isinstance(f, ast.FunctionDef)] if isinstance(x, ast.ClassDef) else []
        for f in [x] if isinstance(x, ast.FunctionDef) else methods:
            where = f.name if f is x else f"{x.name}.{f.name}"
            yield from ((where, *of) for of in within(f.body, f, range(0)))


def within(nodes: list[Any], parent: Any, lines: range) -> Iterator[tuple[Any, Any, range]]:
    for node in nodes:
        inside = [*ast.iter_child_nodes(node)]
        match node:
            case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Assert():  # docstrings, text
                continue
            case ast.Raise() | ast.Import() | ast.ImportFrom():
                inside = []
            case ast.AnnAssign():
                inside = [node.value] if node.value else []
            case ast.Call(func=ast.Subscript()):  # list[int]()
                inside = [*node.args]
            case ast.Call(func=ast.Name(id=name)) if name in WORDS:
                inside = node.args[1:]
            case ast.Call():  # zip(strict=…) says what is true anyway
                inside = [node.func, *node.args, *(k.value for k in node.keywords if k.arg not in ("strict", "device"))]
            case _:
                pass
        if isinstance(node, ast.stmt | ast.match_case):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            below = getattr(node, "body", None) or getattr(node, "cases", None)
            end = next(x.lineno for x in ast.walk(below[0]) if hasattr(x, "lineno")) if below else node.end_lineno + 1
            lines = range(first, max(end, first + 1))
        yield node, parent, lines
        yield from within(inside, node, lines)


def changes(node: Any, parent: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    """(what, how it is made) of each change of this one node."""

    def put(name: str, value: Any) -> Callable[[], object]:
        return lambda: setattr(node, name, value)

    def instead(new: Any) -> Callable[[], object]:
        """`new` in the place of the node."""

        def apply() -> None:
            ast.copy_location(new, node)
            for name, value in ast.iter_fields(parent):
                if value is node:
                    setattr(parent, name, new)
                elif isinstance(value, list) and any(x is node for x in value):
                    value[:] = [new if x is node else x for x in value]

        return apply

    said = ast.unparse(node)
    match node:
        case ast.Constant(value=bool()):
            yield f"{said} → {not node.value}", put("value", not node.value)
        case ast.Constant(value=int() | float()):
            yield f"{said} → {node.value + 1!r}", put("value", node.value + 1)
        case ast.Compare(ops=[op], left=left, comparators=to) if type(op) in OTHER:
            other = OTHER[type(op)]()
            yield f"`{said}` → `{ast.unparse(ast.Compare(left, [other], to))}`", put("ops", [other])
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield f"not `{said}`", instead(ast.UnaryOp(ast.Not(), ast.Compare(left, [op], to)))
        case ast.BoolOp(op=op, values=values):
            yield f"`{said}` → {'or' if isinstance(op, ast.And) else 'and'}", put("op", OTHER[type(op)]())
            for i, x in enumerate(values):
                left = values[:i] + values[i + 1 :]
                yield f"without `{ast.unparse(x)}`", put("values", left) if left[1:] else instead(left[0])
        case ast.BinOp(op=op) if type(op) in OTHER:
            turned = ast.unparse(ast.BinOp(node.left, OTHER[type(op)](), node.right))
            yield f"`{said}` → `{turned}`", put("op", OTHER[type(op)]())
        case ast.AugAssign(op=op) if type(op) in OTHER:
            yield f"`{said}` deleted", instead(ast.Pass())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=x):
            yield f"`{said}` → `{ast.unparse(x)}`", instead(x)
        case ast.If() | ast.IfExp():
            for value in (True, False):
                if not (isinstance(node, ast.If) and not value and trivial(node)):
                    yield f"if {ast.unparse(node.test)} → if {value}", put("test", ast.Constant(value))
        case ast.comprehension(ifs=[*_, test] as ifs):
            for value in (True, False):
                new = [ast.copy_location(ast.Constant(value), test)]
                yield f"if {ast.unparse(test)} → if {value}", put("ifs", ifs[:-1] + new)
        case ast.match_case(guard=guard):
            if guard is not None:
                yield f"case … if {ast.unparse(guard)} → case …", put("guard", None)
            if not isinstance(node.body[0], ast.Pass) and ast.unparse(node.pattern) != "_":
                yield f"`case {ast.unparse(node.pattern)}` never", put("guard", ast.Constant(False))
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts) if not stored(node, parent):
            for i, x in enumerate(elts):
                yield f"without `{ast.unparse(x)}`", put("elts", elts[:i] + elts[i + 1 :])
        case ast.Dict(keys=keys, values=values):
            for i, x in enumerate(values):
                both = ("keys", keys[:i] + keys[i + 1 :]), ("values", values[:i] + values[i + 1 :])
                yield f"without `{ast.unparse(x)}`", lambda both=both: [setattr(node, *of) for of in both]
        case ast.Call(func=ast.Name(id=name), args=[x, *_]) if name in (*LIKE, *SWAPPED):
            if name in SWAPPED:
                yield f"{name} → {SWAPPED[name]}", put("func", ast.Name(SWAPPED[name], ast.Load()))
            if name in LIKE and not isinstance(x, ast.Starred | ast.GeneratorExp):
                yield f"`{said}` → `{ast.unparse(x)}`", instead(x)
        case ast.Call(func=ast.Attribute(value=x, attr=name), args=args) if name in LIKE:
            x = args[0] if isinstance(x, ast.Name) and x.id == "dict" else x
            yield f"`{said}` → `{ast.unparse(x)}`", instead(x)
        case ast.Slice(lower=lower, upper=upper):
            for name, bound in (("lower", lower), ("upper", upper)):
                if bound is not None:
                    yield f"[{said}] without `{ast.unparse(bound)}`", put(name, None)
        case ast.Expr(value=ast.Call()) if "super()" not in said:
            yield f"`{said.splitlines()[0]}` deleted", instead(ast.Pass())
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield f"`{said.splitlines()[0]}` deleted", instead(ast.Pass())
        case ast.Assign() if not isinstance(parent, ast.Module) and not isinstance(
            node.targets[0], ast.Name | ast.Tuple
        ):
            yield f"`{said.splitlines()[0]}` deleted", instead(ast.Pass())
        case _:
            pass


def trivial(node: ast.If) -> bool:
    """True for a branch that one statement makes: to delete it is to force the branch."""
    return (
        not node.orelse
        and len(node.body) == 1
        and isinstance(node.body[0], ast.Raise | ast.Expr | ast.Assign | ast.Continue)
    )


def stored(node: Any, parent: Any) -> bool:
    """True for a tuple that is unpacked or is an index, where another length is no program."""
    unpacked = isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)
    return isinstance(getattr(node, "ctx", None), ast.Store) or unpacked or isinstance(parent, ast.Subscript)
