"""A task of your own: two spirals, and which optimizer untangles them. Run this file, or from its folder

ravine compare --task my_task:task
"""

import torch
from torch import nn

from ravine.lab import Task


def spirals():
    """x_train, y_train, x_valid, y_valid: 400 noisy points on two arms, every fourth kept for validation."""
    along = torch.rand(400).sqrt() * 9
    arm = torch.arange(400) % 2
    angle = along + torch.pi * arm
    x = torch.stack([angle.cos(), angle.sin()], 1) * along[:, None] / 9 + 0.02 * torch.randn(400, 2)
    valid = torch.arange(400) // 2 % 4 == 0
    return x[~valid], arm[~valid], x[valid], arm[valid]


task = Task(
    name="spirals",
    data=spirals,
    model=lambda: nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)),
    batch=50,
    epochs=60,
    about="Two spirals of 400 noisy points; a 2-64-64-2 tanh network.",
)

if __name__ == "__main__":
    from ravine.cli import main

    raise SystemExit(
        main(["compare", "--task", "my_task:task", "--optimizers", "momentum,adam,radam", "--tier", "smoke"])
    )
