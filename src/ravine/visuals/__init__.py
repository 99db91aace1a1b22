"""Arrays in, picture out: figures as plain data for plotly.js, which draws them in the page; SVG; and text."""

from .curves import Line, curves
from .grid import Panel, grid
from .page import page
from .palette import Ink, ink
from .sensitivity import Scan, sensitivity
from .terminal import terminal

__all__ = ["Ink", "Line", "Panel", "Scan", "curves", "grid", "ink", "page", "sensitivity", "terminal"]
