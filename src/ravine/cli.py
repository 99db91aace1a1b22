"""The `ravine` command: which room answers. What needs an extra that is missing says which to install."""

import argparse
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import version
from typing import NoReturn

COMMANDS = {
    "list": "every optimizer: year, state, cost, and what it is",
    "show": "one of them: meaning, equations, defaults, paper, plan",
    "cite": "their papers, as BibTeX",
    "schedule": "every schedule of a rate; one of them drawn",
    "compare": "which optimizer for this task? Equal tuning for each, and a report",
    "advise": "which optimizer should I use? A short look at the task, and what was measured on others",
    "lr-find": "which learning rate for this task? The range test: seconds, and a rough guide",
    "tune": "the best hyperparameters of one optimizer for this task, by Optuna",
    "noise-scale": "which batch size for this task? The gradient noise scale, measured while it trains",
}


def main(argv: list[str] | None = None) -> int:
    """Runs `ravine ARGUMENTS` and returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in COMMANDS:
        return _about(argv)
    try:
        run = _room(argv[0])
    except ModuleNotFoundError as error:
        missing = str(error.name).split(".")[0]
        if missing == "ravine":
            raise  # our own fault, to be seen
        print(f'ravine: needs {missing}: pip install ".[lab]" in ravine\'s folder', file=sys.stderr)
        return 2
    try:
        status = run(argv)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _room(command: str) -> Callable[[list[str]], int]:
    """What runs the command; imported here, since most people have not installed every extra."""
    if command == "compare":
        from .lab.cli import main
    elif command == "schedule":
        from .schedules.cli import main
    elif command == "advise":
        from .lab.advise import main
    elif command == "lr-find":
        from .lab.lr_find import main
    elif command == "tune":
        from .lab.tune import main
    elif command == "noise-scale":
        from .lab.noise_scale import main
    else:
        from .catalog.cli import main
    return main


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see ravine --help)")


def _about(argv: list[str]) -> int:
    """--help, --version, or what is wrong with the command."""
    parser = _Parser(prog="ravine", description="Gradient-based optimizers for PyTorch.")
    parser.add_argument("--version", action="version", version=f"ravine {version('ravine')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, line in COMMANDS.items():
        commands.add_parser(name, help=line)
    try:
        unknown = next((x for x in argv if not x.startswith("-")), None)
        if unknown is not None and unknown not in COMMANDS:
            near = get_close_matches(unknown, COMMANDS, 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            parser.error(f"unknown command '{unknown}': {hint}It is one of {', '.join(COMMANDS)}")
        parser.parse_args(argv)
        return 0
    except ValueError as error:
        print(f"ravine: {error}", file=sys.stderr)
        return 2
