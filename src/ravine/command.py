"""How every command answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class Mistake(ValueError):
    """What was given, what was expected, what to do: something the person can mend, never a fault of ravine's own."""


class Parser(argparse.ArgumentParser):
    """Raises a Mistake where argparse would exit."""

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
        print(f"ravine: {file or error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        return lacks(error, "lab")
    except KeyboardInterrupt:
        print(f"ravine: {stopped}", file=sys.stderr)
        return 130


def lacks(error: ModuleNotFoundError, extra: str) -> int:
    """Says which extra has what is missing; exit status 2."""
    missing = str(error.name).split(".")[0]
    if missing == "ravine":
        raise error  # our own fault, to be seen
    print(f'ravine: needs {missing}: pip install ".[{extra}]" in ravine\'s folder', file=sys.stderr)
    return 2


def names(text: str) -> tuple[str, ...]:
    """What was typed with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
