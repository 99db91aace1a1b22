"""What autograd did once, done again: the same operations in the same memory, without the graph.

Building a graph and walking it back costs more than all else where tensors have a few numbers. A tape writes down the
operations that torch ran, with the tensors themselves; played again, each reads and writes the memory that it did.
Sums and products are numpy's, which starts in a fifth of the time and rounds alike, since IEEE 754 says how; all
else is torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[], Any]

SMALL = 4096  # numbers of a result; for more, the graph costs little and its memory may be much
ATEN = torch.ops.aten
READS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}  # torch's dispatcher does not hear of them
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

    whole: true if that is the same computation for all numbers: nobody has read any to decide, nothing was changed
        where it lay, and the results are small tensors in the memory of the CPU, of shapes that no number decides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whole = True
        self.calls = list[Call]()
        self.ear = Ear(self)

    def __enter__(self) -> Self:
        self.ear.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.ear.__exit__(*error)
        if not self.whole:
            self.calls.clear()  # which hold memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.whole = self.whole and repeatable(func, out)
        if self.whole and not (func.is_view or constant(func, args)):  # those are there for good
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


class Ear(TorchFunctionMode):
    """Hears of numbers that Python or numpy read."""

    def __init__(self, tape: Tape):
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            self.tape.whole = False
        return func(*args, **(kwargs or {}))


def repeatable(func: Any, out: Any) -> bool:
    """True if the tape can do it again."""
    if func.is_view:
        return True
    kept = isinstance(out, Tensor) and out.device.type == "cpu" and out.numel() <= SMALL
    return kept and not func._schema.is_mutable and torch.Tag.dynamic_output_shape not in func.tags


def constant(func: Any, args: tuple[Any, ...]) -> bool:
    """True if it gives the same each time: it is given no tensor, and no chance."""
    return not any(isinstance(x, Tensor | list | tuple) for x in args) and (
        torch.Tag.nondeterministic_seeded not in func.tags
    )


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Call:
    """The operation, with what it is given and the memory of its result."""
    if func in TORCH:
        return partial(TORCH[func], *args, out=out)
    if (found := numpys(func, args, out)) is not None and not kwargs:
        run, given = found
        return partial(run, *map(memory, given), out.numpy())
    return lambda: out.copy_(func(*args, **kwargs))


def numpys(func: Any, args: tuple[Any, ...], out: Tensor) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """What numpy calls the operation, and what it is given; None where numpy rounds or decides otherwise."""
    if func is ATEN.where.self and double(args[1:]):
        return choose, args
    if not double(args) or not (double(out) or func is ATEN.gt.Scalar):
        return None
    if func is ATEN.pow.Tensor_Scalar and args[1] in POWERS:
        return POWERS[args[1]], args[:1]
    if func is ATEN.rsub.Scalar and len(args) == 2:
        return np.subtract, args[::-1]
    if func is ATEN.stack.default:
        return np.stack, (args[0], *(args[1:] or (0,)))
    return (NUMPY[func], args) if func in NUMPY else None


def choose(first: Any, a: Any, b: Any, out: Any) -> None:
    """a where it is said, b elsewhere."""
    np.copyto(out, b)
    np.copyto(out, a, where=first)


def double(x: Any) -> bool:
    """True if the tensors have float64 alone, as all that numpy and torch promote alike."""
    return all(map(double, x)) if isinstance(x, list | tuple) else not isinstance(x, Tensor) or x.dtype is torch.float64


def memory(x: Any) -> Any:
    """The numbers as numpy's; lists of tensors too."""
    return [memory(v) for v in x] if isinstance(x, list) else x.numpy() if isinstance(x, Tensor) else x


def plain(x: Any) -> Any:
    """A tensor that autograd does not see; lists of tensors too."""
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x.detach() if isinstance(x, Tensor) else x
