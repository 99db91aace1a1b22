"""Tensors whose memory ends, or begins, at a page that may not be touched: one byte too far ends the process."""

import ctypes
import mmap

import torch

PAGE = mmap.PAGESIZE
NONE, BOTH = 0, mmap.PROT_READ | mmap.PROT_WRITE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
kept = []  # pages are given back with their protection, never while a tensor may still look at them


def guarded(x, at_end=True):
    """A copy of a tensor, with its strides, that ends where such a page begins, or begins where one ends."""
    span = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True)) + 1 if x.numel() else 0
    size = span * x.element_size()
    pages = -(-size // PAGE) if size else 1
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        assert libc.mprotect(start + page * PAGE, PAGE, NONE) == 0
    offset = (pages + 1) * PAGE - size if at_end else PAGE
    if not size:
        return x.clone()
    flat = torch.frombuffer(memory, dtype=x.dtype, count=span, offset=offset)
    made = flat.as_strided(x.shape, x.stride())
    made.copy_(x)
    return made


def release():
    """Give back all pages; no tensor made here may be used after."""
    for memory in kept:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        libc.mprotect(start, len(memory), BOTH)
    kept.clear()
