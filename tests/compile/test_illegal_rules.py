"""A rule that cannot be compiled is refused in words that say what to write, and leaves nothing behind."""

import re

import pytest
import torch
from torch import nn
from toys import compiled, rule

from ravine import Optimizer
from ravine.compile.expr import node
from ravine.words import eye, matrix_op, norm, number, rows, scalar, total, where, zeros


def if_on_a_symbol(self, s, p, g, t):
    return p - g if g > 0 else p


def if_on_a_rate(self, s, p, g, t):
    return p - g if self.lr > 0.5 else p


def while_counting(self, s, p, g, t):
    while t < 3:
        t = t + 1
    return p


def unmade(self, s, p, g, t):
    s.m = s.m + g
    return p - s.m


def assigned_unmade(self, s, p, g, t):
    s.m = g
    return p - g


BAD = {
    "if on a symbol": (if_on_a_symbol, None, TypeError, "where"),
    "if on a hyperparameter's size": (if_on_a_rate, None, TypeError, "where"),
    "while on the step count": (while_counting, None, TypeError, "where"),
    "state used and not made": (unmade, None, AttributeError, "'m' is used but not made in init"),
    "state assigned and not made": (assigned_unmade, None, AttributeError, "'m' is assigned but not made in init"),
    "state never updated": (
        lambda self, s, p, g, t: p - s.m,
        lambda self, s, p: setattr(s, "m", zeros(p)),
        ValueError,
        "Toy: state m is made in init() but never updated",
    ),
    "state begins as a plain number": (
        lambda self, s, p, g, t: (setattr(s, "m", s.m + g), p - s.m)[1],
        lambda self, s, p: setattr(s, "m", 0.0),
        TypeError,
        "Toy: state m begins as 0.0, a plain float",
    ),
    "state becomes a plain number": (
        lambda self, s, p, g, t: (setattr(s, "m", 0.0), p - g)[1],
        lambda self, s, p: setattr(s, "m", zeros(p)),
        TypeError,
        "Toy: m is 0.0, a plain float",
    ),
    "a plain number": (lambda self, s, p, g, t: 3, None, TypeError, "Toy: p is 3, a plain int"),
    "nothing": (lambda self, s, p, g, t: None, None, TypeError, "Toy: p is None"),
    "a norm": (lambda self, s, p, g, t: norm(g), None, TypeError, "the new parameter has shape ()"),
    "a number of the host": (lambda self, s, p, g, t: self.lr * t, None, TypeError, "the new parameter has shape None"),
    "a transposed result": (lambda self, s, p, g, t: p.T, None, TypeError, "the new parameter has shape ('c', 'r')"),
    "shapes that do not line up": (lambda self, s, p, g, t: p - g @ g.T, None, TypeError, "do not line up"),
    "a matmul of the wrong sizes": (lambda self, s, p, g, t: p @ g, None, TypeError, "inner sizes c and r"),
    "a power of a tensor": (lambda self, s, p, g, t: p**self.lr, None, TypeError, "can be raised to"),
    "the norm of a number": (lambda self, s, p, g, t: p * total(self.lr + 0 * t), None, TypeError, "whole tensor"),
    "a number() from a tensor": (
        lambda self, s, p, g, t: (setattr(s, "n", norm(g)), p - s.n * g)[1],
        lambda self, s, p: setattr(s, "n", number(0.0)),
        TypeError,
        "n is a number() but depends on a tensor; make it scalar()",
    ),
    "a scalar() from an element": (
        lambda self, s, p, g, t: (setattr(s, "n", g), p - g)[1],
        lambda self, s, p: setattr(s, "n", scalar(0.0)),
        TypeError,
        "state n",
    ),
    "a number() under another name": (
        lambda self, s, p, g, t: (setattr(s, "k", s.k * 2), p - s.k * g)[1],
        lambda self, s, p: setattr(s, "k", number(1.0)),
        ValueError,
        "Toy: state k is a number(), which keeps its name",
        {"names": {"k": "kk"}},
    ),
    "a state called step": (
        lambda self, s, p, g, t: (setattr(s, "step", g), p - g)[1],
        lambda self, s, p: setattr(s, "step", zeros(p)),
        ValueError,
        "Toy: state step would be kept as 'step', which is the count of steps",
    ),
    "a condition that is none": (lambda self, s, p, g, t: where(g + p, p, g), None, TypeError, "comparison"),
    "equality": (lambda self, s, p, g, t: where(g == 0, p, p - g), None, TypeError, "cannot ask for equality"),
    "inequality": (lambda self, s, p, g, t: where(g != p, p, p - g), None, TypeError, "cannot ask for equality"),
    "a matrix that becomes a number": (
        lambda self, s, p, g, t: (setattr(s, "L", 0 * t), p - g)[1],
        lambda self, s, p: setattr(s, "L", eye(rows(p))),
        TypeError,
        "state L begins as a matrix",
    ),
    "matrix work on a number": (
        lambda self, s, p, g, t: p - matrix_op(torch.neg)(norm(g)) * g,
        None,
        TypeError,
        "a matrix_op takes a matrix, not shape ()",
    ),
    "a comparison in arithmetic": (lambda self, s, p, g, t: p - (g > 0) * g, None, TypeError, "where"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_illegal_rule_is_refused_in_words(bad):
    update, init, error, text, *members = bad
    cls = rule(update, init or (lambda self, s, p: None), **dict(*members))
    p = nn.Parameter(torch.ones(2, 2))
    p.grad = torch.ones(2, 2)
    with pytest.raises(error, match=re.escape(text)):
        cls([p]).step()
    assert torch.equal(p, torch.ones(2, 2))


def test_a_rule_without_update_is_named():
    with pytest.raises(NotImplementedError, match="Toy"):
        p = nn.Parameter(torch.ones(2))
        p.grad = torch.ones(2)
        type("Toy", (Optimizer,), {})([p]).step()


def test_a_trace_that_failed_leaves_nothing_behind():
    from ravine.compile.expr import traces

    with pytest.raises(TypeError):
        compiled(rule(if_on_a_symbol))
    assert not traces.stack


def test_an_unknown_operation_is_refused():
    with pytest.raises(TypeError, match="unknown operation 'erf'"):
        compiled(rule(lambda self, s, p, g, t: node("erf", p)))
