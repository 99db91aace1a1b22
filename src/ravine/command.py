"""How every command answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ravine.typed import nearest


class Mistake(ValueError):
    """What was given, what was expected, what to do: something the person can mend, never a fault of ravine's own."""


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
    except (Mistake, *also) as error:
        if os.environ.get("RAVINE_DEBUG"):
            raise
        file = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
        say(file or error)
        return 2
    except ModuleNotFoundError as error:
        return lacks(error, "lab")
    except KeyboardInterrupt:
        say(stopped)
        return 130


def say(what: object) -> None:
    """One line on stderr, whatever was typed: what is no printable character is written as Python escapes it."""
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(what))
    print(f"ravine: {line}", file=sys.stderr)


def whole(text: str) -> int:
    """What was typed as a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """What was typed as a number; NaN is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def lacks(error: ModuleNotFoundError, extra: str) -> int:
    """Says which extra has what is missing; exit status 2."""
    missing = str(error.name).split(".")[0]
    if missing == "ravine":
        raise error  # our own fault, to be seen
    say(f'needs {missing}: pip install ".[{extra}]" in ravine\'s folder')
    return 2


def drawable(out: Path, kinds: Sequence[str]) -> None:
    """Whether a picture can be written there, in one of these formats: a Mistake before the work, and not after it."""
    if out.suffix not in kinds:
        raise Mistake(f"-o {out}: the name must end in {', '.join(kinds)}")
    if not out.parent.is_dir():
        raise Mistake(f"-o {out}: there is no folder {out.parent}")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise Mistake(f"-o {out}: it cannot be written; name another file")


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
