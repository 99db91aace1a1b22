"""A figure as a page of its own that opens offline."""

from .figure import Figure


def page(figure: Figure, title: str) -> str:
    """The HTML of one figure under a line of text."""
    from plotly.io import to_html  # an extra: imported when used

    layout = figure["layout"] | {"title": {"text": title, "font": {"size": 13}}, "margin": {"t": 48, "r": 16}}
    return to_html({"data": figure["data"], "layout": layout}, include_plotlyjs=True, config={"displayModeBar": False})
