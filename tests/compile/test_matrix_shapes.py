"""The shapes of what a matrix operation takes and returns: sizes with names, and one error where they differ."""

import re

import pytest
import torch
from matrix_rules import LowRank, inverse_root, leading, power_step, rowwise, steps
from torch import nn
from toys import BACKENDS, waves

from ravine import Optimizer
from ravine.words import eye, matrix_op, norm, turn, where, zeros


@matrix_op("r c -> c 2")
def two(x):
    return x.mT[..., :2]


@BACKENDS
def test_sizes_that_are_whole_numbers(backend):
    class Wide(Optimizer):
        def init(self, s, p):
            s.x = zeros("c 2")

        def update(self, s, p, g, t):
            s.x = s.x + two(g)
            return p - self.lr * g @ s.x @ s.x.T

    _, opt = steps(Wide, (3, 4), backend)
    (state,) = opt.state.values()
    torch.testing.assert_close(state["x"], sum(g.T[:, :2] for g in waves((3, 4))))


def test_a_rank_larger_than_the_matrix_is_cut():
    _, opt = steps(LowRank, (3, 4), rank=8)
    (state,) = opt.state.values()
    assert state["U"].shape == (3, 3)


def of(word, *args, **options):
    """A rule whose update is one call."""
    return lambda self, s, p, g, t: p - word(*(x(p, g) if callable(x) else x for x in args), **options)


@matrix_op("r c -> r r")
def misshapen(x):
    return x


@matrix_op
def misshapen_too(x):
    return x.mT


@matrix_op("n n -> n, n n")
def one_of_two(x):
    return x


BAD = {
    "a matrix that is not square": (of(inverse_root, lambda p, g: g, 1e-3), "n would be r and c"),
    "sizes that differ": (of(power_step, lambda p, g: g @ g.T, lambda p, g: g.T @ g), "n would be r and c"),
    "too few matrices": (of(power_step, lambda p, g: g @ g.T), "takes 2 matrices, as 'n n, n n -> n n' says"),
    "a number for a matrix": (of(inverse_root, lambda p, g: norm(g), 1e-3), "takes 1 matrices"),
    "rows for a matrix": (of(rowwise, lambda p, g: g, lambda p, g: g), "shape ('r', 'c') is given where"),
    "a size that nobody knows": (of(leading, lambda p, g: g, 2), "k in 'r c -> r k' is no size of what it takes"),
    "a matrix as an option": (lambda self, s, p, g, t: p - misshapen(g, x=g), "arrays come first, by place"),
    "a comparison as an option": (lambda self, s, p, g, t: p - misshapen(g, t > 3), "a comparison is no number"),
    "a tensor as an option": (of(misshapen, lambda p, g: g, torch.ones(2)), "an argument is a tensor of shape (2,)"),
    "a wrong result": (lambda self, s, p, g, t: p - misshapen(g) @ g, "misshapen returned shape (3, 4), and by its"),
    "a wrong result without shapes": (lambda self, s, p, g, t: p - misshapen_too(g), "one matrix like its first, here"),
    "one result for two": (lambda self, s, p, g, t: p - one_of_two(g @ g.T)[1] @ g, "one_of_two returned a Tensor"),
    "never due, and nothing that stands": (of(misshapen_too, lambda p, g: g, due=False), "due= needs old="),
    "due that is no condition": (lambda self, s, p, g, t: p - misshapen_too(g, due=t, old=g), "turn(t, 10)"),
    "due, and nothing that stands": (lambda self, s, p, g, t: p - misshapen_too(g, due=t > 2), "due= needs old="),
    "due of elements": (lambda self, s, p, g, t: p - misshapen_too(g, due=g > 2, old=g), "numbers of the host or"),
    "what stands has another shape": (lambda self, s, p, g, t: p - misshapen_too(g, due=t > 2, old=g.T), "old="),
    "a staggered turn elsewhere": (lambda self, s, p, g, t: p - where(turn(t, 3, stagger=True), g, p), "leave stagger"),
    "an identity of nothing": (lambda self, s, p, g, t: p - eye(self.lr) @ g, "eye() takes rows(p)"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_does_not_match_is_one_error_and_nothing_changes(bad):
    update, text = bad
    p = nn.Parameter(torch.ones(3, 4))
    p.grad = torch.full((3, 4), 0.5)
    with pytest.raises(TypeError, match=re.escape(text)):
        type("Toy", (Optimizer,), {"update": update})([p]).step()
    assert torch.equal(p, torch.ones(3, 4))


@pytest.mark.parametrize("shapes", ["r c", "-> r", "r c d -> r", "R c -> r", "rc -> r c", "r 0 -> r"])
def test_shapes_that_are_none(shapes):
    with pytest.raises(ValueError, match="are no shapes of a matrix_op"):
        matrix_op(shapes)


@pytest.mark.parametrize("begin", [lambda: zeros("r k"), lambda: zeros("r c c"), lambda: zeros("r k", k=0.5)])
def test_shapes_of_states_that_are_none(begin):
    with pytest.raises(TypeError, match="is no shape of a state"):
        begin()
