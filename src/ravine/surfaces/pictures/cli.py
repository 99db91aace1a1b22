"""`ravine picture`: lists the pictures that teach, explains one, and draws it."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from ravine.cli.answer import Parser, answer, drawable, replacing
from ravine.surfaces.pictures import PICTURES
from ravine.typed import hint

FORMATS = (".png", ".svg", ".pdf")


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: print(picture(**vars(_parser().parse_args(argv[1:])))), ValueError, OSError)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine picture",
        description="Without a name: every picture in a line. With one: what it shows; drawn to a file with -o. The "
        "library's own optimizers compute what is shown.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="as the list has it")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, help=f"draw it, as {', '.join(FORMATS)}")
    return parser


def picture(name: str | None, out: Path | None = None) -> str:
    """What `ravine picture` prints."""
    if name is None:
        if out:
            raise ValueError(f"which picture? One of {', '.join(PICTURES)}")
        width = max(map(len, PICTURES))
        return "\n".join(f"{x:{width}}  {(draw.__doc__ or '').splitlines()[0]}" for x, draw in PICTURES.items())
    if name not in PICTURES:
        raise ValueError(f"unknown picture '{name}': {hint(name, PICTURES)}It is one of {', '.join(PICTURES)}")
    if out is None:
        return inspect.cleandoc(PICTURES[name].__doc__ or "")
    drawable(out, FORMATS)
    with replacing(out) as part:
        PICTURES[name]().savefig(part, dpi=110)
    return f"written to {out}"
