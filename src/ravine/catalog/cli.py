"""`ravine list`, `show` and `cite`; every mistake in the arguments is one line on stderr and exit status 2."""

from __future__ import annotations

import argparse
from typing import Any

from ravine.cli.answer import Parser, answer

ORDERS = ("name", "year", "state", "cost")
OWN = "or your own as module:Class"


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: print(_answered(argv[0], vars(_parser(argv[0]).parse_args(argv[1:])))))


def _answered(command: str, asked: dict[str, Any]) -> str:
    from ravine.catalog import printed  # here, since it needs torch and --help does not

    return {"list": printed.listing, "show": printed.show, "cite": printed.cite}[command](**asked)


def _parser(command: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"ravine {command}")
    add = parser.add_argument
    if command == "list":
        parser.description = (
            "Every method: the year of its paper, the bytes of state that it keeps for each float32 "
            "parameter of a 1024 × 1024 matrix (of other shapes where factors and ranks are kept: more or less), the "
            "bytes that a step moves for it, and what it is. Your own stand beside them: "
            "`ravine list adam my_module:MyRule`."
        )
        add("names", metavar="NAME", nargs="*", help=f"these alone; {OWN}")
        add("--by", choices=ORDERS, default="name", help="what to sort by (default name)")
        add("--json", dest="as_json", action="store_true", help="the same for programs")
    elif command == "show":
        parser.description = "What a method is: its docstring, its equations as traced, defaults, paper and plan."
        add(
            "name",
            metavar="NAME",
            help=f"as `ravine list` has it, or as it is often called, with settings as in adam:eps=1e-4; {OWN}",
        )
    else:
        parser.description = (
            "The papers of methods, schedules, modifiers, strategies and parallel training as BibTeX, each once."
        )
        add("names", metavar="NAME", nargs="+", help="as `ravine list` has them, or as they are often called")
    return parser
