"""How every command answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn


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
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    raise Mistake(f"{what} '{typed}': '{module_name}' has no '{name}'; it has {', '.join(near or known) or 'no names'}")


def names(text: str) -> tuple[str, ...]:
    """What was typed with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path`, to be written inside, which takes its place at the end: whole or not at all. A link in
    the place of either is replaced, and not followed."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield part
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write(path: Path, text: str) -> None:
    """Puts a text into a file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
