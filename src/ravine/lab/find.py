"""From a name the person typed to the thing it names: one of ours, or `module:name` of their own."""

import importlib
import os
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from .errors import LabError


def find(typed: str, known: Mapping[str, Any], what: str) -> Any:
    """The entry of `known` called `typed`, or the object at `module:name` on the person's own path."""
    if ":" in typed:
        return _import(typed, what)
    if typed in known:
        return known[typed]
    near = get_close_matches(typed.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise LabError(f"unknown {what} '{typed}': {hint}known are {', '.join(known)}, or your own as module:name")


def _import(typed: str, what: str) -> Any:
    module_name, _, name = typed.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not see the folder it is called from
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the person's file runs here: whatever it raises is about that file
        raise LabError(
            f"{what} '{typed}': cannot import '{module_name}' from {os.getcwd()}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if hasattr(module, name):
        return getattr(module, name)
    names = [n for n in vars(module) if not n.startswith("_")]
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    raise LabError(
        f"{what} '{typed}': '{module_name}' has no '{name}'; it has {', '.join(near or names) or 'no names'}"
    )
