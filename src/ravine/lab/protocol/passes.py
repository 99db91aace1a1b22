"""How a trial goes forward and back through its model: in which precision, compiled or not."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ravine.optimizer import Optimizer
from ravine.strategies.strategy import Strategy

from ..tasks import Rows, Task, called
from ..tasks.rows import mapped
from .closure import answered, asks
from .curvature import backward_of

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Passes:
    """A model's passes under `torch.autocast`, its loss always of outputs in float32. In float16 the loss is scaled, so
    that small gradients survive, and a step whose gradients overflow is skipped (Micikevicius et al. 2018, section 3.2,
    https://arxiv.org/abs/1710.03740). Weights and states stay as they are."""

    def __init__(
        self,
        model: nn.Module,
        opt: torch.optim.Optimizer,
        device: str,
        precision: str,
        compiled: bool,
        loss: Any = None,
    ):
        self.model, self.opt, self.device, self.low = model, opt, device, PRECISIONS[precision]
        self.scaler = torch.amp.GradScaler(device) if precision == "fp16" else None
        if self.scaler is not None:  # the first steps may be skipped: the schedule goes on as it does for all
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.back = backward_of(opt, model, loss)
        self.train: Any = torch.compile(model) if compiled else model

    def forward(self, x: Rows, model: Any = None) -> Any:
        """What the model says of a batch; compiled unless another `model`, or itself, is named."""
        model = self.train if model is None else model
        if self.low is None:
            return called(model, x)
        with torch.autocast(self.device, self.low):
            output = called(model, x)
        return mapped(_wide, output)

    def gradients(self, task: Task, batch: tuple[Rows, Rows]) -> Tensor:
        """Those of a batch, in place of the last one's; its loss."""
        for p in self.params:
            p.grad = None  # as zero_grad() does, without its search for them at every step
        return task.gradients(self.model, batch, self.forward, self.backward)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss."""
        self.back(loss if self.scaler is None else self.scaler.scale(loss))

    def move(self, gradients: Callable[[], Tensor]) -> None:
        """A step. `gradients` goes forward and back: once before it, or whenever the optimizer asks."""
        if asks(self.opt):
            answered(self.opt, gradients)
        elif self.scaler is None:
            advance(self.opt, gradients())
        else:
            loss = gradients()
            self.scaler.step(self.opt, **_told(self.opt, loss))
            self.scaler.update()


def _wide(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.is_floating_point() else x


def switch(form: str, *things: object) -> None:
    """Into their "train" or "eval" form; an optimizer of another library may have no such form."""
    for thing in things:
        getattr(thing, form, lambda: None)()


def advance(opt: torch.optim.Optimizer, loss: Tensor) -> None:
    """A step with the gradients that are there; ours are told the loss, which some of them need."""
    opt.step(**_told(opt, loss))


def _told(opt: torch.optim.Optimizer, loss: Tensor) -> dict[str, Any]:
    driven = opt
    while isinstance(driven, Strategy):
        driven = driven.optimizer
    return {"loss": loss.detach()} if isinstance(driven, Optimizer) else {}
