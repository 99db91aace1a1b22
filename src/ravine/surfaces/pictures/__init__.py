"""Pictures that teach, by name; what they show the library's own optimizers compute, and `ravine picture` draws them.

A picture is a function without arguments that returns a matplotlib figure; the first line of its docstring is what the
list says of it. A new one: a file here, and its name in PICTURES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ravine.surfaces.pictures.averages import averages
from ravine.surfaces.pictures.bias_correction import bias_correction
from ravine.surfaces.pictures.radam import radam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES: dict[str, Callable[[], Figure]] = {
    "radam": radam,
    "bias-correction": bias_correction,
    "averages": averages,
}
