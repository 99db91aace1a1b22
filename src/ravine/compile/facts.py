"""What a rule may ask of a tensor while it is traced: a program is made for the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ravine.compile.block import View
from ravine.compile.geometry import size_of, sizes


class Facts(dict[str, Any]):
    """Facts of a tensor by their names. A comparison of sizes, as "r > 8192", is found when it is asked."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype = torch.float32, view: View = "first"):
        places = max(1, math.prod(shape[2:]))
        super().__init__({"p.vector": len(shape) < 2, "p.places": places, "p.eps": torch.finfo(dtype).eps})
        self.shape, self.view = shape, view

    def __missing__(self, question: str) -> bool:
        left, sign, right = question.split()
        try:
            known = sizes(self.shape, self.view)
        except ValueError:  # no such stack of matrices: a step says so, with the parameter's name
            known = dict.fromkeys("brc", 1)
        a, b = (size(x, known) for x in (left, right))
        return a > b if sign == ">" else a >= b


def size(written: str, known: Mapping[str, int]) -> float:
    """A size, or a plain number."""
    return float(written) if written[0] in "-.0123456789" and "&" not in written else size_of(written, known)


MATRIX = Facts((64, 64))  # the tensor that is meant where none is given
