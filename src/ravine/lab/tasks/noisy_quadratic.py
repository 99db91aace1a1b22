"""The noisy quadratic model: any batch size at the same cost, and an expected loss that is known exactly.

    L(θ) = ½ Σ hᵢ θᵢ²        gradient of a batch of B: hᵢ θᵢ + nᵢ        n ~ N(0, C / B)        hᵢ = 1 / i, C = diag(h)

Plain gradient descent, momentum and preconditioning differ here as they do on networks: where batches are small noise
decides and momentum gives nothing; where they are large curvature decides, and it gives much.

Zhang et al. 2019, "Which Algorithmic Choices Matter at Which Batch Sizes?", section 3
https://arxiv.org/abs/1907.04164
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .task import Data, Task

DIMENSIONS = 1000
ROWS = 4096  # of a training set that is nothing but a count: so many examples are an epoch


class Quadratic(nn.Module):
    """The expected loss, for each row; in training its gradient is that of a mean over as many rows.

    The mean of B draws from N(0, C) is one draw from N(0, C / B), taken from torch's own generator. It is in the
    gradient alone: the value is the expected loss in training too.
    """

    h: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("h", 1 / torch.arange(1, DIMENSIONS + 1))
        self.theta = nn.Parameter(torch.randn(DIMENSIONS))

    def forward(self, rows: Tensor) -> Tensor:
        loss = (self.h * self.theta**2).sum() / 2
        if self.training:
            along = (torch.randn_like(self.theta) * (self.h / len(rows)).sqrt() * self.theta).sum()
            loss = loss + along - along.detach()
        return loss.expand(len(rows))


def rows(n: int) -> tuple[Tensor, Tensor]:
    """So many, of which nothing is looked at."""
    return torch.arange(n), torch.zeros(n)


def mean(output: Tensor, target: Tensor) -> Tensor:
    """What each row says, which is the same."""
    return output.mean()


def tiny() -> Task:
    """The same of few steps."""
    return replace(task, data=lambda: Data(*rows(1024), *rows(1), *rows(1)), epochs=4, tiny=None)


task = Task(
    name="noisy-quadratic",
    data=lambda: Data(*rows(ROWS), *rows(1), *rows(1)),
    model=Quadratic,
    loss=mean,
    metric=None,
    batch=16,
    epochs=8,
    about="The noisy quadratic model: ½ Σ hᵢ θᵢ² in 1,000 dimensions with hᵢ = 1/i, θ ~ N(0, 1) at first, gradients "
    "with noise of covariance diag(h) / batch. Rows are a count and no data; validation and test give the expected "
    "loss, exactly.",
    tiny=tiny,
)
