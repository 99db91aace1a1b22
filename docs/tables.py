"""How the tables of the pages are written, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]  # of a record in benchmarks/results


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [head, ("---",) * len(head), *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def listed(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """A line for each row; a column for each key of it that is named here."""
    return table(list(columns), [[cell(row, key) for key in columns.values()] for row in rows])


def crossed(ratio: str, rows: Sequence[Row]) -> str:
    """A line for each question, a column for each model, one ratio in the cells, and the aim."""
    at = {(row["question"], row["model"]): figure(row["ratios"][ratio]) for row in rows}
    aims = {row["question"]: aim(row, ratio) for row in rows}
    models = dict.fromkeys(model for _, model in at)
    return table([ratio, *models, "aim"], [[q, *(at.get((q, m), "") for m in models), aims[q]] for q in aims])


def cell(row: Row, key: str) -> str:
    """A ratio with its aim, a time, a note with the reason for what is absent, or any other fact of a row."""
    if key in row.get("ratios", {}):
        return figure(row["ratios"][key]) + (f" (aim: {aim(row, key)})" if aim(row, key) else "")
    if key in row.get("seconds", {}):
        return duration(row["seconds"][key])
    if key == "note":
        return "; ".join(row[k] for k in ("note", "alone", "reason") if row.get(k))
    x = row.get(key, "")
    return figure(x) if isinstance(x, int | float) else x


def aim(row: Row, ratio: str) -> str:
    """In words."""
    word, x = row.get("aims", {}).get(ratio, ("", None))
    return "" if x is None else f"{word} {x:g}"


def figure(x: float) -> str:
    """Three digits; of what is tiny only the size."""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.0e}" if 0 < abs(x) < 1e-3 else f"{x:.3g}"


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    scale, unit = next((x for x in ((1, "s"), (1e3, "ms")) if seconds * x[0] >= 1), (1e6, "µs"))
    return f"{figure(seconds * scale)} {unit}"
