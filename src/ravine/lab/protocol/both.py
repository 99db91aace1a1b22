"""Two optimizers as one, each with its own parameters: torch.optim.Muon takes matrices alone, AdamW has the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Both(torch.optim.Optimizer):
    """Steps several optimizers one after the other; its groups are theirs, so a schedule moves the rates of all."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts
        super().__init__([p for part in parts for group in part.param_groups for p in group["params"]], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step of each, with the gradients that are there."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What each keeps."""
        return {"state": {i: part.state_dict()["state"] for i, part in enumerate(self.parts)}}
