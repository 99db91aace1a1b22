"""Histograms that follow each other, as a map: when, how large, and how many."""

from collections.abc import Sequence

from .figure import Figure, axis, finite, layout

# cividis (Nuñez, Anderton & Renslow 2018): read alike with and without colour blindness
SCALE = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838")


def heat(x: Sequence[float], y: Sequence[float], z: Sequence[Sequence[float]], titles: tuple[str, str, str],
         most: float) -> Figure:  # fmt: skip
    """`z[i][j]` is the amount from x[i] to x[i+1] and y[j] to y[j+1], on a logarithmic y; nothing is drawn for 0,
    and from `most` on the colour stays. x and y are edges, one more than z has."""
    across, up, amount = titles
    trace = {
        "type": "heatmap", "name": amount, "x": finite(x), "y": [float(f"{v:.3g}") for v in y],
        "z": [[v or None for v in column] for column in zip(*z, strict=True)],
        "colorscale": [[i / (len(SCALE) - 1), colour] for i, colour in enumerate(SCALE)], "zmin": 0, "zmax": most,
        "colorbar": {"title": {"text": amount, "side": "right"}, "thickness": 10, "outlinewidth": 0, "nticks": 5},
        "hovertemplate": "%{z:.3g} at %{x:.4~g}, %{y:.1e}<extra></extra>",
    }  # fmt: skip
    made = layout(across, up, False, [0.0])
    made["yaxis"] = axis(up) | {"type": "log", "exponentformat": "power", "nticks": 7}
    made["yaxis"]["title"]["standoff"] = 16  # powers are wider than plotly.js takes them for
    return {"data": [trace], "layout": made}
