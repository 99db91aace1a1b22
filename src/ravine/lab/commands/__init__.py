"""What the commands of the lab have in common: tasks and optimizers by name, and trials that may fail."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ravine.cli.answer import answer as answered

from ..sweep.sweep import TrialFailed
from ..tasks import TASKS

NAMED = (
    "as in `ravine list`, or your own as module:Class or module:function; with settings as in adam:eps=1e-4, "
    "adam:schedule=warmup=500*cosine"
)
KEPT = "what was finished is kept, run the same command to go on"


def answer(run: Callable[[], object], kept: bool = True) -> int:
    """As every command does; 1 if a trial failed. `kept` is whether it goes on where it was."""
    try:
        return answered(run, stopped=f"stopped; {KEPT}" if kept else "stopped")
    except TrialFailed as error:
        print(f"ravine: {error}\n{KEPT}", file=sys.stderr)
        return 1


def of_task(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds what names one task."""
    own = "or your own as module:name"
    parser.add_argument("--task", metavar="NAME", help=f"{', '.join(TASKS)}, {own} (default {default})")
    parser.add_argument("--data", metavar="DIR", type=Path, help="the folder of the task's files (default: downloaded)")


def of_optimizer(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds what names one optimizer."""
    parser.add_argument("--optimizer", metavar="NAME", help=f"{NAMED} (default {default})")


class _Appended(argparse.Action):
    """Each time that it is said something is added: a tuple, which is empty where nothing was said."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, (*(getattr(namespace, self.dest) or ()), values))


def of_space(parser: argparse.ArgumentParser) -> None:
    """Adds what is searched in the place of the published spaces."""
    parser.add_argument(
        "--space",
        metavar="NAME:A=LOW..HIGH",
        action=_Appended,
        default=(),
        help="ranges in the place of the published ones, as adam:lr=1e-5..1e-2,1-beta1=0.02..0.5, once for each "
        "method; or finetune: every rate at a hundredth",
    )


def given(parser: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any]:
    """What was said after the command's name; what was not is left to the defaults of its settings."""
    return {name: x for name, x in vars(parser.parse_args(argv[1:])).items() if x is not None}
