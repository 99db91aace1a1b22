"""An earlier comparison, from the folder it wrote to: its settings, and the command that asked for them."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .errors import LabError
from .records import recall
from .settings import Settings


def recalled(folder: Path, now: Mapping[str, Any]) -> tuple[Settings, str]:
    """What was asked for then, with `now` in its place."""
    kept = recall(folder, "comparison")
    was: dict[str, Any] = kept["settings"]
    if unknown := was.keys() - {field.name for field in fields(Settings)}:
        raise LabError(f"{folder}: another version of ravine compared here, with {', '.join(sorted(unknown))}")
    if was["data"] is not None:
        was["data"] = Path(kept["in"]) / was["data"]
    lists = {name: tuple(value) for name, value in was.items() if isinstance(value, list)}
    return Settings(**{**was, **lists, "out": folder, **now}), kept["command"]
