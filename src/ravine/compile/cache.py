"""Compiled programs on disk: found again by content, rebuilt when anything about them is doubtful."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

MAGIC = b"ravine object 1\n"


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
    left by another version is built again; so is one that another user could have written.
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
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if sys.platform != "win32" and (status.st_uid != os.getuid() or status.st_mode & 0o022):
                return None
            data = file.read()
    except OSError:
        return None
    head, content = data[: len(MAGIC) + 64], data[len(MAGIC) + 64 :]
    return content if head == MAGIC + key + hashlib.sha256(content).digest() else None


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
