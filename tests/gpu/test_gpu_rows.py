"""Rows, columns and noise by Triton's kernels are those of the reference."""

import inspect
import sys
from pathlib import Path

import pytest
import torch
from pairs import close
from torch import nn

from ravine.compile.expr import BATCH, node
from ravine.optimizer import Optimizer
from ravine.words import (
    abs,
    cbrt,
    col_max,
    col_total,
    matrix_total,
    maximum,
    normal,
    per_col,
    per_row,
    row_max,
    row_total,
    scalar,
    sqrt,
    total,
    zeros,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "compile"))

import test_words as words

RULES = [x for x in vars(words).values() if isinstance(x, type) and issubclass(x, Optimizer) and x is not Optimizer]
SHAPES = [(7, 5), (6,), (), (0,), (0, 3), (3, 0), (1, 300), (260, 3), (2, 3, 4, 5), (19, 70), (5, 1), (1, 9)]


class Rich(Optimizer):
    """What a rule may say of rows, columns and matrices: the old of one state is the new of another."""

    lr: float = 0.1
    seed: float = 3.0
    view = "last"

    def init(self, s, p):
        s.m, s.before, s.n = zeros(p), per_row(0.5), scalar(1.0)
        s.R, s.C, s.M = per_row(0.5), per_col(0.25), node("fill", 2.0, arg=False, shape=BATCH)

    def update(self, s, p, g, t):
        noisy = g + 0.1 * normal(p, self.seed, t)
        R, C, M, n = s.R, s.C, s.M, s.n
        s.before = R
        s.R = cbrt(row_max(noisy * C)) + M
        s.C = 0.5 * C + n * col_total(abs(noisy)) / (1 + total(R))
        s.M = 0.5 * matrix_total(col_max(noisy**2)) + n
        s.n = cbrt(sqrt(total(noisy**2)) + total(s.before))
        s.m = 0.9 * s.m + noisy / (1 + maximum(R, C) + abs(row_total(noisy)))
        return p - self.lr * s.m * s.n


def walk(rule, backend, device, dtype=torch.float32, shapes=SHAPES, steps=2, spoil=False):
    """Parameters and their states after some steps."""
    params = [nn.Parameter(p.detach().to(device)) for p in words.parameters(dtype, shapes)]
    opt = rule(params, backend=backend)
    made = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p in params:
            g = torch.randn(p.shape, generator=made, dtype=torch.float64)
            if spoil and g.dim() == 2 and g.numel():
                g[g.shape[0] // 2, g.shape[1] // 2] = torch.nan
                g[0, 0] = torch.inf
            p.grad = g.to(device, dtype)
        opt.step(**({"loss": 3.0} if "loss" in inspect.signature(rule.update).parameters else {}))
    return params, opt


def agree(ours, law, coarse=False):
    """Equal parameters and states; `coarse`: to float32, in which noise and most sums are made."""
    for p, q in zip(ours[0], law[0], strict=True):
        assert ours[1].state[p].keys() == law[1].state[q].keys()
        pairs = {k: (ours[1].state[p][k], x) for k, x in law[1].state[q].items()}
        for k, (a, b) in {"parameter": (p, q), **pairs}.items():
            a, b = torch.as_tensor(a), torch.as_tensor(b)
            a, b = (a.float(), b.float()) if coarse and b.dtype == torch.float64 else (a, b)
            close(f"{k} of {tuple(q.shape)}", a, b)


SLOWLY = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in (torch.float64, torch.bfloat16)]


@pytest.mark.parametrize("dtype", [torch.float32, *SLOWLY], ids=str)
@pytest.mark.parametrize("rule", [*RULES, Rich], ids=lambda rule: rule.__name__)
def test_every_word(device, rule, dtype):
    ours = walk(rule, "triton", device, dtype)
    agree(ours, walk(rule, "reference", "cpu", dtype), coarse=dtype != torch.float64 or rule in (words.Noise, Rich))


@pytest.mark.parametrize("rule", [words.Factored, words.Maxima], ids=lambda rule: rule.__name__)
def test_nan_and_infinity_reach_what_they_meet(device, rule):
    shapes = [(7, 5), (1, 9), (5, 1), (19, 70)]
    agree(
        walk(rule, "triton", device, shapes=shapes, spoil=True),
        walk(rule, "reference", "cpu", shapes=shapes, spoil=True),
    )


def test_results_depend_neither_on_the_run_nor_on_who_shares_the_work(device, monkeypatch):
    found = []
    for share in (1, 1, 1 << 20):
        monkeypatch.setattr("ravine.compile.launch.triton.SHARE", share)
        params, opt = walk(Rich, "triton", device, shapes=[(40, 70), (300, 3), (3, 4, 5)])
        found.append([*params, *(x for p in params for x in opt.state[p].values() if torch.is_tensor(x))])
    for again in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], again, strict=True))


def test_more_terms_than_are_added_at_once(device):
    shapes = [(1100, 2), (2, 1100), (600, 17), (1, 2100)]
    agree(
        *(walk(words.Factored, *where, shapes=shapes, steps=1) for where in [("triton", device), ("reference", "cpu")])
    )


def test_cube_roots(device):
    for dtype, tolerance in ((torch.float32, 2.5e-7), (torch.float64, 4e-15)):
        x = torch.cat([torch.logspace(-30, 30, 500, dtype=torch.float64), torch.tensor([0.0, 1.0, 8.0, 27.0, 1e-44])])
        x = torch.cat([x, -x]).to(dtype)
        x = torch.cat([x, torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=dtype)])
        p = nn.Parameter(torch.zeros_like(x, device=device))
        p.grad = x.to(device)
        words.Root([p], backend="triton").step()
        found, expected = p.detach().cpu().double(), x.double().abs() ** (1 / 3) * x.double().sign()
        gap = (found[:-3] - expected[:-3]).abs() / expected[:-3].abs().clamp(min=1e-300)
        assert gap.max() < tolerance
        assert found[-3:-1].tolist() == [torch.inf, -torch.inf] and found[-1].isnan()


def test_memory_beyond_the_ends_is_left_alone(device):
    shapes = [(7, 5), (1, 9), (5, 1), (19, 70)]
    params, fences = [], []
    for p in words.parameters(torch.float32, shapes):
        memory = torch.full((p.numel() + 1200,), 777.0, device=device)
        memory[600:-600] = p.detach().to(device).flatten()
        fences.append(memory)
        params.append(nn.Parameter(memory[600:-600].view(p.shape)))
    opt = Rich(params, backend="triton")
    for t in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        opt.step()
        for p in params if t == 0 else ():
            for k in ("R", "C", "m"):
                x = opt.state[p][k]
                memory = torch.full((x.numel() + 1200,), 777.0, device=device)
                memory[600:-600] = x.flatten()
                opt.state[p][k] = memory[600:-600].view(x.shape)
                fences.append(memory)
    for memory in fences:
        assert (memory[:600] == 777).all() and (memory[-600:] == 777).all()
