"""The `ravine` command: which room answers. What needs an extra that is missing says which to install."""

import sys
from importlib import import_module
from importlib.metadata import version

from ravine.cli.answer import Parser, complain, leaving_at_ctrl_c, missing_extra, standing
from ravine.typed import hint

COMMANDS = {  # name: the room that answers, and what it does
    "list": ("catalog.cli", "every optimizer: year, state, cost, and what it is"),
    "show": ("catalog.cli", "one of them: meaning, equations, defaults, paper, plan"),
    "cite": ("catalog.cli", "their papers, as BibTeX"),
    "schedule": ("schedules.cli", "every schedule of a rate; one of them drawn"),
    "compare": ("lab.commands.compare", "which optimizer for this task? Equal tuning for each, and a report"),
    "advise": (
        "lab.commands.advise",
        "which optimizer should I use? A short look at the task, and what was measured on others",
    ),
    "lr-find": (
        "lab.commands.lr_find",
        "which learning rate for this task? The range test: seconds, and a rough guide",
    ),
    "tune": ("lab.commands.tune", "the best hyperparameters of one optimizer for this task, by Optuna"),
    "noise-scale": (
        "lab.commands.noise_scale",
        "which batch size for this task? The gradient noise scale, measured while it trains",
    ),
    "simulate": (
        "parallel.simulate.cli",
        "parallel training on a cluster that exists on paper: method beside method in simulated time",
    ),
    "race": ("surfaces.cli", "optimizers on a loss surface, as a picture or a film; maps of rates and basins"),
    "play": ("surfaces.play.cli", "the same in the browser: drag the start, move the sliders"),
    "paths": ("lab.commands.paths", "where optimizers go in a network: its loss over the plane of their paths, drawn"),
    "picture": ("surfaces.pictures.cli", "pictures that teach: RAdam's warm-up, bias correction, averages"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs `ravine ARGUMENTS` and returns the exit status."""
    status = 0
    try:
        with standing():
            status = _run(sys.argv[1:] if argv is None else argv)
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return 141
    except OSError as error:  # a full disk; a command that failed has said why
        if status == 0:
            complain(f"standard output: {error.strerror or error}")
        return 2
    except KeyboardInterrupt:
        complain("stopped")
        return 130


def _run(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        return _about(argv)
    try:
        with leaving_at_ctrl_c():
            room = import_module(f"ravine.{COMMANDS[argv[0]][0]}")  # now, since most have not installed every extra
    except ModuleNotFoundError as error:
        return missing_extra(error, "play" if argv[0] == "play" else "lab")
    return room.main(argv)


def _about(argv: list[str]) -> int:
    """--help, --version, or what is wrong with the command."""
    parser = Parser(prog="ravine", description="Gradient-based optimizers for PyTorch.")
    parser.add_argument("--version", action="version", version=f"ravine {version('ravine')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, (_, line) in COMMANDS.items():
        commands.add_parser(name, help=line)
    try:
        unknown = next((x for x in argv if not x.startswith("-")), None)
        if unknown is not None and unknown not in COMMANDS:
            parser.error(f"unknown command '{unknown}': {hint(unknown, COMMANDS)}It is one of {', '.join(COMMANDS)}")
        parser.parse_args(argv)
        return 0
    except ValueError as error:
        complain(str(error))
        return 2
