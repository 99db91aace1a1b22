"""What `ravine list`, `show` and `cite` print."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from ravine.catalog.bib import papers
from ravine.catalog.errors import CatalogError
from ravine.catalog.literature import PAPER
from ravine.catalog.methods import SHAPE, Cited, Method, cited, defaults, method, methods, program
from ravine.catalog.names import find_rule
from ravine.compile.emit import text
from ravine.optimizer import Optimizer
from ravine.optimizer.explain import described
from ravine.schedules import find as find_schedule
from ravine.typed import plain

PER = f"per float32 parameter of a {' × '.join(map(str, SHAPE))} matrix"
NARROW = 30  # letters in which a sentence can still be read


def listing(names: Sequence[str] = (), by: str = "name", as_json: bool = False) -> str:
    """What `ravine list` prints: of all methods, or of those that are named."""
    rows = methods(by, dict.fromkeys(find_rule(name)[0] for name in names) if names else None)
    return json.dumps([row.json() for row in rows], indent=2, ensure_ascii=False) if as_json else table(rows)


def table(rows: list[Method]) -> str:
    """The methods as columns; on a terminal the last one goes on in lines below, within its column."""
    what = f"what it is (state and moved: bytes {PER})"
    cells = [("name", "year", "state", "moved", what)]
    cells += [(x.name, str(x.year or "-"), bytes_of(x.state), str(x.moved), x.sentence) for x in rows]
    name = max(len(row[0]) for row in cells)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return "\n".join(folded(f"{a:{name}}  {b:>4}  {c:>5}  {d:>5}  ", e, width) for a, b, c, d, e in cells)


def folded(head: str, text: str, width: int) -> str:
    """`text` after `head` in lines of at most `width` letters, below it where there is no room; in one line for 0."""
    if not width:
        return head + text
    indent = " " * len(head)
    if width - len(head) >= NARROW:
        return textwrap.fill(text, width, initial_indent=head, subsequent_indent=indent)
    return f"{head.rstrip()}\n{textwrap.fill(text, max(width, 12), initial_indent='  ', subsequent_indent='  ')}"


def show(name: str) -> str:
    """What `ravine show NAME` prints."""
    cls, said = find_rule(name)
    facts, made = method(cls), program(cls, **said)
    by_name = f"'{name}' is {cls.__name__} with {', '.join(f'{k}={x!r}' for k, x in said.items())}\n\n" if said else ""
    steps = [f"{i}. {line}" for i, line in enumerate(described(made.plan), 1)]
    sections = {
        "": f"{by_name}{cls.__name__}{f' ({facts.year})' if facts.year else ''}",
        "What it is": inspect.cleandoc(cls.__doc__ or ""),
        "Equations, as traced at these defaults": text.equations(made.program),
        "Defaults": _defaults(cls, said),
        "Plan": "\n".join([*steps, f"{bytes_of(facts.state)} bytes of state, {facts.moved} moved, {PER}"]),
        "Paper": "\n".join(entry.line() for entry in cited(cls)) if {*cls.papers} & {*papers()} else "none named",
    }
    return "\n\n".join(f"{title}\n{_indented(body)}" if title else body for title, body in sections.items())


def _defaults(cls: type[Optimizer], said: dict[str, Any]) -> str:
    values, source = PAPER.get(cls.__name__.lower(), ({}, ""))
    rows = {k: said.get(k, default) for k, default in defaults(cls).items()}
    width = max(map(len, rows))
    other = {k: f"    literature: {x!r}" for k, x in values.items() if x != defaults(cls)[k]}
    lines = [f"{k:{width}}  {x!r}{other.get(k, '')}" for k, x in rows.items()]
    return "\n".join([*lines, *([f"literature: {source}"] if other else [])])


def cite(names: list[str]) -> str:
    """What `ravine cite NAME...` prints."""
    return "\n\n".join(dict.fromkeys(entry.text for name in names for entry in cited(_written(name))))


def _written(name: str) -> type[Cited]:
    """The optimizer, the schedule, or what else has papers, of that name."""
    try:
        return find_rule(name)[0]
    except CatalogError:
        with suppress(ValueError):
            return find_schedule(name)
        for room in ("mods", "strategies", "loop", "parallel"):  # which know the catalog: one is imported when asked
            for other, thing in vars(import_module(f"ravine.{room}")).items():
                if plain(other) == plain(name) and hasattr(thing, "papers"):
                    return thing
        raise


def _indented(body: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in body.splitlines())


def bytes_of(state: float) -> str:
    """The bytes of a state, with commas where they are many."""
    return f"{state:g}" if state < 1e5 else f"{state:,.0f}"
