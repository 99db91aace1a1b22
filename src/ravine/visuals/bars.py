"""Amounts as bars: a row for each thing, its parts one after the other, the sum in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .figure import Figure, axis, finite, rows
from .palette import Ink


@dataclass(frozen=True)
class Bar:
    """The parts of one amount, which are what its data are called too."""

    name: str
    ink: Ink
    parts: Mapping[str, float]


def bars(things: Sequence[Bar], x_title: str, digits: str = ".3g") -> Figure:
    """From zero; the first part in full colour, the rest pale."""
    traces: list[dict[str, Any]] = []
    for i, thing in enumerate(things):
        for j, (part, amount) in enumerate(thing.parts.items()):
            last = j == len(thing.parts) - 1
            traces.append({
                "type": "bar", "orientation": "h", "legendgroup": thing.name, "name": f"{thing.name}, {part}",
                "x": finite([amount]), "y": [-i], "width": 0.62, "cliponaxis": False,
                "text": [format(sum(thing.parts.values()), digits) if last else ""], "textposition": "outside",
                "marker": {"color": thing.ink.pale(0.35) if j else thing.ink.colour},
                "hovertemplate": "%{x:.4g}<extra>%{fullData.name}</extra>",
            })  # fmt: skip
    longest = max((sum(t.parts.values()) for t in things), default=0) or 1
    made = rows([t.name for t in things], x_title, [0.0], high=28)
    return {
        "data": traces,
        "layout": made | {"barmode": "stack", "xaxis": axis(x_title) | {"range": [0, 1.3 * longest]}},
    }
