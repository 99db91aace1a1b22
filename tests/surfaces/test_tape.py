"""A tape computes again what it saw, from what is now in memory, or says that it cannot."""

import numpy as np
import pytest
import torch

from ravine.surfaces.tape import SMALL, Tape


def taped(f, *memory):
    with Tape() as tape:
        out = f(*memory)
    return tape, out


WHOLE = {
    "arithmetic": lambda x: -((3 - x) ** 2) / 7 + x**3 * 2 - x,
    "other functions": lambda x: x.exp().cos() + x.tanh() * (1 + x * x).log() - x.abs().sqrt(),
    "views, sums and stacks": lambda x: torch.stack([x[1:], x[:-1]], 1).T.sum(0).repeat(2),
    "choices": lambda x: torch.where(x > 0.5, x, torch.ones_like(x)) * (x > 0),
    "other types": lambda x: (x.float() * 0.1).double() + (x.bfloat16() * x.bfloat16()),
    "truths": lambda x: (x > 0) ** 1 * x**2 + ((x > 0) / 1.7 > 0.58) + (x > 0.2).double().where(x < 1, 0.5),
    "constants": lambda x: x * torch.full((), 2.0) + torch.arange(5),
}


@pytest.mark.parametrize("f", WHOLE.values(), ids=WHOLE)
def test_it_computes_the_same_of_new_numbers_bit_for_bit(f):
    chance = torch.Generator().manual_seed(0)
    x = torch.rand(5, dtype=torch.float64, generator=chance)
    tape, out = taped(f, x)
    for _ in range(20):
        x.copy_(torch.randn(5, dtype=torch.float64, generator=chance))
        tape.play()
        assert tape.whole and torch.equal(out, f(x))


def test_chance_is_drawn_anew():
    tape, out = taped(lambda: torch.rand(5))
    first = out.clone()
    tape.play()
    assert tape.whole and not torch.equal(out, first)


class Square(torch.autograd.Function):
    """Computed by numpy."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().numpy() ** 2)

    @staticmethod
    def backward(ctx, *grad_outputs):
        return 2 * ctx.saved_tensors[0] * grad_outputs[0]


def overwritten(x):
    a = torch.eye(5, dtype=x.dtype)
    b = a @ x
    a[0] = x
    return b + a @ x


BROKEN = {
    "a decision": lambda x: x if x[0] > 0 else -x,
    "a number read": lambda x: x * x.sum().item(),
    "numbers read": lambda x: x * max(x.tolist()),
    "numpy": lambda x: x * torch.from_numpy(np.sort(x)),
    "a function of numpy's": lambda x: Square.apply(x.clone().requires_grad_()),
    "changes in place": lambda x: torch.zeros(5).add_(x),
    "memory written twice": overwritten,
    "shapes that numbers decide": lambda x: x[x > 0].sum() * x,
    "several results": lambda x: x.sort().values,
    "large tensors": lambda x: x[0] * torch.ones(SMALL + 1),
}


@pytest.mark.parametrize("f", BROKEN.values(), ids=BROKEN)
def test_what_it_cannot_repeat_is_said(f):
    tape, _ = taped(f, torch.rand(5, dtype=torch.float64))
    assert not tape.whole and not tape.calls
