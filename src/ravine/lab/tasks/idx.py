"""The IDX format of MNIST's files: two zeros, a type, the number of sizes, the sizes, then the bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ..errors import LabError


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The uint8 tensor in `path` (or in `path` without its .gz), which must have this shape."""
    if not path.exists() and path.with_suffix("").exists():
        path = path.with_suffix("")
    raw = _bytes(path)
    header = 4 + 4 * len(shape)
    magic = bytes([0, 0, 8, len(shape)])
    if raw[:4] != magic:
        raise LabError(f"{path}: not IDX of {len(shape)}-d unsigned bytes: it begins with "
                       f"{raw[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')}")  # fmt: skip
    if len(raw) < header:
        raise LabError(f"{path}: truncated in its header: {len(raw)} bytes, expected {header}")
    sizes = struct.unpack(f">{len(shape)}I", raw[4:header])
    if sizes != shape:
        raise LabError(f"{path}: its header says {_sizes(sizes)}, expected {_sizes(shape)}")
    if len(raw) != header + math.prod(shape):
        wrong = "truncated" if len(raw) < header + math.prod(shape) else "too long"
        raise LabError(f"{path}: {wrong}: {len(raw):,} bytes, expected {header + math.prod(shape):,}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)[header:].view(shape)


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise LabError(f"{path}: no such file; --data must name the folder that holds {path.name}") from None
    except OSError as error:
        raise LabError(f"{path}: cannot be read: {error.strerror}") from error
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LabError(f"{path}: not a whole gzip file ({len(raw):,} bytes): {error}; download it again") from error


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in sizes)
