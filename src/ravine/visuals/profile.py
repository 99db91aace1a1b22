"""Performance profiles: the share of problems that each method solves within τ times the best method's time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10
from typing import Any

from .figure import Figure, axis, finite, layout, stroke
from .palette import Ink


@dataclass(frozen=True)
class Ratios:
    """Of one method, for each problem its time divided by the best method's; infinite where it never gets there."""

    name: str
    ink: Ink
    ratios: Sequence[float]


def profile(methods: Sequence[Ratios], furthest: float = 4.0) -> Figure:
    """ρ(τ) as stairs for 1 ≤ τ ≤ `furthest`. Its height at 1 is how often a method is the fastest, that at the right
    how often it is within reach at all.

    Dolan & Moré 2002, Benchmarking optimization software with performance profiles    https://arxiv.org/abs/cs/0102001
    """
    traces: list[dict[str, Any]] = []
    for method in methods:
        at = sorted(r for r in method.ratios if isfinite(r) and r <= furthest)
        x = sorted({1.0, *at, furthest})
        share = [sum(r <= tau for r in at) / len(method.ratios) for tau in x]
        traces.append({
            "type": "scatter", "mode": "lines", "legendgroup": method.name, "name": method.name,
            "x": finite(x), "y": finite(share), "line": stroke(method.ink) | {"shape": "hv"},
            "hovertemplate": "%{y:.0%} within %{x:.3g} times<extra>" + method.name + "</extra>",
        })  # fmt: skip
    made = layout("τ, times the fastest", "share of tasks", False, [0.0])
    made["xaxis"] |= {"type": "log", "dtick": "D1", "tickformat": "~g", "range": [0, log10(furthest) * 1.01]}
    made["yaxis"] = axis("share of tasks") | {"range": [-0.02, 1.04], "tickformat": ".0%"}
    return {"data": traces, "layout": made}
