"""Arrays in, picture out: figures as plain data for plotly.js, which draws them in the page."""

from .curves import Line, curves
from .engine import engine
from .palette import Ink, ink
from .sensitivity import Scan, sensitivity

__all__ = ["Ink", "Line", "Scan", "curves", "engine", "ink", "sensitivity"]
