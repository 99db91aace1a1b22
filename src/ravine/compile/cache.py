"""Compiled programs on disk: found again by content, rebuilt when anything about them is doubtful."""

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

MAGIC = b"ravine object 1\n"
LARGEST = 2**26  # bytes of a file: a program of ravine's has thousands


def folder() -> Path:
    """$RAVINE_CACHE, else the user's cache folder as XDG names it."""
    if chosen := os.environ.get("RAVINE_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "ravine"
    try:
        return Path.home() / ".cache" / "ravine"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "ravine"


def cached(text: str, build: Callable[[str], bytes]) -> bytes:
    """build(text), or what an earlier process kept of it. `text` must hold all that the result depends on.

    The file carries the digests of its text and of its content, so one that is truncated, altered, or
    left by another version is built again; so is one that another user could have written, or put there.
    """
    key = hashlib.sha256(text.encode())
    path = folder() / f"{key.hexdigest()}.o"
    if (found := read(path, key.digest())) is not None:
        return found
    made = build(text)
    write(path, MAGIC + key.digest() + hashlib.sha256(made).digest() + made)
    return made


def read(path: Path, key: bytes) -> bytes | None:
    """The content of a cache file that is whole, ours, and made from this key."""
    try:
        with _opened(path) as file:
            status = os.fstat(file.fileno())
            if not (stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST and _ours(status)):
                return None
            data = file.read(LARGEST)
    except OSError:
        return None
    head, content = data[: len(MAGIC) + 64], data[len(MAGIC) + 64 :]
    return content if head == MAGIC + key + hashlib.sha256(content).digest() else None


def _opened(path: Path) -> IO[bytes]:
    """The file of that name itself, in a folder that nobody else may write to: not what a link of that name leads to,
    and without waiting where it is a pipe."""
    if sys.platform == "win32":
        return path.open("rb")
    within = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _ours(os.fstat(within)):
            raise PermissionError(f"{path.parent}: others may write there")
        how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.fdopen(os.open(path.name, how, dir_fd=within), "rb")
    finally:
        os.close(within)


def _ours(status: os.stat_result) -> bool:
    """Whether nobody else can have written it."""
    return sys.platform == "win32" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def write(path: Path, data: bytes) -> None:
    """Put the file there whole or not at all; a folder that cannot be written costs only the cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
    except OSError:
        pass
