"""A typed function is what it says, and nothing else: no name, attribute, call or size gets through."""

import math

import pytest
import torch

from ravine.surfaces.play.expression import DEPTH, FUNCTIONS, LENGTH, NODES, Expression, ExpressionError, read

X, Y = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64), torch.tensor([1.0, 0.5, -0.7], dtype=torch.float64)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(1 - x)**2 + 100*(y - x**2)**2", lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2),
        (" 0.5*x**2 - .5*y**2 ", lambda x, y: 0.5 * x**2 - 0.5 * y**2),
        ("-x**2 + +y", lambda x, y: -(x**2) + y),
        ("2**-1*x - 3*2**2*y", lambda x, y: 0.5 * x - 12 * y),
        ("sin(pi*x)*exp(-y**2) + min(x, 0) + max(1, y)",
         lambda x, y: torch.sin(math.pi * x) * torch.exp(-(y**2)) + x.clamp(max=0) + y.clamp(min=1)),
        ("hypot(x, y)/e", lambda x, y: torch.hypot(x, y) / math.e),
        ("-x^2 + 3*y^2^0.5 - 2^-1", lambda x, y: -(x**2) + 3 * y ** (2**0.5) - 0.5),
        ("x**2**0.5", lambda x, y: x ** (2**0.5)),
        ("1e-3*abs(x) + 1_0", lambda x, y: 1e-3 * x.abs() + 10),
    ],
)  # fmt: skip
def test_it_is_what_it_says(text, same):
    assert torch.allclose(read(text)(X, Y), same(X, Y), rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_gradient(name):
    count, function = FUNCTIONS[name]
    x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    value = read(f"{name}({', '.join('xy'[:count])})")(x, torch.full_like(x, 0.5))
    assert torch.equal(value, function(*(x, torch.full_like(x, 0.5))[:count]))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 0, "nothing here"),
        ("x^2 + y^2 + sni(x^2)", 12, "did you mean sin"),
        ("x^2 + 2y^2", 6, "a product is written 2*x"),
        ("x^", 2, "cannot be read"),
        ("x^^2", 2, "cannot be read"),
        ("2x", 0, "a product is written 2*x"),
        ("x + sni(y)", 4, "did you mean sin"),
        ("x + foo", 4, "not known"),
        ("sin", 0, "sin(x)"),
        ("max(x)", 0, "max takes 2 numbers, such as max(x, y)"),
        ("sin(x, y)", 0, "sin takes 1 number,"),
        ("x(y + 1)", 0, "a product is written x*"),
        ("(x + 1", 0, "was never closed"),
        ("x +", 3, "cannot be read"),
        ("3 + pi", 0, "the same everywhere"),
        ("x + 1/0", 4, "numbers must be finite"),
    ],
)
def test_mistakes_are_told_with_their_place(text, at, said):
    with pytest.raises(ExpressionError) as caught:
        read(text)
    assert said in str(caught.value) and caught.value.at == at and f"character {at + 1})" in str(caught.value)


HOSTILE = [
    "__import__('os').system('true')", "x.__class__", "x.__class__.__mro__[1].__subclasses__()", "().__class__", "x[0]",
    "[x for x in (1,)]", "lambda: x", "(y := x)", "x if y else x", "x < y", "x and y", "not x", "f'{x}'", "'x'*9",
    "x@y", "x//y", "x%y", "x<<9", "x|y", "~x", "exec(x)", "eval(x)", "open(x)", "getattr(x, y)", "print(x)",
    "sin.__call__(x)",
    "sin(*x)", "sin(x=x)", "sin(x)(y)", "(sin)(x)(x)", "True + x", "None*x", "... + x", "1j*x", "x, y", "*x", "x; y",
    "x\ny", "x\\\ny", "x = y", "await x", "yield x", "import os", "x#y", "b*x", "torch.load(x)", "𝐱 + y", "x\u200b",
    "x\0", "cos(__builtins__)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_listed_means_nothing(text):
    with pytest.raises(ExpressionError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9*x", "x*10**9999999", "1e999*x", "x + " + "9" * 190, "exp(exp(exp(9)))*x", "x*0**-1",
        "x" + "+x" * ((LENGTH - 1) // 2), "-" * (DEPTH + 5) + "x", "(" * 99 + "x" + ")" * 99 + "+1", "x" * (LENGTH + 1),
        "sin(" * 49 + "x", "~" * 199, "*" * 199, "[" * 199,
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_at_once(text):
    with pytest.raises(ExpressionError):
        read(text)


def test_the_bounds_are_those_that_are_said():
    inside = "x" + "+x" * ((NODES - 1) // 2 // 2)
    assert read(inside)(torch.ones(1), torch.ones(1)).item() == inside.count("x")
    assert read("-" * DEPTH + "x")(torch.ones(1), torch.ones(1)).item() == 1
    with pytest.raises(ExpressionError, match=f"more than {DEPTH} levels"):
        read("-" * (DEPTH + 1) + "x")
    with pytest.raises(ExpressionError, match=f"at most {NODES} are read"):
        read("+".join(["x"] * ((NODES + 3) // 2)))


def test_it_is_a_surface():
    bumps = Expression("x**2 + 3")
    p = torch.tensor([[2.0, 5.0]], dtype=torch.float64, requires_grad=True)
    value = bumps.objective(p, torch.tensor(0))
    assert value.tolist() == [7.0] and torch.autograd.grad(value.sum(), p)[0].tolist() == [[4.0, 0.0]]
    assert bumps == Expression("x**2 + 3") != Expression("x**2 + 4")
    assert bumps.loss(torch.zeros(1, 3), torch.zeros(2, 1)).shape == (2, 3)
