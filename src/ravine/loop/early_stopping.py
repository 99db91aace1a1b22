"""Early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from ravine.saved import entries, finite, has_memory, told, whole

FIELDS = ("best", "waited", "count", "weights")


class EarlyStopping:
    """Stop when the validation loss no longer falls, and keep the best weights.

        best ← loss, waited ← 0        where loss < best − min_delta
        waited ← waited + 1            else; stop where waited ≥ patience

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> with ravine.loop.EarlyStopping(model, patience=2) as stop:
        ...     for epoch in range(100):
        ...         # train
        ...         if stop([3.0, 2.0, 2.5, 2.1][epoch]):
        ...             break
        >>> epoch, stop.best, stop.count
        (3, 2.0, 4)

    At the end of the `with` the model holds the weights of the best call, buffers included, whether the loop was left
    by `break`, came to its end, or raised. Without a `with`, call `restore()`. A NaN is no improvement.

    With averaged weights (`EMA`, `Averaging`, Schedule-Free, `Lookahead`) give it the optimizer too, and ask while the
    weights that were evaluated are in the model:

        opt.eval();  done = stop(validate(model));  opt.train()

    After `restore()` the best averages are in the model and `opt.eval()` leaves them there; `opt.train()` brings back
    the weights that training had come to.

    patience: so many calls in a row may bring nothing before it stops; 0 stops at the first.
    min_delta: by how much a loss must be better to count, in the loss's own unit.
    mode: "max" for a score that should rise, such as accuracy.
    opt: what has other weights to evaluate; ravine's, a strategy, or any with eval() and train().

    `state_dict()` has the best weights too, and a run that goes on from it stops where it would have. What is restored
    are weights, not the state of an optimizer: to train on from the best epoch, load a checkpoint of it. With several
    processes give each the same loss, or they will stop apart.

    Goodfellow, Bengio & Courville 2016, Algorithm 7.1    https://www.deeplearningbook.org/contents/regularization.html
    Other criteria: Prechelt 1998    https://doi.org/10.1007/3-540-49430-8_3
    """

    def __init__(
        self,
        model: nn.Module,
        patience: int = 5,
        min_delta: float = 0.0,
        *,
        mode: Literal["min", "max"] = "min",
        opt: torch.optim.Optimizer | None = None,
    ):
        if not isinstance(model, nn.Module):
            raise TypeError(f"EarlyStopping: model is {model!r}; give the torch.nn.Module whose weights to keep")
        if patience < 0 or min_delta < 0 or mode not in ("min", "max"):
            raise ValueError(
                "EarlyStopping: patience and min_delta must not be negative and mode is min or max, not "
                f"patience={patience!r}, min_delta={min_delta!r}, mode={mode!r}"
            )
        self.model, self.patience, self.min_delta, self.mode, self.opt = model, patience, min_delta, mode, opt
        self.best = float("inf" if mode == "min" else "-inf")
        self.waited = 0  # calls since the best
        self.count = 0  # calls
        self.weights: dict[str, Any] | None = None  # of the best call

    def __call__(self, loss: float | Tensor) -> bool:
        """Take the loss of the weights in the model, and say whether to stop."""
        if self.opt is not None and any(group.get("mode") == "train" for group in self.opt.param_groups):
            raise RuntimeError("call stop(loss) between opt.eval() and opt.train(): it keeps the weights in the model")
        loss = float(loss.detach() if isinstance(loss, Tensor) else loss)
        better = loss < self.best - self.min_delta if self.mode == "min" else loss > self.best + self.min_delta
        self.count += 1
        self.waited = 0 if better else self.waited + 1
        if better:
            self.best, self.weights = loss, deepcopy(self.model.state_dict())
        return not better and self.waited >= self.patience

    def restore(self) -> None:
        """Put the best weights into the model; it stays as it is where no loss was better than infinity."""
        if self.weights is None:
            return
        if hasattr(self.opt, "eval"):
            self.opt.eval()  # pyright: ignore  # puts the weights to train with aside, where there are two kinds
        self.model.load_state_dict(self.weights)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.restore()

    def state_dict(self) -> dict[str, Any]:
        """The best loss and its weights, and how long it has waited."""
        return {name: getattr(self, name) for name in FIELDS}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where state_dict() was taken; raises ValueError, and changes nothing, where it is another's."""
        given = entries("EarlyStopping", state_dict, FIELDS, only=True)
        best = finite("EarlyStopping: best", given["best"], -math.inf, math.inf)
        waited, count = (whole(f"EarlyStopping: {k}", given[k]) for k in ("waited", "count"))
        if (weights := given["weights"]) is not None:
            for k, x in entries("the model", weights, self.model.state_dict(), only=True).items():
                here = self.model.state_dict()[k]
                if isinstance(here, Tensor) and not (isinstance(x, Tensor) and has_memory(x) and x.shape == here.shape):
                    raise ValueError(
                        f"EarlyStopping: of its weights {k} is {told(x)} in the state_dict and {told(here)} here"
                    )
        self.best, self.waited, self.count, self.weights = best, waited, count, deepcopy(weights)
