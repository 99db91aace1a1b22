"""The report: one HTML file that opens offline."""

from .page import page

__all__ = ["page"]
