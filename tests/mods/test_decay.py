"""Decoupled decay is AdamW's, may be independent of the rate, and is nothing at 0."""

import torch
from modifiers import SHAPES, backends, each_rule, equal, gradients, near, parameters, walk

import ravine
from ravine.mods import L1, DecoupledDecay


@backends
def test_decoupled_decay_is_adamws(backend):
    a = ravine.Adam(parameters(), lr=0.01, mods=[DecoupledDecay(0.3)], backend=backend)
    near(walk(a), walk(torch.optim.AdamW(parameters(), lr=0.01, weight_decay=0.3)))
    a.param_groups[0]["lr"] = torch.tensor(0.02)
    walk(a, 1)


def test_independent_decay_does_not_know_the_rate():
    for lr in (0.0, 0.1):
        opt = ravine.SGD(parameters(), lr=lr, mods=[DecoupledDecay(0.3, "independent")])
        expected = [0.7 * p.detach() - lr * g for p, g in zip(parameters(), gradients(0, SHAPES), strict=True)]
        near(walk(opt, 1), expected)


@each_rule
def test_no_decay_is_the_rule_itself(rule, hyper):
    equal(walk(rule(parameters(), mods=[DecoupledDecay(0.0), L1(0.0)], **hyper)), walk(rule(parameters(), **hyper)))
