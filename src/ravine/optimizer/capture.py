"""Steps without the host (`capturable`), which a CUDA graph can record: sums over all tensors are added up there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile.launch.base import recording

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.optimizer.bind import Batch
    from ravine.optimizer.exchange import Round


class Device:
    """The exchange between launches on one GPU; nothing waits for the host."""

    def __init__(self, opt: Optimizer, batches: Sequence[Batch]):
        name, devices = type(opt).__name__, {b.p.device for batch in batches for b in batch.bound}
        if len(devices) > 1 or not all(batch.recorded for batch in batches):
            raise RuntimeError(
                f"{name}: capturable=True needs all parameters on one GPU, and they are on "
                f"{', '.join(sorted(map(str, devices)))}; leave it out"
            )
        if opt.defaults["nonfinite"] == "raise":
            raise ValueError(
                f'{name}: with capturable=True nobody can raise; use nonfinite="skip" and read opt.skipped'
            )
        (device,) = devices
        if not isinstance(opt._skipped, Tensor):
            opt._skipped = torch.tensor(opt._skipped, dtype=torch.float64, device=device)
        self.batches: Sequence[Any] = batches
        self.skipped = opt._skipped
        self.graphs: list[Any] = vars(opt).setdefault("_graphs", [])  # they hold these tables by address
        marks = dict.fromkeys(mark for batch in batches for mark in batch.compiled.plan.everys)
        self.totals = torch.zeros(len(marks), dtype=torch.float64, device=device)
        for batch in self.batches:
            batch.launch.share(dict(zip(marks, self.totals, strict=True)))

    def begin(self, found: Tensor | None) -> Device:
        """A step begins. found: what torch's GradScaler has found."""
        self.totals.zero_()
        for batch in self.batches:
            batch.found_inf = found
        return self

    def __call__(self, now: Round) -> None:
        for batch, reduce in now.arrived:
            batch.parts(reduce)  # added to the totals there

    def end(self) -> None:
        """The step is over: count it where a gradient was not finite."""
        self.skipped.add_(1).sub_(self.batches[0].launch.made_step)
        if recording(self.skipped.device):
            self.graphs.append(self)
