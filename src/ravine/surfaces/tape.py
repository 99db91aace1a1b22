"""What autograd did once, done again: the same operations in the same memory, without the graph.

Building a graph and walking it back costs more than all else where tensors have a few numbers. A tape writes down the
operations that torch ran, with the tensors themselves; played again, each reads and writes the memory that it did.
Sums and products are numpy's, which starts in a fifth of the time and rounds alike, since IEEE 754 says how; all
else is torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[], Any]

SMALL = 4096  # numbers of a result; for more, the graph costs little and its memory may be much
ATEN = torch.ops.aten
NUMPY = {
    ATEN.add.Tensor: np.add,
    ATEN.sub.Tensor: np.subtract,
    ATEN.mul.Tensor: np.multiply,
    ATEN.mul.Scalar: np.multiply,
    ATEN.div.Tensor: np.divide,
    ATEN.neg.default: np.negative,
    ATEN.gt.Scalar: np.greater,
}
TORCH = {  # called by its own name it starts in a third of the time
    ATEN.cos.default: torch.cos,
    ATEN.exp.default: torch.exp,
    ATEN.log.default: torch.log,
    ATEN.sin.default: torch.sin,
    ATEN.sqrt.default: torch.sqrt,  # not always rounded as IEEE 754 says
    ATEN.tanh.default: torch.tanh,
}
POWERS = {1: np.positive, 2: np.square}  # torch's pow does so too


class Tape(TorchDispatchMode):
    """Writes down what torch computes while it is entered; `play()` computes it again from what is now in memory.

    whole: true if that is the same computation for all numbers: Python has not looked at any to decide, nothing was
        changed where it lay, and the results are small tensors in the memory of the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whole = True
        self.calls = list[Call]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.whole = self.whole and repeatable(func, out)
        if not self.whole:
            self.calls.clear()
        elif not (func.is_view or constant(func, args)):  # those are there for good
            self.calls.append(call(func, tuple(map(plain, args)), kwargs or {}, out.detach()))
        return out

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import torch._dynamo for it: seconds

    @torch.no_grad()
    def play(self) -> None:
        """Compute everything again."""
        for run in self.calls:
            run()


def repeatable(func: Any, out: Any) -> bool:
    """True if the tape can do it again."""
    if func.is_view:
        return True
    kept = isinstance(out, Tensor) and out.device.type == "cpu" and out.numel() <= SMALL
    return kept and (func is ATEN.copy_.default or not func._schema.is_mutable)


def constant(func: Any, args: tuple[Any, ...]) -> bool:
    """True if it gives the same each time: it is given no tensor, and no chance."""
    return not any(isinstance(x, Tensor | list | tuple) for x in args) and (
        torch.Tag.nondeterministic_seeded not in func.tags
    )


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Call:
    """The operation, with what it is given and the memory of its result."""
    if func in TORCH:
        return partial(TORCH[func], *args, out=out)
    if (numpy := numpys(func, args)) is not None and not kwargs and shared(args):
        return partial(numpy[0], *map(memory, numpy[1]), out.numpy())
    return lambda: out.copy_(func(*args, **kwargs))


def numpys(func: Any, args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """What numpy calls the operation, and the arguments before the result's memory; None where it rounds otherwise."""
    if func is ATEN.pow.Tensor_Scalar and args[1] in POWERS:
        return POWERS[args[1]], args[:1]
    if func is ATEN.rsub.Scalar and len(args) == 2:
        return np.subtract, args[::-1]
    if func is ATEN.stack.default:
        return np.stack, (args[0], *(args[1:] or (0,)))
    if func is ATEN.copy_.default:
        return np.positive, args[1:]
    if func is ATEN.where.self:
        return choose, args
    return (NUMPY[func], args) if func in NUMPY else None


def choose(first: Any, a: Any, b: Any, out: Any) -> None:
    """a where it is said, b elsewhere."""
    np.copyto(out, b)
    np.copyto(out, a, where=first)


def shared(x: Any) -> bool:
    """True if the tensors are of the types that torch and numpy promote alike."""
    if isinstance(x, list | tuple):
        return all(map(shared, x))
    return not isinstance(x, Tensor) or x.dtype in (torch.float64, torch.bool)


def memory(x: Any) -> Any:
    """The numbers as numpy's; lists of tensors too."""
    return [memory(v) for v in x] if isinstance(x, list) else x.numpy() if isinstance(x, Tensor) else x


def plain(x: Any) -> Any:
    """A tensor that autograd does not see; lists of tensors too."""
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x.detach() if isinstance(x, Tensor) else x
