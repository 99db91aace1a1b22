"""What torch.compile leaves as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from torch._C._dynamo.eval_frame import set_eval_frame

P = ParamSpec("P")
R = TypeVar("R")


def untraced(f: Callable[P, R]) -> Callable[P, R]:
    """f, where a function that torch.compile compiles calls it: the graph ends before it and goes on after it, and
    nothing is compiled anew when what f reads has changed.

    So does torch.compiler.disable, which imports torch._dynamo: seconds at every start.
    """

    @wraps(f)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = set_eval_frame(None)
        try:
            return f(*args, **kwargs)
        finally:
            set_eval_frame(before)

    run._torchdynamo_disable = True  # pyright: ignore[reportAttributeAccessIssue]
    return run
