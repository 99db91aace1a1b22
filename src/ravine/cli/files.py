"""The files that a command writes: their names, and each whole or not at all."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ravine.cli.mistake import Mistake


def drawable(out: Path, kinds: Sequence[str]) -> None:
    """Whether a picture can be written there, in one of these formats: a Mistake before the work, and not after it."""
    if out.suffix not in kinds:
        raise Mistake(f"-o {out}: the name must end in {', '.join(kinds)}")
    if not out.parent.is_dir():
        raise Mistake(f"-o {out}: there is no folder {out.parent}")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise Mistake(f"-o {out}: it cannot be written; name another file")


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
