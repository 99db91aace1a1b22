"""Rules of a few lines, compiled, and their steps over gradients that are the same each time."""

import pytest
import torch
from torch import nn

from ravine import Optimizer

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])
SHAPES = [(), (5,), (3, 4), (4, 3), (2, 3, 2, 2)]


def rule(update, init=lambda self, s, p: None, **members):
    """An optimizer class with this update."""
    return type("Toy", (Optimizer,), {"init": init, "update": update, **members})


def compiled(cls):
    opt = cls([nn.Parameter(torch.ones(2, 2))])
    return opt.compiled(opt.param_groups[0])


def run(cls, gradients, shape=(3, 4), backend=None, **hyper):
    """The parameter after these gradients, from ones; and the optimizer."""
    p = nn.Parameter(torch.ones(shape, dtype=torch.float64))
    opt = cls([p], backend=backend, **hyper)
    for g in gradients:
        p.grad = g.to(p.dtype).expand(shape).clone()
        opt.step()
    return p.detach(), opt


def waves(shape, count=4, seed=1):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(count)]
