"""The report: one HTML file that opens offline."""

from .page import Facts, page

__all__ = ["Facts", "page"]
