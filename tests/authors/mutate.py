"""Change one constant or one sign of a rule at a time, and see which test, other than its transcription, notices.

    python tests/authors/mutate.py [FILE…]          for example: adam qhm; none means every rule

A mutant is a rule's file with one change, made in memory. It must fail a walk beside the authors' code or torch's
(`trajectory.py`), in this process; else a fact or a law, in a fork of this process in which it stands in the place of
the rule. The result goes into mutation.json, from which `proof.py` writes its section. survivors.py explains those that
live; what it explains is not run through facts and laws again.
"""

from __future__ import annotations

import ast
import copy
import fcntl
import inspect
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
import survivors as explain
import torch
import trajectory

import ravine
import ravine.optim
from ravine import words
from ravine.optim import registry
from ravine.optimizer import Optimizer

HERE = Path(__file__).parent
TESTS = HERE.parent
RULES = Path(ravine.optim.__file__).parent
RESULT = HERE / "mutation.json"
LIMIT = 240  # seconds that the facts and laws may take for one mutant
FACTS = [str(x) for x in sorted((TESTS / "optim").glob("test_*.py")) if x.stem != "test_transcriptions"]
LAWS = [[str(TESTS / "laws" / f"test_{x}.py")] for x in ("torch", "signature", "edges")]
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
    column: int
    place: str = ""


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
                found.append(Mutant(where, line, lines[line - 1].strip(), change, copy.deepcopy(tree), node.col_offset))
                undo()
    found.sort(key=lambda m: (m.line, m.column))
    for i, mutant in enumerate(found):  # two of one line that read alike
        before = sum((m.line, m.change) == (mutant.line, mutant.change) for m in found[:i])
        mutant.place = f", place {before + 1}" if before else ""
    return found


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for x in tree.body:
        if isinstance(x, ast.FunctionDef):
            yield x.name, x
        if isinstance(x, ast.ClassDef):
            methods = (f for f in x.body if isinstance(f, ast.FunctionDef) and f.name != "validate")
            yield from ((f"{x.name}.{f.name}", f) for f in methods)


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
    """What stands in the place of a number: another index, the next whole number, 1.01 times it, 0.01 for 0."""
    x, parents = node.value, {id(c): p for p in ast.walk(function) for c in ast.iter_child_nodes(p)}
    parent = parents.get(id(node))
    if isinstance(parent, ast.Subscript):
        return [1 - x if x in (0, 1) else 0]
    if isinstance(parent, ast.Compare) and x:
        return [x + 1]  # what is compared is often a count
    calls, up = "", parent
    while up is not None:
        calls += ast.unparse(up.func) if isinstance(up, ast.Call) else ""
        up = parents.get(id(up)) if not isinstance(up, ast.stmt) else None
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow) and parent.right is node:
        return [x + 1]
    if any(word in calls or word in ast.unparse(parent) for word in WHOLE):
        return [x + 1]
    return [0.01 if x == 0 else 1.01 * x]


def build(mutant: Mutant, stem: str) -> dict[str, Any]:
    """The classes of the mutated file, by name, and under "" the module."""
    module = types.ModuleType(f"ravine.optim.{stem}")
    module.__dict__.update({k: getattr(words, k) for k in SWAPPED.values()})
    tree = ast.fix_missing_locations(mutant.tree)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(tree, str(RULES / f"{stem}.py"), "exec"), module.__dict__)
    finally:
        if before is not None:
            sys.modules[module.__name__] = before
    return {k: x for k, x in vars(module).items() if isinstance(x, type) and issubclass(x, Optimizer)} | {"": module}


def own(stem: str) -> list[str]:
    """The names of the registered classes that a file makes."""
    return [cls.__name__ for cls in registry().values() if cls.__module__ == f"ravine.optim.{stem}"]


def seen_by_authors(made: dict[str, Any], cases: list[trajectory.Case]) -> str:
    """The source of the first case whose walk the mutant leaves, or ""; the first steps of all cases come first."""
    for seen in (trajectory.SEEN[:2], trajectory.SEEN):
        for case in cases:
            try:
                mine = trajectory.ours(case, cls=made[case.method], seen=seen)
                gap = trajectory.apart(mine, trajectory.theirs(case)[: len(mine)])
            except Exception:  # it does not even run
                return case.source
            if math.isnan(gap) or gap > case.tolerance:
                return case.source
    return ""


class Chosen:
    """A plugin of pytest: the facts that speak of these classes, the laws over them; the names of what failed."""

    def __init__(self, names: list[str], known: list[str]):
        self.names, self.known, self.failed = names, known, []

    def pytest_collection_modifyitems(self, items):
        words, keys = re.compile(rf"\b({'|'.join(self.names)})\b"), {x.lower() for x in self.names}

        def of_interest(item) -> bool:
            if item.nodeid in self.known:
                return False
            cls = getattr(item, "callspec", None) and item.callspec.params.get("cls")
            if cls is not None:
                return cls.__name__.lower() in keys
            return bool(words.search(inspect.getsource(item.function) + item.nodeid))

        items[:] = filter(of_interest, items)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)


def among_facts(names: list[str], known: list[str], made: dict[str, Any] | None = None, stem: str = "") -> list[str]:
    """The facts and laws that fail, `known` ones left out; the first alone with a mutant in the rule's place.

    They run in a fork of this process, so that nothing of the mutant stays.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(LIMIT)
            os.close(read)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            if made:
                put(made, stem)
            plugin = Chosen(names, known)
            marks = ["-m", "not slow and not faults and not browser"]
            codes = []
            for files in [FACTS, *LAWS]:
                first = ["-x"] if made else []
                codes += [int(pytest.main(["-q", "-p", "no:cacheprovider", *first, *marks, *files], plugins=[plugin]))]
                if made and plugin.failed:
                    break
            os.write(write, json.dumps([codes, plugin.failed]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return ["time limit"]
    codes, failed = json.loads(said)
    assert set(codes) <= {0, 1, 5}, f"pytest ended with {codes}"
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
    mine = sorted((c for c in cases if c.method in names), key=lambda c: ("mods" in c.hyper, -len(c.hyper)))
    killed: dict[str, int] = {}
    survivors, known = [], None
    every = mutants(RULES / f"{stem}.py")
    for mutant in every:
        made = build(mutant, stem)
        by = "authors" if seen_by_authors(made, mine) else ""
        x = {"where": mutant.where, "line": mutant.line, "code": mutant.text, "change": mutant.change + mutant.place}
        if not by and facts and not explain.why(stem, x):
            known = among_facts(names, []) if known is None else known  # what fails already is no evidence
            failed = among_facts(names, known, made, stem)
            by = re.sub(r"\[.*", "", failed[0]).split("/")[-1] if failed else ""
        if by:
            killed[by] = killed.get(by, 0) + 1
        else:
            survivors.append(x)
            said = "" if explain.why(stem, x) else "  NOT EXPLAINED"
            print(f"  survives {stem}.py:{mutant.line} {mutant.change}: {mutant.text}{said}", flush=True)
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
        with open(__file__) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # others may run other rules
            known = json.loads(RESULT.read_text()) if RESULT.exists() else {"rules": {}}
            rules = {k: x for k, x in known["rules"].items() if k in stems()} | {stem: result}
            now = {"date": str(date.today()), "rules": dict(sorted(rules.items()))}
            RESULT.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
