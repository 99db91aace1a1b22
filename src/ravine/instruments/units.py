"""Which units of ReLU-like modules never fire."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ravine.loop.hook import Hook

RELUS = (nn.ReLU, nn.ReLU6, nn.Threshold)  # their gradient is 0 where they do not fire; others' is only small
CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)  # after these units are in dim 1
FEATURES = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.Bilinear)  # after these in the last
SAMPLES, OUTPUTS = 5, 500  # a unit that fires for 1 % of the inputs stays silent for 500 with a chance of 0.7 %


class Units:
    """The ReLUs of a model and how long each unit has been silent.

    A module that is called in several places counts as one: a unit that fires in one of them is alive.
    """

    def __init__(self, model: nn.Module):
        self.relus: dict[str, tuple[nn.Module, int]] = {}  # and where their units are
        self.silent: dict[str, Tensor] = {}  # for how many outputs, and samples, of each unit: (2, units)
        self.fired: dict[str, tuple[Tensor, int]] = {}  # in this sample
        axis = -1
        for name, module in model.named_modules():
            if isinstance(module, RELUS):
                self.relus[name] = module, axis
            elif isinstance(module, (*CHANNELS, *FEATURES)):
                axis = 1 if isinstance(module, CHANNELS) else -1

    def watch(self) -> list[RemovableHandle]:
        """Look at the outputs until the handles are removed."""
        self.fired = {}
        return [
            module.register_forward_hook(Hook(self.look, name, axis)) for name, (module, axis) in self.relus.items()
        ]

    @torch.no_grad()
    def look(self, name: str, axis: int, module: nn.Module, _: Any, out: Tensor) -> None:
        """Which units fire for any input of the batch."""
        if not module.training or out.dim() < 2 or not out.numel():
            return
        axis %= out.dim()
        most = out.detach().amax([i for i in range(out.dim()) if i != axis])
        fires, many = most > getattr(module, "threshold", 0.0), out.numel() // out.shape[axis]
        before, counted = self.fired.get(name, (None, 0))
        if before is None or before.shape == fires.shape:
            self.fired[name] = fires if before is None else fires | before, counted + many

    @torch.no_grad()
    def dead(self) -> dict[str, tuple[int, int]]:
        """Of each module that was called in this sample: how many units are dead, and how many it has."""
        found: dict[str, tuple[int, int]] = {}
        for name, (fires, many) in self.fired.items():
            old = self.silent.get(name)
            if old is None or old.shape[1] != len(fires):
                old = torch.zeros(2, len(fires), device=fires.device)
            self.silent[name] = new = torch.where(fires, 0.0, old + torch.tensor([[many], [1]], device=fires.device))
            found[name] = int(((new[0] >= OUTPUTS) & (new[1] >= SAMPLES)).sum()), len(fires)
        self.fired = {}
        return found
