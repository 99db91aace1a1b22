"""Arrays in, picture out: figures as plain data that plotly.js draws in a page and matplotlib on paper; SVG; text."""

from .bars import Bar, bars
from .curves import Band, Line, bands, curves
from .grid import Panel, grid
from .heat import heat
from .page import column, page
from .palette import Ink, ink
from .parallel import parallel
from .profile import Ratios, profile
from .sensitivity import Scan, Width, sensitivity, widths
from .shades import Shade, shades
from .spread import Values, spread
from .terminal import terminal

__all__ = [
    "Band", "Bar", "Ink", "Line", "Panel", "Ratios", "Scan", "Shade", "Values", "Width", "bands", "bars", "column",
    "curves", "grid", "heat", "ink", "page", "parallel", "profile", "sensitivity", "shades", "spread", "terminal",
    "widths",
]  # fmt: skip
