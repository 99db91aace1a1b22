"""A sample to TensorBoard, or to whatever has its two methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from ravine.instruments.histogram import BINS, LOW
from ravine.instruments.sample import Layer, Sample


class Writer(Protocol):
    """What is needed of a torch.utils.tensorboard.SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> Any: ...
    def add_histogram_raw(
        self,
        tag: str,
        min: Any,
        max: Any,
        num: Any,
        sum: Any,
        sum_squares: Any,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
    ) -> Any: ...


def write(writer: Writer, layers: Sequence[Layer], sample: Sample, loss: float | None) -> None:
    """All of a sample. Histograms are over log₂ of the sizes."""
    if loss is not None:
        writer.add_scalar("loss", loss, sample.step)
    for kind in ("grad_norm", "update_norm", "weight_norm", "ratio", "effective_lr", "lr"):
        for layer, x in zip(layers, getattr(sample, kind), strict=True):
            writer.add_scalar(f"{kind}/{layer.name}", x, sample.step)
    for name, (dead, units) in sample.dead.items():
        writer.add_scalar(f"dead/{name}", dead / units, sample.step)
    for kind, counts in (("gradients", sample.gradients), ("updates", sample.updates)):
        for layer, row in zip(layers, counts if counts is not None else (), strict=False):
            if row.sum():
                histogram(writer, f"log2 {kind}/{layer.name}", row, sample.step)


def histogram(writer: Writer, tag: str, row: Tensor, step: int) -> None:
    """The counts of one layer: powers of two are TensorBoard's x, so that they lie evenly."""
    counts = row.tolist()
    limits = [LOW + i + 1.0 for i in range(BINS)]
    there = [i for i, n in enumerate(counts) if n]
    middles = [limit - 0.5 for limit in limits]
    total = sum(n * x for n, x in zip(counts, middles, strict=True))
    squares = sum(n * x * x for n, x in zip(counts, middles, strict=True))
    low, high = limits[there[0]] - 1, limits[there[-1]]
    writer.add_histogram_raw(tag, low, high, sum(counts), total, squares, limits, counts, step)
