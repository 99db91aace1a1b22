"""Tensors for laws, always the same ones, and one way to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

Shapes = Sequence[tuple[int, ...]]


def values(shapes: Shapes, seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[Tensor]:
    """Random tensors of these shapes."""
    return [(scale * x).to(dtype) for x in normal(tuple(shapes), seed)]


@cache
def normal(shapes: tuple[tuple[int, ...], ...], seed: int) -> list[Tensor]:
    """Standard normal numbers in float64, the same for the same seed."""
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made, dtype=torch.float64) for shape in shapes]


def parameters(shapes: Shapes, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    """Random parameters of these shapes."""
    return [torch.nn.Parameter(x) for x in values(shapes, seed, dtype)]


def of(opt: torch.optim.Optimizer) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [p for group in opt.param_groups for p in group["params"]]


def near(a: Tensor, b: Tensor, tolerance: float, *terms: Tensor) -> None:
    """Assert that a and b differ by at most `tolerance` of the largest finite magnitude in them, or in the terms that
    they are sums of; NaN equals NaN, an infinity itself."""
    a, b = a.detach().double(), b.detach().double()
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    if not a.numel():
        return
    assert torch.equal(a.isnan(), b.isnan()), "NaN in different places"
    seen = torch.stack([a, b, *(x.detach().double() for x in terms)]).abs()
    scale = seen.where(seen.isfinite(), 0).max()
    gap = (a - b).abs().where((a != b) & ~a.isnan(), 0)
    at = gap.argmax()
    assert gap.max() <= tolerance * scale, (
        f"{gap.max() / scale:.2e} of the largest apart, {tolerance:.0e} allowed: {a.flatten()[at]}, {b.flatten()[at]}"
    )


def equal(a: Tensor, b: Tensor) -> None:
    """Assert that a and b have the same type and bits."""
    assert a.dtype == b.dtype, f"{a.dtype} and {b.dtype}"
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    different = ~((a == b) | (a.isnan() & b.isnan()))
    assert not different.any(), f"{int(different.sum())} of {a.numel()} differ, by {(a - b).abs().max():.2e}"


def finite(x: Tensor) -> None:
    """Assert that there is neither NaN nor infinity."""
    bad = ~x.isfinite()
    assert not bad.any(), f"{int(bad.sum())} of {x.numel()} numbers are {x[bad].flatten()[0]}"


@contextmanager
def at(where: str) -> Iterator[None]:
    """An assertion that fails within says where."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from None
