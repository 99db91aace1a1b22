"""The standard streams: what is printed is printed, whatever they can encode, and Ctrl-C while modules are imported."""

import codecs
import io
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ravine.cli.mistake import complain


@contextmanager
def standing() -> Iterator[None]:
    """Inside, printing never fails because of the text: characters the stream cannot encode are written in ASCII, and
    output to a closed stream is dropped. At the end all is printed; where it cannot be, OSError says why."""
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
    could surface as that library's own error, or be swallowed."""
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


ASCII = {
    "←": "<-", "→": "->", "−": "-", "–": "-", "—": "-", "…": "...", "·": "*", "×": "x", "±": "+/-", "√": "sqrt",
    "‖": "||", "≤": "<=", "≥": ">=", "≠": "!=", "∞": "inf", "“": '"', "”": '"', "’": "'", "‘": "'", "∇": "grad",
    "∂": "d", "∑": "sum", "Σ": "sum", "⊙": "*", "∘": "*", "⊗": "x", "≈": "~", "∈": "in", "ᵀ": "^T", "µ": "u",
}  # fmt: skip


def to_ascii(error: UnicodeError) -> tuple[str, int]:
    """In ASCII what a stream has no letters for: β as beta, x₁ as x1, ü as u."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = ""
    for letter in error.object[error.start : error.end]:
        name = unicodedata.name(letter, "")
        near = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        greek = name.startswith("GREEK SMALL LETTER ") and name.split()[3].lower()
        out += ASCII.get(letter) or greek or near or repr(letter).encode("ascii", "backslashreplace").decode()[1:-1]
    return out, error.end


codecs.register_error("ravine", to_ascii)
