"""Snapshots on disk: the old one or the new one, never a part of either; nothing in them is run when they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ravine.saved import in_short, told

KIND = "ravine.parallel"


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file by another; whoever dies meanwhile leaves the old one."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(aside, "wb") as file:
            torch.save({"kind": KIND, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    if os.name == "nt":  # which has no folders that can be opened
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:  # a file system that cannot
        pass
    finally:
        os.close(folder)


def clear(path: Path) -> None:
    """Delete what writers left that died: only one writes to a path at a time."""
    for aside in path.parent.glob(f"{path.name}.*.new"):
        aside.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """What was saved; ValueError where it is no snapshot."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"not a snapshot of a parameter server ({type(error).__name__}: {in_short(str(error))})"
        ) from None
    if not isinstance(state, dict) or state.get("kind") != KIND:  # pyright: ignore[reportUnknownMemberType]
        raise ValueError(f"not a snapshot of a parameter server, but {told(state)}")
    return state  # pyright: ignore[reportUnknownVariableType]
