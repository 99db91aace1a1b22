"""Beside a rule a program carries the loss scale, a guard against gradients that are not finite, and measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.compile.expr import EVERY, SCALAR, Expr, leaf, node

GUARD = "finite"  # the mark of the guard among the sums over all tensors


def unscaled(hyper: Mapping[str, Any], g: Expr) -> Expr:
    """The gradient of the loss, where backward was given the loss times a scale."""
    return g if hyper.get("grad_scale") is None else g / leaf("hyper", "grad_scale")


def guarded(hyper: Mapping[str, Any], g: Expr) -> Expr | None:
    """A sum over all tensors: 0 where all gradients are finite, else NaN."""
    if hyper.get("nonfinite", "ignore") == "ignore":
        return None
    return node("every", node("sum", g * 0.0, shape=SCALAR), arg=GUARD, shape=EVERY)


def measured(hyper: Mapping[str, Any], g: Expr, clipped: Expr | None, p: Expr, new: Expr) -> dict[str, Expr]:
    """Sums of each tensor that are only looked at: ‖g‖², ‖Δp‖², ‖p‖², and how many elements were clipped."""
    if not hyper.get("measured"):
        return {}
    seen = {"gradient": g**2, "update": (new - p) ** 2, "weight": p**2}
    seen |= {} if clipped is None else {"clipped": clipped}
    return {name: node("sum", x, shape=SCALAR) for name, x in seen.items()}


def cut(before: Expr, after: Expr, already: Expr | None) -> Expr:
    """1 where an element has become smaller, or had already."""
    return node("where", node("gt", node("abs", before), node("abs", after)), 1.0, 0.0 if already is None else already)
