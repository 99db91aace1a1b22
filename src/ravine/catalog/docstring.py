"""A method's docstring by its parts: a sentence, equations, paragraphs, when to use it, references."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Parts:
    """What the docstring of a method says, part by part; each may be empty."""

    sentence: str
    equations: str
    paragraphs: str
    use: str
    references: str


def parts(cls: type) -> Parts:
    """The parts of a class's own docstring; blocks are what blank lines divide.

    Those that begin indented are equations, the one that begins "Use it" says when, the last with an address are
    references.
    """
    lines = inspect.cleandoc(vars(cls).get("__doc__") or "").splitlines()
    blocks = ["\n".join(run) for text, run in groupby(lines, key=lambda line: bool(line.strip())) if text]
    sentence = " ".join((blocks or [""])[0].split())
    rest = blocks[1:]
    first = len(rest)
    while first and "http" in rest[first - 1] and not rest[first - 1].startswith((" ", "Use it")):
        first -= 1
    indented = [*(x.startswith("    ") for x in rest), False]
    equations = [  # and what leads to a block of them: "or with rectify:"
        x for i, x in enumerate(rest[:first]) if indented[i] or (x.endswith(":") and indented[i + 1])
    ]
    use = [x for x in rest[:first] if x.startswith("Use it")]
    paragraphs = [x for x in rest[:first] if x not in equations and x not in use]
    return Parts(sentence, "\n\n".join(equations), "\n\n".join(paragraphs), *map("\n\n".join, (use, rest[first:])))
