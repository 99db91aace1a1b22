"""How a model is run on a batch, whatever form the batch has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

Forward = Callable[[Any, Any], Any]  # forward(model, batch)
Loss = Callable[..., Any]


def run(model: nn.Module, batch: Any, loss: Loss | None = None, forward: Forward | None = None) -> Any:
    """What the model makes of a batch, or the loss of it.

        a tensor x          model(x)          loss(model(x))
        (x, y, …)           model(x)          loss(model(x), y, …)
        a mapping           model(**batch)    loss(model(**batch), batch)

    forward: what to do with any other: forward(model, batch) gives the outputs, or the loss itself.
    loss: takes the outputs and, with `forward`, the batch.
    """
    if forward is not None:
        out = forward(model, batch)
        return out if loss is None else loss(out, batch)
    if isinstance(batch, Mapping):
        out = model(**batch)
        return out if loss is None else loss(out, batch)
    x, *targets = batch if isinstance(batch, tuple | list) else (batch,)
    out = model(x)
    return out if loss is None else loss(out, *targets)


def plain(batch: Any) -> Any:
    """The batch with mappings of any kind as dicts, in which tensors can be found."""
    return dict(batch) if isinstance(batch, Mapping) else batch


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on that device."""
    return tree_map(lambda x: x.to(device, non_blocking=True) if isinstance(x, Tensor) else x, plain(batch))
