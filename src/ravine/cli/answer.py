"""How every command answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from ravine.cli.files import drawable, file_name, replacing, write
from ravine.cli.mistake import Mistake, complain
from ravine.cli.numbers import Whole, checked, number, whole
from ravine.cli.streams import leaving_at_ctrl_c, standing
from ravine.typed import nearest

__all__ = [
    "Mistake",
    "Parser",
    "Whole",
    "answer",
    "checked",
    "complain",
    "drawable",
    "file_name",
    "leaving_at_ctrl_c",
    "missing_extra",
    "own",
    "replacing",
    "standing",
    "write",
]


class Parser(argparse.ArgumentParser):
    """Raises a Mistake where argparse would exit, and reads numbers in words of its own."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("type", int, whole)
        self.register("type", float, number)

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message} (see {self.prog} --help)")


def answer(run: Callable[[], object], *also: type[Exception], stopped: str = "stopped") -> int:
    """Runs a command and returns its exit status: 0, 2 for what the person can mend, 130 for Ctrl-C.

    also: what a command that calls the library as a person would takes for a mistake too, such as ValueError.
    """
    try:
        run()
        return 0
    except BrokenPipeError:
        raise  # no mistake: the reader, such as `head`, has seen enough
    except (Mistake, OSError, MemoryError, *also) as error:
        if os.environ.get("RAVINE_DEBUG"):
            raise
        file = ""
        if isinstance(error, OSError):
            sys.stdout.flush()  # where it is standard output that fails, that is said
            file = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        complain(file or str(error) or "there is not enough memory for this: ask for less")
        return 2
    except ModuleNotFoundError as error:
        return missing_extra(error, "lab")
    except KeyboardInterrupt:
        complain(stopped)
        return 130


def missing_extra(error: ModuleNotFoundError, extra: str) -> int:
    """Says which extra has what is missing; exit status 2."""
    missing = str(error.name).split(".")[0]
    if missing == "ravine":
        raise error  # our own fault, to be seen
    complain(f'needs {missing}: pip install ".[{extra}]" in ravine\'s folder')
    return 2


def own(typed: str, what: str) -> Any:
    """What the person called module:name, from the folder that the command is called in or the path of Python."""
    module_name, _, name = typed.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not see the folder it is called from
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_name)
    except Exception as error:  # the person's file runs here: whatever it raises is about that file
        raise Mistake(
            f"{what} '{typed}': cannot import '{module_name}' from {os.getcwd()}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if hasattr(module, name):
        return getattr(module, name)
    known = [n for n in vars(module) if not n.startswith("_")]
    near = nearest(name, known, 3)
    raise Mistake(f"{what} '{typed}': '{module_name}' has no '{name}'; it has {', '.join(near or known) or 'no names'}")
