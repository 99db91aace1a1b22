"""The report: one HTML file that opens offline, and its figures as pictures."""

from .page import page
from .stills import stills

__all__ = ["page", "stills"]
