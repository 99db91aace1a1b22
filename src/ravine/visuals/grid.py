"""Small curves side by side, as SVG: text that a browser shows, in light and dark, and that goes into a repository."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .figure import thin
from .palette import COLOURS

STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.name{font-weight:600}.axis{stroke:#bbb;fill:none}"
    f".curve{{stroke:{COLOURS[0]};fill:none;stroke-width:2;stroke-linejoin:round}}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.axis{stroke:#555}.curve{stroke:#56B4E9}}"
)
LEFT, RIGHT, TOP, BOTTOM = 34, 14, 24, 22  # room for the words, in pixels


@dataclass(frozen=True)
class Panel:
    """One curve: its title, and its values at 0, 1, 2 …"""

    title: str
    values: Sequence[float]


def grid(panels: Sequence[Panel], columns: int = 4, width: int = 220, height: int = 130) -> str:
    """All panels, each with an axis of its own: from 0 where that leaves the curve room, else from its smallest."""
    rows = -(-len(panels) // columns)
    drawn = [
        f'<g transform="translate({i % columns * width},{i // columns * height})">{panel(x, width, height)}</g>'
        for i, x in enumerate(panels)
    ]
    w, h = width * min(columns, len(panels)), height * rows
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *drawn, "</svg>"]) + "\n"


def panel(x: Panel, width: int, height: int) -> str:
    """One of them."""
    low, high, last = min(x.values), max(x.values), max(1, len(x.values) - 1)
    low = low if low < 0 or high / 2 < low < high else 0.0
    span, right, foot = (high - low) or 1.0, width - RIGHT, height - BOTTOM
    at = [
        f"{LEFT + (right - LEFT) * i / last:.1f},{foot - (foot - TOP) * (x.values[i] - low) / span:.1f}"
        for i in thin(len(x.values), 2 * width)
    ]
    words = [
        (LEFT, 14, "start", "name", x.title),
        (LEFT - 4, TOP + 4, "end", "", f"{high:.3g}"),
        (LEFT - 4, foot + 4, "end", "", f"{low:.3g}"),
        (right, height - 6, "end", "", f"{len(x.values)} steps"),
    ]
    return (
        f'<path class="axis" d="M{LEFT},{TOP}V{foot}H{right}"/><polyline class="curve" points="{" ".join(at)}"/>'
        + "".join(f'<text x="{a}" y="{b}" text-anchor="{c}" class="{d}">{escape(e)}</text>' for a, b, c, d, e in words)
    )
