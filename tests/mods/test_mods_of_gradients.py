"""What clipping, centralizing, noise and averaging make of a gradient, against torch and by hand."""

import math

import pytest
import torch
from modifiers import SHAPES, backends, equal, gradients, near, of, parameters, seen, walk
from torch import nn

import ravine
from ravine.mods import AGC, Centralize, ClipNorm, ClipTensorNorm, ClipValue, GradientAveraging, GradientNoise


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("backend", ["reference", "llvm"])
@pytest.mark.parametrize(
    ("mod", "clip"),
    [
        (ClipNorm(1.0), lambda params: torch.nn.utils.clip_grad_norm_(params, 1.0)),
        (ClipTensorNorm(1.0), lambda params: [torch.nn.utils.clip_grad_norm_(p, 1.0) for p in params]),
        (ClipValue(0.5), lambda params: torch.nn.utils.clip_grad_value_(params, 0.5)),
    ],
    ids=["norm", "tensor_norm", "value"],
)
def test_what_is_not_finite_is_clipped_as_in_torch(mod, clip, bad, backend):
    shapes = [(3, 4), (5,)]
    a, b = parameters(shapes=shapes), parameters(shapes=shapes)
    for params in (a, b):
        for p, g in zip(params, gradients(0, shapes), strict=True):
            p.grad = g
        params[0].grad[1, 1] = bad
    ravine.SGD(a, lr=1.0, mods=[mod], backend=backend).step()
    clip(b)
    expected = [p.detach() - p.grad for p in b]
    for x, y in zip(a, expected, strict=True):
        assert torch.equal(x.isnan(), y.isnan())
        near([x.detach().nan_to_num()], [y.nan_to_num()], 1e-12)


def test_a_short_gradient_is_not_clipped():
    for mod in (ClipNorm(1e6), ClipTensorNorm(1e6), ClipValue(1e6), AGC(1e6)):
        equal(walk(ravine.SGD(parameters(), lr=0.1, mods=[mod])), walk(ravine.SGD(parameters(), lr=0.1)))


def test_adaptive_clipping_leaves_no_unit_above_its_share():
    start = parameters()
    for p, g, raw in zip(start, seen(AGC(0.05, eps=1e-2), 1)[0], gradients(0, SHAPES), strict=True):
        units = (lambda x: x.reshape(1, -1)) if p.dim() < 2 else (lambda x: x.reshape(x.shape[0], x.shape[1:].numel()))
        most = 0.05 * units(p.detach()).norm(dim=1).clamp(min=1e-2)
        found, long = units(g).norm(dim=1), units(raw).norm(dim=1) > most
        near([found[long]], [most[long]])
        near([units(g)[~long]], [units(raw)[~long]])


def test_adaptive_clipping_lets_zero_weights_move():
    p = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    p.grad = torch.ones_like(p)
    ravine.SGD([p], lr=1.0, mods=[AGC()]).step()
    near([p.detach().norm(dim=1)], [torch.full((3,), 0.01 * 1e-3, dtype=torch.float64)], 1e-15)


def test_centralized_rows_keep_their_sums_and_vectors_are_left_alone():
    for p, g, raw in zip(parameters(), seen(Centralize(), 1)[0], gradients(0, SHAPES), strict=True):
        expected = raw - raw.mean(dim=tuple(range(1, raw.dim())), keepdim=True) if p.dim() > 1 else raw
        near([g], [expected])


@backends
def test_the_noise_has_the_papers_variance(backend):
    """η at the first step and η / (1 + k)^γ after k: of 200,000 numbers, to five standard errors."""
    p = nn.Parameter(torch.zeros(200_000, dtype=torch.float64))
    opt = ravine.SGD([p], lr=1.0, mods=[GradientNoise(0.3, 0.55)], backend=backend)
    for k in range(5):
        p.grad = torch.zeros_like(p)
        before = p.detach().clone()
        opt.step()
        noise = p.detach() - before
        sigma2 = 0.3 / (1 + k) ** 0.55
        assert abs(noise.var().item() / sigma2 - 1) < 5 * math.sqrt(2 / 200_000)
        assert abs(noise.mean().item()) < 5 * math.sqrt(sigma2 / 200_000)


def test_noise_is_of_seed_step_and_place():
    def noise(seed, steps=2):
        opt = ravine.SGD(
            [nn.Parameter(torch.zeros(50)) for _ in range(2)], lr=1.0, mods=[GradientNoise(1.0, seed=seed)]
        )
        for _ in range(steps):
            for p in of(opt):
                p.grad = torch.zeros_like(p)
            opt.step()
        return [p.detach().clone() for p in of(opt)]

    equal(noise(1), noise(1))
    assert not torch.equal(noise(1)[0], noise(2)[0]) and not torch.equal(*noise(1))
    assert not torch.allclose(noise(1)[0], noise(1, 1)[0] * (1 + math.sqrt(2**-0.55)))


@pytest.mark.parametrize("decay", [0.0, 0.8, 0.999999, 1.0])
def test_gradient_averaging_weighs_older_gradients_less(decay):
    for t, found in enumerate(seen(GradientAveraging(decay))):
        weights = [decay ** (t - k) for k in range(t + 1)]
        many = [gradients(k, SHAPES) for k in range(t + 1)]
        expected = [
            sum(w * g[i] for w, g in zip(weights, many, strict=True)) / sum(weights) for i in range(len(SHAPES))
        ]
        near(found, expected, 1e-9)
