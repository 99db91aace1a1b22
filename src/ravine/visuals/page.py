"""A figure as a page of its own that opens offline."""

from collections.abc import Sequence
from html import escape

from .figure import Figure


def page(figure: Figure, title: str) -> str:
    """The HTML of one figure under a line of text."""
    from plotly.io import to_html  # an extra: imported when used

    layout = figure["layout"] | {"title": {"text": title, "font": {"size": 13}}, "margin": {"t": 48, "r": 16}}
    return to_html({"data": figure["data"], "layout": layout}, include_plotlyjs=True, config={"displayModeBar": False})


def column(figures: Sequence[Figure], title: str) -> str:
    """The HTML of several figures, one below the other, under a heading."""
    from plotly.io import to_html  # an extra: imported when used

    legend = {"orientation": "h", "y": -0.2, "yanchor": "top"}  # below, so that a phone has width left for the curves
    around = {"margin": {"t": 16, "r": 16}, "height": 420, "showlegend": True, "legend": legend}
    made = [
        to_html(
            {"data": figure["data"], "layout": figure["layout"] | around},
            full_html=False,
            include_plotlyjs=not i,
            config={"displayModeBar": False, "responsive": True},
        )
        for i, figure in enumerate(figures)
    ]
    style = "body{font:15px system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}h1{font-size:1.2rem}"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f"<!doctype html><html><head>{head}<style>{style}</style></head><body><h1>{escape(title)}</h1>" + "".join(
        [*made, "</body></html>"]
    )
