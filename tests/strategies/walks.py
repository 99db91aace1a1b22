"""What the tests of strategies walk over: parameters, slopes that depend on the place and the step, and copies."""

import io

import torch
from torch import nn

SHAPES = [(6, 4), (5,), ()]


def start(dtype=torch.float64, shapes=SHAPES):
    made = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(s, generator=made, dtype=torch.float64).to(dtype)) for s in shapes]


def slope(p, t):
    """The gradient of a bowl and of a wave that moves."""
    return torch.cos(3 * p.detach() + 0.7 * t) + 0.5 * p.detach()


def give(params, t):
    for p in params:
        p.grad = slope(p, t)


def walk(opt, params, steps, first=0):
    for t in range(first, first + steps):
        give(params, t)
        opt.step()
    return params


def closure_at(opt, params, t):
    """As users write it: the loss and its gradients, added to what is there."""

    def closure():
        loss = sum((torch.sin(3 * p + 0.7 * t) / 3 + 0.25 * p**2).sum() for p in params)
        loss.backward()
        return loss

    return closure


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def near(ours, theirs, tolerance=1e-12):
    for p, q in zip(ours, theirs, strict=True):
        gap = (p.detach() - q.detach()).abs().max()
        assert gap <= tolerance, f"{float(gap):.2e} apart"


def equal(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q), f"{float((p - q).abs().max()):.2e} apart"


def copy(ours, theirs):
    with torch.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(q)
