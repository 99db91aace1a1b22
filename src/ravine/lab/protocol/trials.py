"""From an optimizer's hyperparameters and a seed to a trial: all that is the same for the whole comparison."""

import ast
import hashlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import ravine

from .recipe import made_of
from .search import Entry
from .study import SELECTION, Hyper, Make
from .trial import Trial


def maker(entry: Entry, does: str, common: Mapping[str, Any], give_up: float | None = None) -> Make:
    """Makes the trials of an optimizer. `common` are the fields of Trial that all share, `does` names the task's work;
    those of a search may be given up; a method with a schedule of its own, or one that needs none, has that."""
    fields: dict[str, Any] = dict(common) | {"optimizer": entry.name, "content": _content(does, entry)}
    if entry.scheduled:
        fields["schedule"] = entry.scheduled

    def make(hyper: Hyper, seed: int) -> Trial:
        return Trial(hyper=hyper, seed=seed, give_up=give_up if seed >= SELECTION else None, **fields)

    return make


def carried_over(entries: Sequence[Entry], makes: Sequence[Make]) -> list[Make]:
    """The same, each from the weights that the one before it ended with: what happens by accident in a notebook."""
    out: list[Make] = []
    for i, make in enumerate(makes):
        last = (out[i - 1], entries[i - 1]) if i else None

        def after(hyper: Hyper, seed: int, make: Make = make, last: Any = last) -> Trial:
            trial = make(hyper, seed)
            return trial if last is None else replace(trial, after=last[0](last[1].hyper, seed).key)

        out.append(after)
    return out


def _content(does: str, entry: Entry) -> str:
    """Names all that the settings do not: what the task does, the code of ravine and of the optimizer, the versions."""
    versions = f"ravine {version('ravine')}, torch {torch.__version__}"
    return hashlib.sha256(" ".join((does, versions, _ours(), _theirs(entry.cls))).encode()).hexdigest()


BESIDE = (
    "catalog",
    "cli",
    "optimizer/explain.py",
    "optimizer/release.py",
    "surfaces",
    "visuals",
)  # no trial needs them
LAB = (
    "lab/protocol/both.py",
    "lab/protocol/closure.py",
    "lab/protocol/curriculum.py",
    "lab/protocol/passes.py",
    "lab/protocol/recipe.py",
    "lab/protocol/routing.py",
    "lab/protocol/trial.py",
    "lab/seeding.py",
    "lab/tasks",
)  # all others of the lab choose trials, run them and show what they gave


@cache
def _ours() -> str:
    """Hash of the code that decides what a trial gives."""
    root = Path(ravine.__file__).parent

    def decides(path: Path) -> bool:
        here = path.relative_to(root)
        if here == Path("catalog/create.py"):  # which gives the rest to AdamW
            return True
        if here.parts[0] == "lab":
            return any(map(here.is_relative_to, LAB))
        return not any(map(here.is_relative_to, BESIDE))

    return _hash(path for path in root.rglob("*.py") if decides(path))


def _theirs(cls: type) -> str:
    """Hash of the files of a stranger's class or function and of the classes it derives from."""
    names = {
        c.__module__
        for c in (*cls.__mro__, *made_of(cls).__mro__)
        if c.__module__.split(".")[0] not in ("builtins", "ravine", "torch")
    }
    files = (getattr(sys.modules[name], "__file__", None) for name in names)
    return _hash(Path(file) for file in files if file)


def _hash(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(_code(p)).digest() for p in files))).hexdigest()


def _code(file: Path) -> bytes:
    """What runs of a file: without comments, docstrings and layout. All of it, where it is no Python."""
    source = file.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's escapes: that is not our business
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        speaks = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if speaks and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.unparse(tree).encode("utf-8", "surrogatepass")
