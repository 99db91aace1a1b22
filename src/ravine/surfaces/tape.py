"""What autograd did once, done again: the same operations in the same memory, without the graph.

Building a graph and walking it back costs more than all else where tensors have a few numbers. A tape writes down the
operations that torch ran, with the tensors themselves; played again, each reads and writes the memory that it did.
Sums and products are numpy's, which starts in a fifth of the time and rounds alike, since IEEE 754 says how; all else
is torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Call = tuple[Callable[..., Any], tuple[Any, ...]]

ATEN = torch.ops.aten
NUMPY = {
    ATEN.add.Tensor: np.add,
    ATEN.sub.Tensor: np.subtract,
    ATEN.mul.Tensor: np.multiply,
    ATEN.mul.Scalar: np.multiply,
    ATEN.div.Tensor: np.divide,
    ATEN.neg.default: np.negative,
}
POWERS = {1: np.positive, 2: np.square}  # torch's pow does so too


class Tape(TorchDispatchMode):
    """Writes down what torch computes while it is entered; `play()` computes it again from what is now in memory.

    What Python decided on the way is not on it: the operations must be the same for all numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = list[Call]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:  # a view is there for good
            self.calls.append(call(func, tuple(map(plain, args)), kwargs or {}, plain(out)))
        return out

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import torch._dynamo for it: seconds

    @torch.no_grad()
    def play(self) -> None:
        """Compute everything again."""
        for run, args in self.calls:
            run(*args)


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Call:
    """The operation and what it is given, the memory of its result last."""
    if func is ATEN.pow.Tensor_Scalar and args[1] in POWERS:
        return POWERS[args[1]], (args[0].numpy(), out.numpy())
    if func is ATEN.rsub.Scalar and len(args) == 2:
        return np.subtract, (args[1], args[0].numpy(), out.numpy())
    if func in NUMPY and not kwargs:
        return NUMPY[func], (*(x.numpy() if isinstance(x, Tensor) else x for x in args), out.numpy())
    return lambda: out.copy_(func(*args, **kwargs)), ()


def plain(x: Any) -> Any:
    """A tensor that autograd does not see; lists of tensors too."""
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x.detach() if isinstance(x, Tensor) else x
