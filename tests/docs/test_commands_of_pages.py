"""Each command that a page or the demo tells to type is one that ravine takes."""

import re
import shlex
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from pages import FENCE, PAGES, ROOT, blocks

from ravine.cli import COMMANDS

LISTED = re.compile(r"^(?:\$ |  \.venv/bin/)?ravine ([a-z][a-z-]*(?: .*)?)$", re.MULTILINE)
INLINE = re.compile(r"`ravine ([a-z][a-z-]*(?: [^`]*)?)`")


def typed(path: Path) -> set[str]:
    """The commands in a file: what follows two spaces says what they do, and names in capitals stand for something."""
    if path.suffix != ".md":
        lines = LISTED.findall(path.read_text(encoding="utf-8"))
    else:
        shown = [line for block in blocks(path) if block.kind in ("", "console") for line in LISTED.findall(block.text)]
        lines = [*shown, *INLINE.findall(FENCE.sub("", path.read_text(encoding="utf-8")))]
    plain = {re.split(r" {2,}| #", re.sub(r"\[(.*?)\]", r"\1", line))[0].strip() for line in lines}
    return {line for line in plain if not re.search(r"\b[A-Z]{3,}\b|…", line) and not line.startswith("-")}


FOUND = sorted({(line, path) for path in [*PAGES, ROOT / "scripts" / "demo"] for line in typed(path)})


@pytest.mark.parametrize(("line", "path"), FOUND, ids=[f"{path.name}: {line}" for line, path in FOUND])
def test_a_command_is_taken(line: str, path: Path):
    name, *rest = shlex.split(line)
    assert name in COMMANDS, f"{path.name}: ravine {line}"
    parser = import_module(f"ravine.{COMMANDS[name][0]}")._parser
    (parser(name) if signature(parser).parameters else parser()).parse_args(rest)


def test_they_are_found():
    assert {line.split()[0] for line, _ in FOUND} == set(COMMANDS) and len(FOUND) > 50
