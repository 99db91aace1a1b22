"""What a surface gives, which somebody may have written: a loss for each point that autograd can differentiate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface


def losses(surface: Surface, x: Tensor, y: Tensor) -> Tensor:
    """The loss at these points; ValueError says what else the surface gave."""
    return _checked(surface, "loss", torch.broadcast_shapes(x.shape, y.shape), lambda: surface.loss(x, y))


def objective(surface: Surface, parameters: Tensor, t: Tensor, chance: Tensor | None) -> Tensor:
    """What step t differentiates, of each run; ValueError says why that is not possible."""
    ask = lambda: surface.objective(parameters, t, chance)  # noqa: E731
    found = _checked(surface, "loss" if _plain(surface) else "objective", parameters.shape[:1], ask)
    if not found.requires_grad:
        raise ValueError(
            f"{surface.title()}: autograd cannot follow what it gives back to x and y; it is detached, constant, or "
            "made of whole numbers: compute it from x and y with torch's operations"
        )
    return found


def _plain(surface: Surface) -> bool:
    return type(surface).objective is Surface.objective


def _checked(surface: Surface, name: str, shape: torch.Size, ask: Callable[[], object]) -> Tensor:
    """A tensor of this shape, or what is wrong in one line."""
    try:
        found = ask()
    except (ValueError, NotImplementedError, MemoryError):
        raise
    except Exception as error:  # the person's code runs here: whatever it raises is about that code
        said = " ".join(str(error).split())
        raise ValueError(f"{surface.title()}: {name}() raised {type(error).__name__}: {said}") from error
    if not isinstance(found, Tensor):
        raise ValueError(f"{surface.title()}: {name}() gave {type(found).__name__}; it must give a tensor")
    if found.shape != shape:
        raise ValueError(
            f"{surface.title()}: {name}() gave a tensor of shape {tuple(found.shape)} for points of shape "
            f"{tuple(shape)}; it must give a loss for each"
        )
    return found
