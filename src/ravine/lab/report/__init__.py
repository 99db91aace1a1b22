"""The report: one HTML file that opens offline, and its figures as pictures."""

from .page import page
from .so_far import so_far
from .stills import stills

__all__ = ["page", "so_far", "stills"]
