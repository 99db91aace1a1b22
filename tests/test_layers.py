"""Dependencies run one way, and `import ravine` costs torch and llvmlite only."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ravine
from ravine.cli import COMMANDS

SRC = Path(ravine.__file__).parent
MAY = {  # a room, and the rooms that its files may import
    "compile": (),
    "blocks": ("compile",),  # how tensors are matrices
    "typed": (),  # what people type; no torch
    "cli": ("typed",),  # which command, and how every command answers
    "saved": ("compile",),  # what every load_state_dict asks
    "rule": ("compile", "saved", "typed"),
    "optimizer": ("compile", "rule", "saved", "typed"),
    "mods": ("compile", "rule", "words", "matrix"),
    "words": ("compile",),
    "matrix": ("compile", "words"),
    "optim": ("compile", "optimizer", "rule", "mods", "matrix", "words"),
    "catalog": ("cli", "compile", "groups", "optimizer", "rule", "optim", "schedules", "typed"),  # it needs no extra
    "groups": (),  # of a model's parameters: they know no optimizer
    "data": ("saved",),  # which sample comes next
    "loop": ("compile", "rule", "saved"),  # parts of a loop around any optimizer
    "schedules": ("cli", "compile", "optimizer", "rule", "saved", "visuals", "typed"),  # visuals: its command draws
    "sources": ("groups", "loop", "matrix", "rule", "saved"),
    "strategies": ("compile", "loop", "optimizer", "rule", "schedules", "saved"),
    "instruments": ("compile", "loop", "optimizer", "rule", "strategies"),
    "parallel": (
        *("cli", "catalog", "compile", "loop", "mods", "optim", "optimizer", "rule", "saved", "schedules"),
        *("strategies", "typed", "visuals", "words"),
    ),
    "testing": ("compile", "mods", "optimizer", "rule"),
    "visuals": (),
    "surfaces": (
        *("cli", "compile", "optimizer", "rule", "optim", "catalog", "strategies", "visuals", "schedules", "typed"),
    ),
    "lab": (
        *("cli", "optimizer", "rule", "optim", "data", "schedules", "strategies", "instruments", "parallel", "visuals"),
        *("catalog", "loop", "sources", "surfaces", "typed"),
    ),
    "root": ("public",),  # which it imports when the first of its names is used
    "public": (
        *("blocks", "catalog", "data", "groups", "instruments", "loop", "mods", "optim", "optimizer", "parallel"),
        *("rule", "schedules", "sources", "strategies", "testing"),
    ),
}
LAB = {  # a room of the lab, and those that its files may import; loose files are the ground
    "ground": (),
    "tasks": ("ground",),
    "protocol": ("ground", "tasks"),
    "sweep": ("ground", "tasks", "protocol"),
    "families": ("ground", "tasks", "protocol"),
    "logs": ("ground", "protocol"),
    "report": ("ground", "protocol", "logs"),
    "trackers": ("ground", "protocol", "report"),
    "commands": ("ground", "tasks", "protocol", "sweep", "families", "logs", "report", "trackers"),
    "lab": ("ground", "tasks", "protocol"),  # what users import
}
INNER = {"emit", "launch"}  # what the stages before them may not know


PAGE = SRC.parents[1] / "docs" / "architecture.md"


def room(module):
    """The room of "ravine.compile.plan", or of "ravine"."""
    return module.split(".")[1] if "." in module else "root"


def imports(path):
    """Modules of ravine that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "ravine")
        elif isinstance(node, ast.ImportFrom):
            package = ("ravine", *path.relative_to(SRC).parent.parts)  # of a relative import
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            if module.split(".")[0] == "ravine":
                for name in (f"{module}.{a.name}" for a in node.names):
                    yield name if module == "ravine" or name in MODULES else module


FILES = sorted(SRC.rglob("*.py"))
MODULES = {".".join(f.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__") for f in FILES}


@pytest.mark.parametrize("path", FILES, ids=[str(f.relative_to(SRC)) for f in FILES])
def test_imports_run_one_way(path):
    parts = path.relative_to(SRC).with_suffix("").parts
    mine = room(".".join(["ravine", *parts])) if parts != ("__init__",) else "root"
    for module in imports(path):
        theirs = room(module) if module != "ravine" else "root"
        exported = mine in ("lab", "surfaces") and theirs == "root"  # they may say `import ravine` as a user does
        assert theirs == mine or exported or theirs in MAY[mine], f"{mine} imports {module}"


def lab_room(module):
    """The room of "ravine.lab.protocol.trial", of the loose "ravine.lab.errors", or of "ravine.lab"."""
    first = module.split(".")[2] if module.count(".") > 1 else "lab"
    return first if first in LAB else "ground"


@pytest.mark.parametrize("path", sorted((SRC / "lab").rglob("*.py")), ids=lambda p: str(p.relative_to(SRC / "lab")))
def test_the_rooms_of_the_lab_know_each_other_one_way(path):
    mine = lab_room(".".join(["ravine", *path.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__"))
    for module in imports(path):
        if module.startswith("ravine.lab"):
            theirs = lab_room(module)
            assert theirs == mine or theirs in LAB[mine], f"{mine} imports {module}"


def test_the_page_has_every_room_below_those_that_it_may_import():
    table = PAGE.read_text(encoding="utf-8").split("\n## The rooms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| \S", table, re.MULTILINE)
    folders = {x.name for x in SRC.iterdir() if x.is_dir() and any(x.glob("*.py"))}
    assert sorted(rows) == sorted(folders | {x.stem for x in SRC.glob("[!_]*.py")})
    for i, mine in enumerate(rows):
        assert {*MAY[mine]} & {*rows} <= {*rows[:i]}, f"{mine} stands above a room that it may import"


def test_only_the_dispatcher_knows_the_commands():
    commands = {f"ravine.{where}" for where, _ in COMMANDS.values()}
    assert commands <= MODULES
    for path in FILES:
        for module in imports(path):
            inside = module in commands and module.split(".")[1] == path.relative_to(SRC).parts[0]
            assert inside or module not in {"ravine.cli", *commands}, f"{path.relative_to(SRC)} imports {module}"


def test_words_know_the_graph_and_nothing_else():
    assert set(imports(SRC / "words.py")) == {"ravine.compile.call", "ravine.compile.expr"}


@pytest.mark.parametrize("path", sorted((SRC / "optim").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_an_optimizer_knows_the_base_and_the_words(path):
    assert set(imports(path)) <= {"ravine.optimizer", "ravine.words", "ravine.matrix"}


@pytest.mark.parametrize("path", sorted((SRC / "compile").rglob("*.py")), ids=lambda p: str(p.relative_to(SRC)))
def test_the_graph_and_its_stages_know_no_later_stage(path):
    order = ["block", "expr", "call", "debug", "path", "geometry", "trace", "check", "simplify", "plan", "interpret"]
    order += ["cache", "native", "emit", "launch"]
    stage = path.relative_to(SRC / "compile").with_suffix("").parts[0]
    for module in imports(path):
        later = module.split(".")[2]
        if stage in order and later in order and stage not in ("native", "cache"):
            assert order.index(later) <= order.index(stage), f"{stage} imports {module}"


@pytest.mark.ci
def test_import_costs_torch_and_llvmlite_only():
    extras = ("plotly", "rich", "sklearn", "triton", "jinja2", "typer", "pandas", "scipy", "matplotlib", "latex2mathml")
    code = (
        "import sys, torch; before = set(sys.modules); import ravine; ravine.Adam; new = set(sys.modules) - before;"
        "print(sorted({m.split('.')[0] for m in new if m.split('.')[0] not in sys.stdlib_module_names}));"
        f"print([m for m in {extras!r} if m in new]);"
        "print([m for m in new if m.startswith('ravine.lab') or m.startswith('ravine.visuals')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["['llvmlite', 'ravine']", "[]", "[]"], out


def own(path):
    """The private attributes that the classes of a file define: methods, fields, and what is set on self."""
    for cls in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(cls):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and mine(node.value):
                yield node.attr
        for node in cls.body:
            if isinstance(node, ast.FunctionDef):
                yield node.name
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                yield from (x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store))


def mine(x):
    """True for self and cls."""
    return isinstance(x, ast.Name) and x.id in ("self", "cls")


def test_no_private_attribute_is_read_outside_its_room():
    """Of ravine's own; torch's are read where there is no other way."""
    rooms: dict[str, set[str]] = {}
    for path in FILES:
        for name in own(path):
            rooms.setdefault(name, set()).add(path.relative_to(SRC).parts[0])
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                at = rooms.get(node.attr, {path.relative_to(SRC).parts[0]})
                outside = path.relative_to(SRC).parts[0] not in at and not mine(node.value)
                assert not outside, f"{path.relative_to(SRC)}:{node.lineno} reads {ast.unparse(node)} of {at}"


@pytest.mark.ci
def test_dir_shows_public_names_only():
    code = (
        "import ravine; ravine.optimizer; import ravine.lab; shown = {x for x in dir(ravine) if x[:2] != '__'};"
        "print(shown == set(ravine.__all__), sorted(shown & {'annotations', 'import_module', 'compile', 'lab'}),"
        "all(hasattr(ravine, x) for x in dir(ravine)), ravine.__all__ == sorted(set(ravine.__all__)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "True [] True True\n", out
