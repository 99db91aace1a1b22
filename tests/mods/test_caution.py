"""Cautious and Grams: no weight moves against its gradient, and how long the steps are."""

import pytest
import torch
from modifiers import SHAPES, backends, each_rule, gradients, near, of, parameters, walk
from torch import nn

import ravine
from ravine.mods import Cautious, DecoupledDecay, Grams


@each_rule
@backends
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [Cautious, Grams])
def test_no_weight_moves_against_its_gradient(make, rule, hyper, backend, dtype):
    opt = rule(parameters(dtype), mods=[make()], backend=backend, **hyper)
    plain = rule(parameters(dtype), backend=backend, **hyper)
    wrong = 0
    for t in range(12):
        for which in (opt, plain):
            before = [p.detach().double().clone() for p in of(which)]
            after = walk(which, 1, first=t)
            for x, y, p in zip(before, after, of(which), strict=True):
                against = ((x - y.double()) * p.grad.double() < 0).sum().item()
                wrong += against if which is plain else 0
                assert which is plain or not against
    assert wrong  # a rule that is left alone does


@backends
@pytest.mark.parametrize("plus_one", [False, True])
def test_cautious_steps_are_masked_and_rescaled(backend, plus_one):
    """u φ n / Σφ for the step u that the rule alone would make; the first and the widest case by hand."""
    a = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[Cautious(plus_one=plus_one)], backend=backend)
    m = [torch.zeros_like(p) for p in of(a)]
    for t in range(6):
        before = [p.detach().clone() for p in of(a)]
        after = walk(a, 1, first=t)
        for x, y, b, g in zip(before, after, m, gradients(t, SHAPES), strict=True):
            b.mul_(0.9).add_(g)
            phi = (b * g > 0).double()
            share = (phi.sum() + 1) / max(1, phi.numel()) if plus_one else phi.mean().clamp(min=1e-3)
            near([x - y], [0.1 * b * phi / share], 1e-11)


def test_caution_has_a_floor_and_counts_small_products():
    p = nn.Parameter(torch.zeros(10_000, dtype=torch.float32))
    opt = ravine.SGD([p], lr=1.0, momentum=0.9, mods=[Cautious()])
    p.grad = torch.ones_like(p)
    opt.step()
    p.grad = torch.full_like(p, -1e-3)
    p.grad[0] = 1e-3  # one of 10,000 agrees: enlarged a thousandfold and no more
    before = p.detach().clone()
    opt.step()
    moved = before - p.detach()
    assert (moved[1:] == 0).all()
    assert moved[0].item() == pytest.approx((0.9 + 1e-3) / 1e-3, rel=1e-5)
    q = nn.Parameter(torch.zeros(3))
    q.grad = torch.tensor([1e-30, -1e-30, 1e-30])  # u g is below float32's smallest number
    ravine.SGD([q], lr=1.0, mods=[Cautious()]).step()
    near([q.detach() * 1e30], [torch.tensor([-1.0, 1.0, -1.0])], 1e-6)


@backends
def test_grams_has_the_rules_length_and_the_gradients_sign(backend):
    a = ravine.Adam(parameters(), lr=0.01, mods=[Grams()], backend=backend)
    m, v = ([torch.zeros_like(p) for p in of(a)] for _ in range(2))
    for t in range(1, 7):
        before = [p.detach().clone() for p in of(a)]
        after = walk(a, 1, first=t)
        for x, y, b, c, g in zip(before, after, m, v, gradients(t, SHAPES), strict=True):
            b.mul_(0.9).add_(g, alpha=0.1)
            c.mul_(0.999).add_(g**2, alpha=0.001)
            length = 0.01 * (b / (1 - 0.9**t)).abs() / ((c / (1 - 0.999**t)).sqrt() + 1e-8)
            near([x - y], [g.sign() * length])


def test_weight_decay_inside_the_rule_is_masked_and_beside_it_is_not():
    p = [nn.Parameter(torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)) for _ in range(2)]
    inside = ravine.AdamW(p[:1], lr=0.1, weight_decay=5.0, mods=[Cautious()])
    beside = ravine.Adam(p[1:], lr=0.1, mods=[Cautious(), DecoupledDecay(5.0)])
    for x in p:
        x.grad = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    inside.step()
    beside.step()
    near([p[0].detach()], [torch.tensor([1 - 0.6 * 2, -1, 1 - 0.6 * 2, -1], dtype=torch.float64)], 1e-7)
    near([p[1].detach()], [torch.tensor([0.4, -0.6, 0.4, -0.6], dtype=torch.float64)], 1e-7)
