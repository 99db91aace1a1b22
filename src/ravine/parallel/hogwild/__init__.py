"""Hogwild!: processes or threads that step the same weights at once, without locks."""

from ravine.parallel.hogwild.completion import MatrixCompletion
from ravine.parallel.hogwild.linear import SparseLinear
from ravine.parallel.hogwild.processes import hogwild
from ravine.parallel.hogwild.share import share

__all__ = ["MatrixCompletion", "SparseLinear", "hogwild", "share"]
