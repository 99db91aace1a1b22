"""Fetches the official files of a data set: checksummed, resumed where they stopped, and clear without a network."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from ..errors import LabError


def cache_folder(name: str) -> Path:
    """$RAVINE_DATA/name, else the user's cache folder."""
    if "RAVINE_DATA" in os.environ:
        return Path(os.environ["RAVINE_DATA"]) / name
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ravine" / "data" / name


def download(address: str, md5: Mapping[str, str], folder: Path) -> None:
    """Puts the files named by `md5` into `folder`; one that is there already and whole is left alone. A file that
    comes in several forms has several sums, with a space between them."""
    for name, expected in md5.items():
        part = folder / f"{name}.part"
        try:
            if (folder / name).exists() and _md5((folder / name).read_bytes()) in expected.split():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(address + name, part)
        except (OSError, http.client.HTTPException) as error:  # no network, a full disk, an answer that is no HTTP
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise LabError(f"cannot download {address + name} into {folder}: {reason}. Run again to resume, or put "
                           f"{', '.join(md5)} into a folder and pass it: --data FOLDER") from error  # fmt: skip
        found = _md5(part.read_bytes())
        if found not in expected.split():
            part.unlink()
            raise LabError(
                f"{address + name}: what came has md5 {found}, expected {expected}; it was removed, run again"
            )
        part.replace(folder / name)


def read(path: Path, address: str, md5: Mapping[str, str]) -> bytes:
    """What is in a file, which must be the one that everybody has from this address."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise LabError(f"{path}: no such file; --data must name the folder that holds {path.name}") from None
    except OSError as error:
        raise LabError(f"{path}: cannot be read: {error.strerror}") from error
    if (found := _md5(content)) not in (expected := md5[path.name]).split():
        raise LabError(f"{path}: not the file of {address}{path.name}: {len(content):,} bytes with md5 {found}, "
                       f"expected {' or '.join(expected.split())}")  # fmt: skip
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _fetch(address: str, part: Path) -> None:
    """Appends to `part` what it still lacks; a server that ignores Range begins again."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to send: the checksum judges what is there
            return
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        left = int(answer.headers.get("Content-Length", 0))
        while block := answer.read(1 << 20):
            left -= file.write(block)
    if left > 0:  # http.client says nothing when a connection ends early
        raise OSError(f"the connection ended {left:,} bytes early")
