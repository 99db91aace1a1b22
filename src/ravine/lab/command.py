"""How every command of the lab answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .errors import LabError
from .sweep import TrialFailed
from .tasks import TASKS

KEPT = "what was finished is kept, run the same command to go on"


class Parser(argparse.ArgumentParser):
    """Raises LabError where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        raise LabError(f"{message} (see {self.prog} --help)")


def answer(run: Callable[[], object], kept: bool = True) -> int:
    """Runs a command and returns its exit status: 0, 1 if a trial failed, 2 for what the person can mend, 130 for
    Ctrl-C. `kept` is whether it goes on where it was."""
    try:
        run()
        return 0
    except LabError as error:
        if os.environ.get("RAVINE_DEBUG"):
            raise
        print(f"ravine: {error}", file=sys.stderr)
        return 2
    except TrialFailed as error:
        print(f"ravine: {error}\n{KEPT}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"ravine: stopped{f'; {KEPT}' if kept else ''}", file=sys.stderr)
        return 130


def of_task(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds what names one task."""
    own = "or your own as module:name"
    parser.add_argument("--task", metavar="NAME", help=f"{', '.join(TASKS)}, {own} (default {default})")
    parser.add_argument("--data", metavar="DIR", type=Path, help="the folder of the task's files (default: downloaded)")


def of_optimizer(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds what names one optimizer."""
    parser.add_argument("--optimizer", metavar="NAME", help=f"which, or your own as module:Class (default {default})")


def given(parser: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any]:
    """What was said after the command's name; what was not is left to the defaults of its settings."""
    return {name: x for name, x in vars(parser.parse_args(argv[1:])).items() if x is not None}


def names(text: str) -> tuple[str, ...]:
    """What was typed with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
