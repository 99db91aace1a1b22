"""Change one constant or one sign of a rule at a time, and see which test, other than its transcription, notices.

    python tests/authors/mutate.py [FILE…]          for example: adam qhm; none means every rule

A mutant is a rule's file with one change, made in memory. It must fail a walk beside the authors' code or torch's
(`trajectory.py`), in this process; else a fact or a law, in a fork of this process in which it stands in the place of
the rule. The result goes into mutation.json, from which `proof.py` writes its section. Survivors are explained
in EXPLAINED below.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
import trajectory

import ravine
import ravine.optim
from ravine.optim import registry
from ravine.optimizer import Optimizer

HERE = Path(__file__).parent
TESTS = HERE.parent
RULES = Path(ravine.optim.__file__).parent
RESULT = HERE / "mutation.json"
LIMIT = 240  # seconds that the facts and laws may take for one mutant
SWAPPED = {"maximum": "minimum", "minimum": "maximum", "row_max": "row_total", "col_max": "col_total"}
OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Gt: ast.Lt, ast.Lt: ast.Gt, ast.GtE: ast.LtE, ast.LtE: ast.GtE}
WHOLE = ("range", "bit_length")  # their arguments must stay whole


@dataclass
class Mutant:
    """A change of a rule."""

    where: str  # "Adam.update", or the name of a function
    line: int
    text: str  # the line of code
    change: str  # "1 → 1.01", "+ → −"
    tree: ast.Module


def mutants(path: Path) -> list[Mutant]:
    """Every change of the functions of a rule's file, `validate` left out."""
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    found = []
    for where, function in functions(tree):
        for node in (x for statement in function.body for x in ast.walk(statement)):
            for change, apply, undo in changes(node, function):
                apply()
                line = node.lineno
                found.append(Mutant(where, line, lines[line - 1].strip(), change, copy.deepcopy(tree)))
                undo()
    return sorted(found, key=lambda m: m.line)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for x in tree.body:
        if isinstance(x, ast.FunctionDef):
            yield x.name, x
        if isinstance(x, ast.ClassDef):
            yield from ((f"{x.name}.{f.name}", f) for f in x.body if isinstance(f, ast.FunctionDef) and f.name != "validate")


def changes(node: ast.AST, function: ast.FunctionDef):
    """(what, apply, undo) of each change of this one node."""

    def field(name: str, value: Any, what: str):
        old = getattr(node, name)
        return what, lambda: setattr(node, name, value), lambda: setattr(node, name, old)

    def cell(of: list, i: int, value: Any, what: str):
        old = of[i]
        return what, lambda: of.__setitem__(i, value), lambda: of.__setitem__(i, old)

    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in others(node, function):
            yield field("value", value, f"{node.value!r} → {value!r}")
    elif isinstance(node, ast.BinOp) and type(node.op) in OTHER:
        sign = {ast.Add: "+ → −", ast.Sub: "− → +"}[type(node.op)]
        yield field("op", OTHER[type(node.op)](), f"{sign} before `{ast.unparse(node.right)}`")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield field("op", ast.UAdd(), f"−{ast.unparse(node.operand)} → +")
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in OTHER:
                turned = ast.unparse(ast.Compare(node.left, [OTHER[type(op)]()], node.comparators))
                yield cell(node.ops, i, OTHER[type(op)](), f"`{ast.unparse(node)}` → `{turned}`")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SWAPPED:
        new = ast.copy_location(ast.Name(SWAPPED[node.func.id], ast.Load()), node.func)
        yield field("func", new, f"{node.func.id} → {new.id}")


def others(node: ast.Constant, function: ast.FunctionDef) -> list[int | float]:
    """What stands in the place of a number: another index, another whole number, 1.01 times it, 0.01 for 0."""
    x, parents = node.value, {id(c): p for p in ast.walk(function) for c in ast.iter_child_nodes(p)}
    parent = parents.get(id(node))
    if isinstance(parent, ast.Subscript):
        return [1 - x if x in (0, 1) else 0]
    calls, up = "", parent
    while up is not None:
        calls += ast.unparse(up.func) if isinstance(up, ast.Call) else ""
        up = parents.get(id(up)) if not isinstance(up, ast.stmt) else None
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow) and parent.right is node:
        return [x + 1]
    if any(word in calls or word in ast.unparse(parent) for word in WHOLE):
        return [x + 1]
    return [0.01 if x == 0 else 1.01 * x]


def build(mutant: Mutant, stem: str) -> dict[str, type[Optimizer]]:
    """The classes of the mutated file, by name."""
    module = types.ModuleType(f"ravine.optim.{stem}")
    tree = ast.fix_missing_locations(mutant.tree)
    module.__dict__["maximum"] = module.__dict__["minimum"] = None
    import ravine.words as words

    module.__dict__.update({k: getattr(words, k) for k in (*SWAPPED, *SWAPPED.values())})
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(tree, str(RULES / f"{stem}.py"), "exec"), module.__dict__)
    finally:
        if before is not None:
            sys.modules[module.__name__] = before
    module.__dict__["_module"] = module
    return {k: x for k, x in vars(module).items() if isinstance(x, type) and issubclass(x, Optimizer)} | {"": module}


def own(stem: str) -> list[str]:
    """The names of the registered classes that a file makes."""
    return [cls.__name__ for cls in registry().values() if cls.__module__ == f"ravine.optim.{stem}"]


def seen_by_authors(made: dict[str, Any], cases: list[trajectory.Case]) -> str:
    """The first case whose walk the mutant leaves, or "" """
    for case in cases:
        try:
            gap = trajectory.apart(trajectory.ours(case, cls=made[case.method]), trajectory.theirs(case))
        except Exception as error:  # it does not even run
            return f"{case.source.split()[0]} ({type(error).__name__})"
        if math.isnan(gap) or gap > case.tolerance:
            return case.source.split()[0]
    return ""


class Chosen:
    """A plugin of pytest: facts as they are, laws of these classes alone; the name of what failed first."""

    def __init__(self, names: list[str]):
        self.names, self.failed = {x.lower() for x in names}, ""

    def pytest_collection_modifyitems(self, items):
        def of_interest(item) -> bool:
            if item.path.parent.name != "laws":
                return True
            cls = getattr(item, "callspec", None) and item.callspec.params.get("cls")
            return cls is not None and cls.__name__.lower() in self.names

        def named(item) -> bool:
            return any(x in item.nodeid.lower() for x in self.names)

        items[:] = sorted(filter(of_interest, items), key=lambda x: (x.path.parent.name == "laws", not named(x)))

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = re.sub(r"\[.*", "", report.nodeid.split("/")[-1])


LAWS = ["test_torch.py", "test_signature.py", "test_edges.py", "test_state.py"]


def seen_by_facts(made: dict[str, Any], stem: str, names: list[str]) -> str:
    """The first fact or law that fails with the mutant in the rule's place, or "". Runs in a fork."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(LIMIT)
            os.close(read)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            put(made, stem)
            plugin = Chosen(names)
            files = [*sorted(map(str, (TESTS / "optim").glob("test_facts_*.py"))), str(TESTS / "optim" / "test_papers.py")]
            files += [str(TESTS / "laws" / x) for x in LAWS]
            marks = "not slow and not faults and not browser"
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", marks, *files], plugins=[plugin])
            os.write(write, json.dumps([int(code), plugin.failed]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return "time limit"
    code, failed = json.loads(said)
    assert code in (0, 1), f"pytest ended with {code}"
    return failed


def put(made: dict[str, Any], stem: str) -> None:
    """Let every name of the rule in this process mean the mutant."""
    sys.modules[f"ravine.optim.{stem}"] = made[""]
    for name in own(stem):
        for space in (ravine, ravine.optim):
            setattr(space, name, made[name])


def mutate(stem: str, cases: list[trajectory.Case], facts: bool = True) -> dict[str, Any]:
    """What became of every mutant of a file."""
    names = own(stem)
    mine = sorted((c for c in cases if c.method in names), key=lambda c: len(c.hyper), reverse=True)
    killed: dict[str, int] = {}
    survivors = []
    every = mutants(RULES / f"{stem}.py")
    for mutant in every:
        made = build(mutant, stem)
        by = "authors" if seen_by_authors(made, mine) else ""
        if not by and facts and (test := seen_by_facts(made, stem, names)):
            by = test
        if by:
            killed[by] = killed.get(by, 0) + 1
        else:
            survivors.append({"where": mutant.where, "line": mutant.line, "code": mutant.text, "change": mutant.change})
            print(f"  survives {stem}.py:{mutant.line} {mutant.where}: {mutant.change}: {mutant.text}", flush=True)
    print(f"{stem}: {len(every) - len(survivors)}/{len(every)}", flush=True)
    return {"classes": names, "mutants": len(every), "killed": killed, "survivors": survivors}


def stems() -> list[str]:
    """The files of all registered rules."""
    return sorted({cls.__module__.rsplit(".", 1)[1] for cls in registry().values()})


def main(chosen: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cases = trajectory.cases()
    for stem in chosen or stems():
        result = mutate(stem, cases)
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {"rules": {}}
        known["date"] = str(date.today())
        known["rules"] = dict(sorted((known["rules"] | {stem: result}).items()))
        RESULT.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
