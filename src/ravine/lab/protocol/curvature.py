"""What trials give to rules that take curvature: a source, which sees the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from ravine.loop.hook import Hook
from ravine.optimizer import Optimizer
from ravine.sources import Hutchinson, KroneckerFactors
from ravine.sources.kronecker_factors import Loss

from ..errors import LabError
from ..seeding import seed_all
from ..tasks import Data, Task
from .recipe import made_of
from .routing import made

if TYPE_CHECKING:
    from .search import Entry

# by the name of the rule. SophiaG is not here: its source needs logits, and a task has outputs and a loss of any kind
SOURCES: Mapping[str, Callable[..., Hutchinson | KroneckerFactors]] = {
    "adahessian": partial(Hutchinson, spatial=True),
    "sophiah": partial(Hutchinson, every=10),
    "kfac": KroneckerFactors,
}
LOSSES: Mapping[Any, Loss] = {cross_entropy: "cross_entropy", binary_cross_entropy_with_logits: "bce", mse_loss: "mse"}


def backward_of(
    opt: torch.optim.Optimizer, model: nn.Module | None = None, loss: Any = None
) -> Callable[[Tensor], None]:
    """How a loss goes back for this optimizer: through a source that is made for it, where its rule takes curvature.

    model, loss: what the source of K-FAC is made for; the loss is one of torch's functions.
    """
    rules = [rule.__name__.lower() for rule in opt.rules] if isinstance(opt, Optimizer) else []
    name = next((x for x in rules if x in SOURCES), None)
    if name is None or not isinstance(opt, Optimizer):
        return Tensor.backward
    if name == "kfac":
        assert model is not None
        return Factored(opt, model, loss).backward
    if opt.sources:
        (source,) = opt.sources
        assert isinstance(source, Hutchinson)
    else:
        source = SOURCES[name]()
        assert isinstance(source, Hutchinson)
        opt.watch(source)
    return source.backward


class Factored:
    """How K-FAC is trained: factors of the outputs that the model gave last, then the loss goes back."""

    def __init__(self, opt: Optimizer, model: nn.Module, loss: Any):
        if loss not in LOSSES:
            raise LabError(
                f"K-FAC draws targets of {', '.join(x.__name__ for x in LOSSES)}, functions of torch.nn.functional; "
                f"the loss here is {getattr(loss, '__name__', loss)!r}"
            )
        self.classes = LOSSES[loss] == "cross_entropy"
        if not opt.sources:
            opt.watch(KroneckerFactors(model, loss=LOSSES[loss]))
        (source,) = opt.sources
        assert isinstance(source, KroneckerFactors)
        self.source, self.outputs = source, torch.zeros(())
        model.register_forward_hook(Hook(self.keep))

    def keep(self, _: nn.Module, __: Any, outputs: Tensor) -> None:
        """The outputs of a batch that is trained on, classes last."""
        if outputs.requires_grad:
            self.outputs = outputs.movedim(1, -1) if self.classes and outputs.dim() > 2 else outputs

    def backward(self, loss: Tensor) -> None:
        """In place of `loss.backward()`."""
        self.source.backward(self.outputs)
        loss.backward()


def check(entries: Iterable[Entry], task: Task, data: Data, precision: str = "float32", compiled: bool = False) -> None:
    """One clear error where a trial cannot measure what an optimizer takes; it is tried with a step."""
    for entry in entries:
        cls = made_of(entry.cls)
        if not (issubclass(cls, Optimizer) and cls.__name__.lower() in SOURCES):
            continue
        factored = cls.__name__ == "KFAC"
        what = "factors of the Fisher matrix" if factored else "the Hessian's diagonal"
        needs = f"optimizer '{entry.name}' takes {what}"
        if precision == "fp16":
            raise LabError(f"{needs}, and --precision fp16 scales the loss, so that it would be scaled too: take bf16")
        if compiled and factored:
            raise LabError(f"{needs}, and torch.compile calls no hooks of layers: leave out --compile")
        if compiled:
            raise LabError(f"{needs}, and torch.compile makes no second derivative: leave out --compile")
        seed_all(0)
        model = task.model()
        opt: Any = made(entry.cls, model, {"lr": 0.0} | dict(entry.hyper))
        try:
            back = backward_of(opt, model, task.loss)
            loss = task.gradients(model, task.drawn(data, data.first(task.batch)), back=back)
            opt.step(loss=loss.detach())
        except Exception as error:  # of layers, some of which are the person's
            lacks = "does not give them" if factored else "has no second derivative"
            raise LabError(f"{needs}, and task '{task.name}' {lacks} ({' '.join(str(error).split())})") from error
