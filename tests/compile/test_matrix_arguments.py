"""What the function of a matrix operation is given: numbers where they are computed, options as written."""

import math

import pytest
import torch
from matrix_rules import inverse_root, power_step, steps
from torch import nn
from toys import BACKENDS

from ravine import Optimizer
from ravine.words import cols, every, matrix_op, minimum, norm, rows, sqrt, total


def test_a_word_on_tensors_is_the_function():
    a = torch.diag(torch.tensor([4.0, 16.0]))
    assert torch.allclose(inverse_root(a, 0.0, power=2), torch.diag(torch.tensor([0.5, 0.25])))
    assert inverse_root(a, 0.0, due=False, old=a) is a
    assert inverse_root.__doc__ is None and power_step.__doc__.startswith("One step")


GIVEN = []


@matrix_op("r c -> r c", stack=False)
def noted(x, *args, **options):
    GIVEN.append((args, options))
    return x


class Asks(Optimizer):
    lr: float = 0.5
    coefficients: tuple[float, float] = (2.0, -1.0)
    count: int = 3

    def update(self, s, p, g, t):
        return p - noted(
            g, self.lr, t * 2, norm(g), rows(p), minimum(cols(p), 3), coefficients=self.coefficients,
            count=self.count, fixed=1e-6, flag=True, one=1, word="schulz", mixed=[(self.lr, 2), None],
        )  # fmt: skip


@BACKENDS
def test_numbers_are_numbers_when_it_runs_and_options_are_what_was_written(backend):
    GIVEN.clear()
    p = nn.Parameter(torch.ones(3, 4))
    opt = Asks([p], backend=backend)
    for lr in (0.5, 0.25):
        opt.param_groups[0]["lr"] = lr
        p.grad = torch.ones(3, 4)
        opt.step()
    options = {
        "coefficients": (2.0, -1.0), "count": 3, "fixed": 1e-6, "flag": True, "one": 1, "word": "schulz",
    }  # fmt: skip
    for t, (lr, (args, found)) in enumerate(zip((0.5, 0.25), GIVEN, strict=True), 1):
        assert args == (lr, 2.0 * t, pytest.approx(math.sqrt(12)), 3, 3)
        assert list(map(type, args)) == [float, float, float, int, int]
        assert found == {**options, "mixed": ((lr, 2), None)}
        assert {k: type(x) for k, x in found.items()} == {k: type(x) for k, x in (options | {"mixed": ()}).items()}
        assert type(found["mixed"][0][0]) is float and all(type(x) is float for x in found["coefficients"])
    assert len(opt._watched) == 1


def test_options_that_are_equal_and_not_the_same_are_told_apart():
    class Apart(Optimizer):
        def update(self, s, p, g, t):
            return p - noted(g, 1) - noted(g, 1.0) - noted(g, True) - noted(g, 0.0) - noted(g, -0.0)

    GIVEN.clear()
    steps(Apart, (2, 2), count=1)
    assert sorted(map(repr, (args for args, _ in GIVEN))) == ["(-0.0,)", "(0.0,)", "(1,)", "(1.0,)", "(True,)"]


class Careful(Optimizer):
    """The length over all tensors, in an argument."""

    def update(self, s, p, g, t):
        return p - noted(g, sqrt(every(total(g**2)))) - noted(g, sqrt(every(total(g @ g.T))))


@BACKENDS
def test_sums_over_all_tensors_are_arguments_too(backend):
    GIVEN.clear()
    params = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(2, 2))]
    opt = Careful(params, backend=backend)
    for p in params:
        p.grad = torch.ones_like(p)
    opt.step()
    expected = [4.0, 4.0, math.sqrt(36 + 8), math.sqrt(36 + 8)]
    assert sorted(x for ((x,), _) in GIVEN) == pytest.approx(expected)
