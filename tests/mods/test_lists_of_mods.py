"""Several modifiers: their order, each group's own list, and what two of a kind keep."""

import math

import pytest
import torch
from modifiers import SHAPES, backends, differ, each, gradients, near, of, parameters, walk
from torch import nn

import ravine
from ravine.mods import EMA, L1, Cautious, ClipNorm, ClipValue, DecoupledDecay, GradientNoise
from ravine.words import every as over_all
from ravine.words import total


def test_the_order_is_the_lists():
    hyper = {"lr": 0.1, "backend": "reference"}
    for a, b in [
        (lambda: ClipValue(0.3), lambda: ClipNorm(1.0)),
        (lambda: GradientNoise(1.0), lambda: ClipValue(0.3)),
        (Cautious, lambda: DecoupledDecay(0.5)),
        (lambda: L1(1.0), lambda: DecoupledDecay(0.5)),
    ]:
        one = walk(ravine.SGD(parameters(), momentum=0.9, mods=[a(), b()], **hyper))
        two = walk(ravine.SGD(parameters(), momentum=0.9, mods=[b(), a()], **hyper))
        assert differ(one, two)
    p = parameters()
    opt = ravine.SGD(p, mods=[ClipValue(0.3), ClipNorm(1.0)], **hyper)
    start, g = [x.detach().clone() for x in p], [x.clamp(-0.3, 0.3) for x in gradients(0, SHAPES)]
    norm = math.sqrt(sum(x.square().sum().item() for x in g))
    near(walk(opt, 1), [x - 0.1 * y / (norm + 1e-6) for x, y in zip(start, g, strict=True)])
    start, opt = parameters(), ravine.SGD(parameters(), mods=[L1(1.0), DecoupledDecay(0.5)], **hyper)
    moved = [x.detach() - 0.1 * y for x, y in zip(start, gradients(0, SHAPES), strict=True)]
    soft = [torch.sign(x) * (x.abs() - 0.1).clamp(min=0) for x in moved]
    near(walk(opt, 1), [x - 0.05 * p.detach() for x, p in zip(soft, start, strict=True)])


@backends
def test_averages_watch_what_modifiers_before_them_leave(backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[EMA(0.5), L1(1.0), EMA(0.5)], backend=backend)
    before, after = parameters(), parameters()
    for t in range(3):
        start = [p.detach().clone() for p in of(opt)]
        new = walk(opt, 1, first=t)
        for a, b, p, q, g in zip(before, after, start, new, gradients(t, SHAPES), strict=True):
            a.data.lerp_(p - 0.1 * g, 0.5)
            b.data.lerp_(q, 0.5)
    near([opt.state[p]["ema_average"] for p in of(opt)], [x.detach() for x in before])
    near([opt.state[p]["ema1_average"] for p in of(opt)], [x.detach() for x in after])


@backends
@each
@pytest.mark.ci
def test_two_of_the_same_have_states_of_their_own(make, backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[make(), make()], backend=backend)
    walk(opt)
    once = ravine.SGD(parameters(), lr=0.1, mods=[make()], backend=backend)
    walk(once)
    for p, q in zip(of(opt), of(once), strict=True):
        assert len(opt.state[p]) - 1 == 2 * (len(once.state[q]) - 1)


def test_two_modifiers_with_one_name_keep_two_states():
    class Other(EMA):
        pass

    Other.__name__ = "EMA"
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.SGD([p], lr=0.1, mods=[EMA(0.5), Other(0.9)])
    opt.step()
    assert set(opt.state[p]) == {"ema_average", "ema1_average", "step"}


def test_groups_have_modifiers_of_their_own():
    p = parameters()
    opt = ravine.SGD(
        [{"params": p[:2], "mods": [L1(0.5)]}, {"params": p[2:4], "mods": []}, {"params": p[4:]}],
        lr=0.1,
        mods=[ClipValue(0.2)],
    )
    start = [x.detach().clone() for x in p]
    walk(opt, 1)
    for i, (old, new, g) in enumerate(zip(start, p, gradients(0, SHAPES), strict=True)):
        expected = old - 0.1 * (g.clamp(-0.2, 0.2) if i >= 4 else g)
        if i < 2:
            expected = expected.sign() * (expected.abs() - 0.05).clamp(min=0)
        near([new.detach()], [expected])


def test_the_global_norm_is_of_the_groups_that_clip():
    p = parameters()
    opt = ravine.SGD([{"params": p[:3], "mods": [ClipNorm(0.1)]}, {"params": p[3:], "mods": []}], lr=1.0)
    start, g = [x.detach().clone() for x in p], gradients(0, SHAPES)
    walk(opt, 1)
    scale = 0.1 / (math.sqrt(sum(x.square().sum().item() for x in g[:3])) + 1e-6)
    near(
        [x.detach() for x in p],
        [q - (scale if i < 3 else 1) * x for i, (q, x) in enumerate(zip(start, g, strict=True))],
    )


class Normed(ravine.Optimizer):
    """Divides by the norm of all gradients: a rule with a sum over all tensors of its own."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        return p - self.lr * g / over_all(total(g**2))


@backends
def test_sums_over_all_tensors_of_groups_with_other_modifiers_do_not_mix(backend):
    p = parameters()
    opt = Normed([{"params": p[:3], "mods": [ClipNorm(0.1)]}, {"params": p[3:]}], lr=1.0, backend=backend)
    start, g = [x.detach().clone() for x in p], gradients(0, SHAPES)
    walk(opt, 1)
    scale = 0.1 / (math.sqrt(sum(x.square().sum().item() for x in g[:3])) + 1e-6)
    g = [scale * x if i < 3 else x for i, x in enumerate(g)]
    norm = sum(x.square().sum().item() for x in g)
    near([x.detach() for x in p], [q - x / norm for q, x in zip(start, g, strict=True)])
