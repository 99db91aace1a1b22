"""What a step does to each parameter: norms from the sums of the compiled pass, or slowly; sizes from a sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ravine.instruments.histogram import Sampler
from ravine.instruments.sample import trained
from ravine.optimizer import Optimizer
from ravine.optimizer.metrics import last, norm
from ravine.optimizer.release import is_released


class Reading:
    """Begun before the step of an optimizer, finished after it: give `begin` and `finish` to its hooks.

    An optimizer of ravine with `measured=True` has the norms from its own pass. Of any other the weights are copied
    before the step and subtracted after it.
    """

    def __init__(self, opt: torch.optim.Optimizer):
        self.opt = opt
        self.params = [p for _, p in trained(opt)]
        self.sampler = Sampler([p.shape for p in self.params])
        self.histograms = False
        self.all = tuple(range(len(self.params)))
        self.within = 0  # steps in each other: a subclass whose step() calls super().step() runs all hooks twice
        self.done = False  # False while the step has not been made, as where a GradScaler has passed over it
        self.old: list[Tensor] = []
        self.sizes: Tensor | None = None
        self.norms: dict[str, list[float]] = {}
        self.gradients: Tensor | None = None
        self.updates: Tensor | None = None

    def arm(self, histograms: bool) -> None:
        """The next step is read, with histograms or without."""
        released = is_released(self.opt)  # then weights move in backward, and are not caught
        self.within, self.done, self.histograms = 0, False, histograms and not released
        self.norms, self.gradients, self.updates, self.sizes = {}, None, None, None

    @property
    def compiled(self) -> bool:
        """True if the pass itself sums up what is wanted."""
        return isinstance(self.opt, Optimizer) and all(group["measured"] for group in self.opt.param_groups)

    @torch.no_grad()
    def begin(self, *_: Any) -> None:
        """Before the step."""
        self.within += 1
        if self.within > 1:
            return
        self.old = [] if self.compiled else [p.detach().clone() for p in self.params]
        if self.histograms:
            self.sizes = self.sampler.take(self.params, self.all)

    @torch.no_grad()
    def finish(self, *_: Any) -> None:
        """After it, while the gradients are still there."""
        self.within -= 1
        if self.within or getattr(self.opt, "found_inf", None):  # of GradScaler: nothing has moved
            return
        self.done = True
        grads = [p.grad for p in self.params]
        if not self.compiled:
            self.norms = slow_norms(self.params, self.old, grads)
            self.old = []
        if self.sizes is None:
            return
        self.updates = self.sampler.count(self.sampler.take(self.params, self.all) - self.sizes, self.all)
        self.sizes = None
        flat = [(i, g) for i, g in enumerate(grads) if g is not None and g.layout is torch.strided]
        if which := [i for i, _ in flat]:
            scale = getattr(self.opt, "grad_scale", None)  # of torch's GradScaler: gradients are still multiplied by it
            x = self.sampler.take([g for _, g in flat], which)
            self.gradients = self.sampler.count(x if scale is None else x / float(scale), which)

    def read(self) -> dict[str, list[float]]:
        """grad_norm, update_norm and weight_norm of each parameter; nothing where the step was skipped."""
        if not isinstance(self.opt, Optimizer) or not self.compiled:
            return self.norms if self.done else {}
        released = is_released(self.opt)  # then parameters have moved in backward, and step() may be left out
        made = (self.done or released) and last(self.opt)
        return {k: x.tolist() for k, x in self.opt.metrics(each=True).items()} if made else {}


def slow_norms(params: list[Tensor], old: list[Tensor], grads: list[Tensor | None]) -> dict[str, list[float]]:
    """The same as `Optimizer.metrics(each=True)`, for any optimizer."""
    lengths = [torch.nan if g is None else norm(g.coalesce().values() if g.is_sparse else g).item() for g in grads]
    return {
        "grad_norm": lengths,
        "update_norm": [norm(p.detach() - x).item() for p, x in zip(params, old, strict=True)],
        "weight_norm": [norm(x).item() for x in old],
    }
