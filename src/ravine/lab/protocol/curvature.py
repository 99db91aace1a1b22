"""What trials give to rules that take the Hessian's diagonal: a source, which sees the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.sources import Hutchinson

from ..errors import LabError
from ..seeding import seed_all
from ..tasks import Data, Task

if TYPE_CHECKING:
    from .search import Entry

# by the name of the rule. SophiaG is not here: its source needs logits, and a task has outputs and a loss of any kind
SOURCES: Mapping[str, Callable[[], Hutchinson]] = {
    "adahessian": partial(Hutchinson, spatial=True),
    "sophiah": partial(Hutchinson, every=10),
}


def backward_of(opt: torch.optim.Optimizer) -> Callable[[Tensor], None]:
    """How a loss goes back for this optimizer: through a source that is made for it, where its rule takes h."""
    make = SOURCES.get(type(opt).__name__.lower())
    if make is None or not isinstance(opt, Optimizer):
        return Tensor.backward
    if opt.sources:
        (source,) = opt.sources
        assert isinstance(source, Hutchinson)
    else:
        opt.watch(source := make())
    return source.backward


def check(entries: Iterable[Entry], task: Task, data: Data, precision: str = "float32", compiled: bool = False) -> None:
    """One clear error where a trial cannot measure what an optimizer takes; it is tried with a step."""
    for entry in entries:
        if entry.cls.__name__.lower() not in SOURCES:
            continue
        needs = f"optimizer '{entry.name}' takes the Hessian's diagonal"
        if precision == "fp16":
            raise LabError(f"{needs}, and --precision fp16 scales the loss, so that it would be scaled too: take bf16")
        if compiled:
            raise LabError(f"{needs}, and torch.compile makes no second derivative: leave out --compile")
        seed_all(0)
        model = task.model()
        opt = entry.cls(model.parameters(), **({"lr": 0.0} | dict(entry.hyper)))
        loss = task.objective(model, model(data.x[: task.batch]), data.y[: task.batch])
        try:
            backward_of(opt)(loss)
            opt.step(loss=loss.detach())
        except Exception as error:  # of layers, some of which are the person's
            raise LabError(
                f"{needs}, and task '{task.name}' has no second derivative ({' '.join(str(error).split())})"
            ) from error
