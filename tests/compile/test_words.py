"""The words that reach beyond one element: rows and columns, all tensors, the loss, noise; on every backend."""

import math

import pytest
import torch
from torch import nn

from ravine.blocks import Heads
from ravine.optimizer import Block, Optimizer
from ravine.words import (
    cbrt,
    col_max,
    col_total,
    cols,
    every,
    is_vector,
    matrix_total,
    maximum,
    minimum,
    normal,
    number,
    per_col,
    per_row,
    precision,
    row_max,
    row_total,
    rows,
    scalar,
    shared,
    sqrt,
    total,
    zeros,
)

BACKENDS = pytest.mark.parametrize("backend", ["reference", "llvm"])
SHAPES = [(7, 5), (6,), (), (0,), (0, 3), (1, 9000), (4100, 3), (2, 3, 4, 5), (129, 70)]


def parameters(dtype=torch.float64, shapes=SHAPES):
    made = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=made, dtype=torch.float64).to(dtype)) for s in shapes]


def walk(cls, backend, steps=4, dtype=torch.float64, shapes=SHAPES, losses=None, **hyper):
    params = parameters(dtype, shapes)
    opt = cls(params, backend=backend, **hyper)
    made = torch.Generator().manual_seed(1)
    for t in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=made, dtype=torch.float64).to(dtype)
        opt.step(**({"loss": losses[t]} if losses else {}))
    return params, opt


def view(x, last=False):
    """A tensor as matrices (b, r, c)."""
    if x.dim() < 2:
        return x.reshape(1, -1, 1)
    if last:
        return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    return x.reshape(1, x.shape[0], math.prod(x.shape[1:]))


def replay(step, steps=4, dtype=torch.float64, shapes=SHAPES):
    """The same walk written in torch: step(p, g, state, t) -> p for each."""
    params = [p.detach().clone() for p in parameters(dtype, shapes)]
    states = [{} for _ in params]
    made = torch.Generator().manual_seed(1)
    for t in range(1, steps + 1):
        grads = [torch.randn(p.shape, generator=made, dtype=torch.float64).to(dtype) for p in params]
        params = [step(p, g, s, t) for p, g, s in zip(params, grads, states, strict=True)]
    return params


def close(params, expected, tolerance=1e-11):
    for p, q in zip(params, expected, strict=True):
        assert p.shape == q.shape
        gap = (p.detach().double() - q.double()).abs().max().item() if p.numel() else 0.0
        assert gap <= tolerance, f"{tuple(p.shape)}: {gap:.1e}"


class Factored(Optimizer):
    """Sums over rows, columns, and of those again: the shape of Adafactor."""

    lr: float = 0.1

    def init(self, s, p):
        s.R, s.C, s.n = per_row(0.5), per_col(0.25), scalar(0.0)

    def update(self, s, p, g, t):
        s.R = 0.9 * s.R + 0.1 * row_total(g**2) / cols(p)
        s.C = 0.8 * s.C + 0.2 * col_total(g**2) / rows(p)
        mean = matrix_total(s.R) / rows(p)
        u = g / sqrt(s.R / (mean + 1e-3) * s.C + 1e-2)
        s.n = total(u**2)
        return p - self.lr * u / maximum(1.0, sqrt(s.n))


class FactoredLast(Factored):
    """The same for batches of matrices."""

    view = "last"


@BACKENDS
@pytest.mark.parametrize("cls", [Factored, FactoredLast])
def test_rows_and_columns(cls, backend):
    def step(p, g, s, t):
        P, G = view(p, cls is FactoredLast), view(g, cls is FactoredLast)
        _, r, c = P.shape
        R = s["R"] = 0.9 * s.get("R", 0.5) + 0.1 * G.square().sum(2, keepdim=True) / c
        C = s["C"] = 0.8 * s.get("C", 0.25) + 0.2 * G.square().sum(1, keepdim=True) / r
        u = G / (R / (R.sum(1, keepdim=True) / r + 1e-3) * C + 1e-2).sqrt()
        return (P - 0.1 * u / u.square().sum().sqrt().clamp(min=1.0)).reshape(p.shape)

    params, opt = walk(cls, backend)
    close(params, replay(step))
    assert opt.state[params[0]]["R"].shape == (7, 1) and opt.state[params[0]]["C"].shape == (1, 5)


class Maxima(Optimizer):
    """The largest of rows and columns: the shape of SM3."""

    lr: float = 0.1

    def init(self, s, p):
        s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)

    def update(self, s, p, g, t):
        v = minimum(s.R, s.C) + g**2
        s.R, s.C = row_max(v), col_max(v)
        return p - self.lr * g / (sqrt(v) + 1e-8)


@BACKENDS
def test_maxima(backend):
    def step(p, g, s, t):
        P, G = view(p), view(g)
        v = torch.minimum(s.get("R", torch.zeros(())), s.get("C", torch.zeros(()))) + G**2
        if v.numel():
            s["R"], s["C"] = v.amax(2, keepdim=True), v.amax(1, keepdim=True)
        return (P - 0.1 * G / (v.sqrt() + 1e-8)).reshape(p.shape)

    close(walk(Maxima, backend)[0], replay(step))


class Global(Optimizer):
    """A global norm, and a number that all share and that depends on it, through two rounds."""

    lr: float = 0.1

    def init(self, s, p):
        s.d, s.count = shared(1e-2), number(0.0)

    def update(self, s, p, g, t):
        first = sqrt(every(total(g**2)))
        second = every(total((g / (1 + first) - p) ** 2))
        s.d = maximum(s.d, 0.1 * second)
        s.count = s.count + 1
        return p - self.lr * s.d * g / first


@BACKENDS
def test_sums_over_all_tensors(backend):
    params, _ = walk(Global, backend, steps=1)
    start, made = [p.detach() for p in parameters()], torch.Generator().manual_seed(1)
    grads = [torch.randn(p.shape, generator=made, dtype=torch.float64) for p in start]
    first = math.sqrt(sum((g**2).sum().item() for g in grads))
    second = sum(((g / (1 + first) - p) ** 2).sum().item() for g, p in zip(grads, start, strict=True))
    close(params, [p - 0.1 * 0.1 * second * g / first for g, p in zip(grads, start, strict=True)])


@BACKENDS
def test_a_latecomer_takes_over_what_all_share(backend):
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    opt = Global([{"params": [a]}, {"params": [b], "lr": 0.2}], backend=backend)
    for t in range(4):
        a.grad = torch.full_like(a, 10.0 - t)
        b.grad = torch.ones_like(b) if t == 3 else None
        opt.step()
    assert opt.state[a]["d"] == opt.state[b]["d"] > 0.2
    assert opt.state[b]["count"] == 1 and opt.state[a]["count"] == 4
    c = nn.Parameter(torch.ones(3))
    other = Global([c])
    c.grad = torch.ones_like(c)
    other.step()
    assert other.state[c]["d"] < 0.2


class Polyak(Optimizer):
    """A step as long as the loss says."""

    lr: float = 1.0

    def update(self, s, p, g, t, loss):
        return p - minimum(self.lr, loss / every(total(g**2))) * g


@BACKENDS
def test_the_loss(backend):
    params, _ = walk(Polyak, backend, steps=1, losses=[3.0])
    made = torch.Generator().manual_seed(1)
    grads = [torch.randn(p.shape, generator=made, dtype=torch.float64) for p in params]
    rate = min(1.0, 3.0 / sum((g**2).sum().item() for g in grads))
    close(params, [p.detach() - rate * g for p, g in zip(parameters(), grads, strict=True)])
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    opt = Polyak([p], backend=backend)
    with pytest.raises(TypeError, match="Polyak needs the loss"):
        opt.step()
    assert torch.equal(p, torch.ones(2))
    assert opt.step(lambda: torch.tensor(1.0)) == 1.0
    assert p[0] == 0.5


class Asking(Optimizer):
    """What a rule may ask of a tensor."""

    lr: float = 0.1

    def init(self, s, p):
        if is_vector(p):
            s.m = zeros(p)

    def update(self, s, p, g, t):
        if is_vector(p):
            s.m = g
            return p - precision(p) * s.m
        return p - self.lr * g


@BACKENDS
def test_what_a_tensor_is(backend):
    params, opt = walk(Asking, backend, steps=1, dtype=torch.float32, shapes=[(2, 2), (3,), ()])
    assert "m" not in opt.state[params[0]] and "m" in opt.state[params[1]]
    made, start = torch.Generator().manual_seed(1), parameters(torch.float32, [(2, 2), (3,), ()])
    for p, q, rate in zip(params, start, (0.1, 2**-23, 2**-23), strict=True):
        g = torch.randn(p.shape, generator=made, dtype=torch.float64).float()
        assert torch.allclose(p, q - rate * g, atol=1e-7, rtol=0)


class Root(Optimizer):
    """A cube root."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        return cbrt(g)


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cube_roots(backend, dtype):
    x = torch.cat([torch.logspace(-30, 30, 500, dtype=torch.float64), torch.tensor([0.0, 1.0, 8.0, 27.0, 1e-44])])
    x = torch.cat([x, -x]).to(dtype)
    p = nn.Parameter(torch.zeros_like(x))
    p.grad = x
    Root([p], backend=backend).step()
    expected = x.double().abs() ** (1 / 3) * x.double().sign()
    gap = (p.double() - expected).abs() / expected.abs().clamp(min=1e-300)
    assert gap.max() < (2.5e-7 if dtype == torch.float32 else 4e-15)
    p.grad = torch.full_like(x, math.nan)
    p.grad[0] = math.inf
    Root([p], backend=backend).step()
    assert p[0] == math.inf and p[1:].isnan().all()


class Noise(Optimizer):
    """Nothing but noise."""

    lr: float = 0.1
    seed: float = 7.0

    def update(self, s, p, g, t):
        return normal(p, self.seed, t) + 0.0 * g


@BACKENDS
def test_noise_is_normal_and_a_function_of_its_place(backend):
    params, _ = walk(Noise, backend, steps=1, shapes=[(300, 300), (300, 300)], dtype=torch.float32)
    a, b = (p.detach() for p in params)
    assert a.isfinite().all() and not torch.equal(a, b)
    for x in (a, b):
        assert abs(x.mean()) < 0.015 and abs(x.var() - 1) < 0.025
        assert abs((x**3).mean()) < 0.05 and abs((x**4).mean() - 3) < 0.15
        assert abs((x[:, 1:] * x[:, :-1]).mean()) < 0.015
    again, _ = walk(Noise, backend, steps=1, shapes=[(300, 300), (300, 300)], dtype=torch.float32)
    assert torch.equal(again[0], a)
    law, _ = walk(Noise, "reference", steps=1, shapes=[(300, 300), (300, 300)], dtype=torch.float32)
    close([a, b], law, 2e-5)
    later, _ = walk(Noise, backend, steps=2, shapes=[(300, 300), (300, 300)], dtype=torch.float32)
    other, _ = walk(Noise, backend, steps=1, shapes=[(300, 300)], dtype=torch.float32, seed=8.0)
    assert abs((later[0] * a).mean()) < 0.015 and abs((other[0] * a).mean()) < 0.015


class Wide(Optimizer):
    """p ← p − lr where p has more columns than rows or more than five rows, p + lr elsewhere."""

    blocks: Block | None = None

    def update(self, s, p, g, t):
        if cols(p) > rows(p) or rows(p) >= 6:
            return p - self.lr + 0 * g
        return p + self.lr + 0 * g


def test_an_if_about_sizes_makes_a_program_for_each_answer():
    params = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (3, 2), (6, 2), (5, 1, 2), (4,), (8, 3))]
    opt = Wide([{"params": params[:-1]}, {"params": params[-1:], "blocks": Heads(4)}], lr=1.0)
    for p in params:
        p.grad = torch.zeros_like(p)
    opt.step()
    assert [p.flatten()[0].item() for p in params] == [-1, 1, -1, 1, 1, -1]


def test_the_seed_of_a_rule_is_a_number_of_run_time():
    class Noise(Optimizer):
        """p ← p + N(0, 1)"""

        def update(self, s, p, g, t):
            return p + normal(p, self.seed, t) + 0 * g

    found = []
    for seed in (1, 2, 1):
        p = nn.Parameter(torch.zeros(3))
        p.grad = torch.zeros(3)
        opt = Noise([p], seed=seed)
        opt.step()
        found.append(p.detach())
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
