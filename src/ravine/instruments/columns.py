"""Rows of words in aligned columns."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """One line a row, the first being the head; two spaces between columns, no marks around them.

    >>> print(columns([("layer", "std"), ("0 (Linear)", "0.98")]))
    layer       std
    0 (Linear)  0.98
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)).rstrip() for row in rows)
