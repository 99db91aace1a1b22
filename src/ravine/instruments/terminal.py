"""A sample as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.instruments.sample import Layer, Sample


def table(layers: Sequence[Layer], sample: Sample) -> str:
    """A line for each layer, and for each ReLU how many of its units are dead."""
    head = ("layer", "‖g‖", "‖w‖", "‖Δw‖/‖w‖", "effective lr", "")
    numbers = zip(sample.grad_norm, sample.weight_norm, sample.ratio, sample.effective_lr, strict=True)
    rows = [
        (layer.name, *map("{:.2e}".format, values), why)
        for layer, values, why in zip(layers, numbers, sample.still, strict=True)
    ]
    rows += [(name, "", "", "", "", f"{dead}/{units} dead") for name, (dead, units) in sample.dead.items() if dead]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(x.rjust(n) for x, n in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([f"step {sample.step}", *lines])
