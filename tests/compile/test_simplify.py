"""What simplify rewrites and, as important, what it leaves as it is: each change of an order is another rounding."""

import math

import pytest
import torch
from toys import compiled

from ravine.compile.expr import FULL, ROW, SCALAR, const, is_matrix, leaf, node, walk
from ravine.compile.geometry import extent
from ravine.compile.interpret import evaluate
from ravine.compile.simplify import power, rewrite, simplify
from ravine.compile.trace import Program
from ravine.optim import registry
from ravine.words import per_row, sqrt, zeros

X, Y = leaf("p", "p", FULL), leaf("g", "g", FULL)
V, W, N = leaf("state", "v", FULL), leaf("state", "w", FULL), leaf("state", "n", SCALAR)
R = leaf("state", "r", ROW)
H, K, T = leaf("hyper", "h"), leaf("hyper", "k"), leaf("t", "t")
LEFT = {
    "a power of the host": T**3.0,
    "a root of the host": T**0.5,
    "a broken power of the host": T**1.5,
    "a product of the host": H * (K * T),
    "one times a number of the host": 1.0 * H,
    "a quotient of the host": T / H,
    "a quotient by a number of each tensor": X / N,
    "a quotient by a constant": X / 3.0,
    "a product of elements": X * Y,
    "a product with a number of each tensor": N * X,
    "an element times a scaled one": X * (H * Y),
    "a sum": X + Y,
    "one negation": -X,
    "the negation of a sum": -(X + Y),
}


@pytest.mark.parametrize("x", LEFT.values(), ids=LEFT.keys())
def test_it_leaves_as_it_is(x):
    assert rewrite(x) is x


def test_factors_of_the_host_meet_and_those_of_elements_stay():
    assert rewrite(H * (X * Y)) is H * (X * Y)
    assert rewrite((X * Y) * H) is H * (X * Y)
    assert rewrite(node("mul", 2.0, K * X)) is node("mul", 2.0, K) * X


def test_signs_go_outwards_through_products_and_sums():
    """A sum of negated terms is the negative of the sum to the last bit, as maximize=True promises. LLVM would subtract
    them, and add its partial sums in another order."""
    assert rewrite(node("mul", -X, Y)) is rewrite(node("mul", X, -Y)) is -(X * Y)
    assert rewrite(node("div", -X, Y)) is -(X / Y) and rewrite(node("div", -X, -Y)) is X / Y
    assert rewrite(node("mul", H, -X)) is -(H * X)
    assert rewrite((-X) ** 2.0) is X * X and rewrite((-X) ** 3.0) is node("mul", X * X, -X)
    for op, x in (("sum", X), ("every", N)):
        assert rewrite(node(op, -x, shape=SCALAR)) is -node(op, x, shape=SCALAR)


@pytest.mark.parametrize("x", [X, N], ids=["elements", "a number of each tensor"])
def test_powers_are_products_and_roots(x):
    for b, said in {0.5: sqrt(x), 1.0: x, 2.0: x * x, 3.0: (x * x) * x, 4.0: (x * x) * (x * x)}.items():
        assert rewrite(x**b) is said
    for b, said in {-0.5: 1.0 / sqrt(x), -1.0: 1.0 / x, -2.0: 1.0 / (x * x)}.items():
        assert rewrite(x**b) is said


def test_a_power_that_check_refuses_is_no_power():
    with pytest.raises(AssertionError, match=r"2\.5"):
        power(X, 2.5)


# where the roots of states that are never negative are what is stored


def program(inner, both=False):
    """p ← p − √inner, and two states of which v, or both, are never negative."""
    start = {"v": zeros(X, positive=True), "w": zeros(X, positive=both), "r": per_row(0.0, positive=True)}
    return Program("Toy", start, {"v": MORE, "w": OTHER, "r": SHORT}, X - sqrt(inner))


MORE, OTHER, SHORT = H * V + Y, K * W + Y, H * R + N


def test_the_root_of_a_stored_root_is_taken_first():
    assert simplify(program(K * MORE), roots=True).p is X - sqrt(K) * sqrt(MORE)
    assert simplify(program(K * OTHER, both=True), roots=True).p is X - sqrt(K) * sqrt(OTHER)


def test_no_other_root_is_cut():
    for kept in (
        simplify(program(K * MORE)),  # nothing is stored as a root
        simplify(program(K * OTHER), roots=True),  # may be negative
        simplify(program(Y * MORE), roots=True),  # Y may be negative
        simplify(program(K * SHORT), roots=True),  # numbers of rows are not stored as roots
        simplify(program(K * (X + Y)), roots=True),  # no state
    ):
        (x,) = [x for x in walk([kept.p]) if x.op == "sqrt"]
        assert x.src[0].op == "mul"


def test_equal_nodes_are_one():
    p, g = leaf("p", "p", FULL), leaf("g", "g", FULL)
    assert p + g is p + g
    assert const(1) is const(1.0) and const(1.0) is not const(2.0)


def test_minus_zero_is_not_zero():
    zero, minus = const(0.0), const(-0.0)
    assert math.copysign(1, zero.arg) == 1 and math.copysign(1, minus.arg) == -1 and const(0.0) is zero


def test_rewrites():
    x, y, h, k = leaf("p", "p", FULL), leaf("g", "g", FULL), leaf("hyper", "h"), leaf("hyper", "k")
    assert rewrite(node("neg", -x)) is x
    assert rewrite(x + -y) is x - y and rewrite(x - -y) is x + y
    assert rewrite(x * h) is h * x
    assert rewrite(h * (k * x)) is (h * k) * x
    assert rewrite(x / h) is (1.0 / h) * x
    assert rewrite(1 * x) is x and rewrite(x**2) is x * x


@pytest.mark.parametrize("cls", registry().values(), ids=registry().keys())
def test_simplify_keeps_the_values(cls):
    program = compiled(cls).program
    simple = simplify(program)
    made = torch.Generator().manual_seed(0)
    values = {}

    def read(x):
        key = (x.op, x.arg) if x.op == "every" else x  # what is summed may be simplified, its number is the same
        if key not in values:
            shape = extent(p, x.shape) if x.shape == FULL or is_matrix(x) else ()
            values[key] = torch.rand(shape, generator=made, dtype=torch.float64) * 0.5 + 0.25
            if x.op == "t":
                values[key] = torch.tensor(9.0, dtype=torch.float64)
        return values[key]

    p = torch.empty(3, 4, dtype=torch.float64)
    before = evaluate(program.outputs.values(), read, p)
    after = evaluate(simple.outputs.values(), read, p)
    for k in program.outputs:
        torch.testing.assert_close(
            after[simple.outputs[k]], before[program.outputs[k]], rtol=1e-12, atol=1e-13, equal_nan=True
        )
