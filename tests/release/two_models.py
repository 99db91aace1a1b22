"""Two equal models: an ordinary optimizer of one, a released one of the other."""

import itertools

import torch

import ravine

WIDTH = 8


def mlp(depth=3, width=WIDTH, seed=0):
    torch.manual_seed(seed)
    layers = [[torch.nn.Linear(width, width), torch.nn.Tanh()] for _ in range(depth)]
    return torch.nn.Sequential(*itertools.chain.from_iterable(layers))


def batch(t, width=WIDTH):
    return torch.randn(5, width, generator=torch.Generator().manual_seed(t))


def loss_of(model, t):
    return model(batch(t)).square().sum()


def same(a, b):
    """Assert that two models hold the same bits."""
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q), (p - q).abs().max()


def two(make=ravine.AdamW, exact=False, **hyper):
    """A model and its ordinary optimizer, the same released, and what release() returned."""
    plain, model = mlp(), mlp()
    a, b = make(plain.parameters(), **hyper), make(model.parameters(), **hyper)
    return plain, a, model, b, ravine.release(model, b, exact=exact)
