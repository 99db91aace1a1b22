"""How hard a sample is: by the loss of a model, and fairly among classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


@torch.no_grad()
def losses(
    model: nn.Module,
    data: Dataset[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    *,
    batch_size: int = 256,
    **loader: Any,
) -> Tensor:
    """The loss of each sample under a model, in the order of the data: the hard ones have a high one.

        >>> import torch, ravine
        >>> from torch.nn.functional import mse_loss
        >>> data = torch.utils.data.TensorDataset(torch.randn(5, 3), torch.randn(5, 1))
        >>> def loss(model, batch):
        ...     return mse_loss(model(batch[0]), batch[1], reduction="none").mean(1)
        >>> ravine.data.difficulty.losses(torch.nn.Linear(3, 1), data, loss).shape
        torch.Size([5])

    The model is a teacher that was trained before: another network, or this one without a curriculum (Hacohen &
    Weinshall's "bootstrapping"). An untrained one knows nothing of difficulty, and one that has fitted every sample
    knows little: take it early, or as the mean over epochs or over models that have not seen the sample.

    loss: of the model and a batch, one number for each sample. Devices are its business.
    loader: what DataLoader takes, such as num_workers and collate_fn. The model is in eval mode meanwhile.

    Hacohen & Weinshall 2019    https://arxiv.org/abs/1904.03626
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        parts = [loss(model, batch).float().cpu() for batch in DataLoader(data, batch_size, shuffle=False, **loader)]
    finally:
        for module, flag in training.items():
            module.training = flag
    n = len(data)  # pyright: ignore[reportArgumentType]
    if any(part.dim() != 1 for part in parts) or sum(map(len, parts)) != n:
        shapes = sorted({tuple(part.shape) for part in parts})
        raise ValueError(f'one loss for each of the {n} samples, please (reduction="none"); batches gave {shapes}')
    return torch.cat(parts)


def balanced(difficulty: Tensor, labels: Tensor) -> Tensor:
    """The place of each sample among those of its class, in (0, 1): what is open has the classes in proportion.

        >>> import torch
        >>> balanced(torch.tensor([5.0, 1.0, 2.0, 9.0]), torch.tensor([0, 0, 1, 1]))
        tensor([0.7500, 0.2500, 0.2500, 0.7500])

    Both papers that `Curriculum` follows do so; without it a curriculum may begin with one class alone.
    """
    out = torch.empty(len(difficulty), dtype=torch.float32, device=difficulty.device)
    for label in labels.unique():
        mine = (labels == label).nonzero().squeeze(1)
        places = torch.arange(len(mine), device=out.device) + 0.5
        out[mine[difficulty[mine].argsort(stable=True)]] = places / len(mine)
    return out
