"""How every command answers: results on stdout, a mistake as one line on stderr, and an exit status."""

import argparse
import codecs
import io
import math
import os
import re
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
        return lacks(error, "lab")
    except KeyboardInterrupt:
        complain(stopped)
        return 130


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds; where that is closed or full, nothing."""
    line = " ".join(part.strip() for part in message.splitlines())
    line = "".join(x if x.isprintable() or unicodedata.category(x) == "Zs" else repr(x)[1:-1] for x in line)
    with suppress(OSError):
        print(f"ravine: {line}", file=sys.stderr, flush=True)


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
    complain(f'needs {missing}: pip install ".[{extra}]" in ravine\'s folder')
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


@dataclass(frozen=True)
class Whole:
    """The whole numbers that an argument may be, both ends included; called with what was typed, as `type=` is."""

    least: int = 1
    most: int = 10**9

    def __call__(self, text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r:.60} is not a whole number") from None
        if not self.least <= n <= self.most:
            raise argparse.ArgumentTypeError(f"{self._must(n)}, and is {_short(n)}")
        return n

    def _must(self, n: int) -> str:
        return f"must be {self.least} or more" if n < self.least else f"must be {self.most:,} or less"

    def check(self, what: str, value: Any) -> None:
        """Raises a Mistake for any other value; None is what was not said."""
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise Mistake(f"{what} {value!r:.60}: must be a whole number")
        if not self.least <= value <= self.most:
            raise Mistake(f"{what} {_short(value)}: {self._must(value)}")


def _short(n: int) -> str:
    return str(n) if abs(n) < 10**40 else "a number of more than 40 digits"


def checked(settings: Any, ranges: Mapping[str, Whole]) -> None:
    """Raises a Mistake for a field of settings, named as its option is, that is out of its range."""
    for name, may in ranges.items():
        may.check(f"--{name.replace('_', '-')}", getattr(settings, name))


def file_name(text: str) -> str:
    """A text as the name of one file or folder, which no part of it can lead out of."""
    plain = re.sub(r"[^\w.+=-]+", "-", text).strip("-.")
    return plain.encode()[:100].decode(errors="ignore") or "unnamed"


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


@contextmanager
def standing() -> Iterator[None]:
    """Inside, printing never fails for what is printed: where the streams have no letter it is written in those they
    have, and what is closed goes nowhere. At the end all is printed, or one line on stderr says why it cannot be."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # it was closed when Python started
            made = open(_nowhere(number), mode, encoding="utf-8", closefd=False)  # noqa: SIM115  # until the end
            setattr(sys, name, made)
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="ravine")
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            _give_up()
            raise


@contextmanager
def leaving_at_ctrl_c() -> Iterator[None]:
    """Inside, where modules are imported, Ctrl-C is the end at once: an exception in the middle of a library's import
    would come out as that library's own error, or as none."""
    main, usual = threading.current_thread() is threading.main_thread(), signal.default_int_handler
    if not main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def leave(number: int, frame: object) -> None:
        complain("stopped")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _nowhere(number: int) -> int:
    """The descriptor of that number where it is free, so that no file gets it which others take for the stream."""
    opened = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)
    except OSError:
        os.dup2(opened, number)
        os.close(opened)
        return number
    return opened


def _give_up() -> None:
    """Nothing more is printed: Python would try again at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


PLAIN = {
    "←": "<-", "→": "->", "−": "-", "–": "-", "—": "-", "…": "...", "·": "*", "×": "x", "±": "+/-", "√": "sqrt",
    "‖": "||", "≤": "<=", "≥": ">=", "≠": "!=", "∞": "inf", "“": '"', "”": '"', "’": "'", "‘": "'", "∇": "grad",
    "∂": "d", "∑": "sum", "Σ": "sum", "⊙": "*", "∘": "*", "⊗": "x", "≈": "~", "∈": "in", "ᵀ": "^T", "µ": "u",
}  # fmt: skip


def plain(error: UnicodeError) -> tuple[str, int]:
    """In ASCII what a stream has no letters for: β as beta, x₁ as x1, ü as u."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = ""
    for letter in error.object[error.start : error.end]:
        name = unicodedata.name(letter, "")
        near = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        greek = name.startswith("GREEK SMALL LETTER ") and name.split()[3].lower()
        out += PLAIN.get(letter) or greek or near or repr(letter).encode("ascii", "backslashreplace").decode()[1:-1]
    return out, error.end


codecs.register_error("ravine", plain)
