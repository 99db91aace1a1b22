"""Arrays that step() itself is given: from a test, another framework, or a loop that computes them."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

import ravine
from ravine.sources import Hutchinson
from ravine.words import total

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])


class Scaled(ravine.Optimizer):
    inputs = {"h": "r c"}

    def update(self, s, p, g, t, h):
        return p - self.lr * g / h


class Mixed(ravine.Optimizer):
    """Of each kind one."""

    inputs = {"row": "r", "col": "c", "a": "c c"}

    def update(self, s, p, g, t, row, col, a):
        return p - self.lr * row * col * (g @ a) / total(g)


def opened(cls=Scaled, shape=(2, 3), dtype=torch.float32, **hyper):
    p = nn.Parameter(torch.zeros(shape, dtype=dtype))
    p.grad = torch.arange(1.0, 7.0).reshape(shape).to(dtype)
    return p, cls([p], lr=1.0, **hyper)


@BACKENDS
@pytest.mark.parametrize("storage", [None, "bf16", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_array_is_read_as_it_is_given_and_kept(backend, storage, dtype):
    p, opt = opened(dtype=dtype, backend=backend, storage=storage)
    h = torch.full((2, 3), 1 + 2**-12)  # bfloat16 has no such number
    opt.step(h={p: h})
    assert torch.equal(opt.state[p]["h"], h)
    opt.step()  # with the h of before
    opt.step(h={p: h.t().contiguous().t() * 2})
    torch.testing.assert_close(
        p.float(), -(2.5 * p.grad / h).to(dtype).float(), rtol=2e-2 if dtype != h.dtype else 1e-6, atol=0
    )


@BACKENDS
def test_rows_columns_and_factors(backend):
    p, opt = opened(Mixed, backend=backend)
    row, col, a = torch.randn(2), torch.randn(3), torch.randn(3, 3)
    opt.step(row={p: row[:, None]}, col={p: col[None]}, a={p: a})
    torch.testing.assert_close(p.detach(), -row[:, None] * col * (p.grad @ a) / p.grad.sum())


def test_what_does_not_fit_is_said_and_nothing_has_changed():
    p, opt = opened()
    for h, why in {
        "1": r"h is '1'; it must be a dict",
        5.0: r"h is 5.0; it must be a dict",
    }.items():
        with pytest.raises(TypeError, match=why):
            opt.step(h=h)
    for h, why in (
        ({p: torch.ones(3, 2)}, r"h of parameter 0 of shape \(2, 3\) is .*\(3, 2\).*it must be a tensor of shape"),
        ({p: torch.ones(2, 3) * 1j}, r"is torch.complex64; it must be real"),
        ({nn.Parameter(p.detach()): p}, r"no parameter of this optimizer"),
    ):
        with pytest.raises(ValueError, match=why):
            opt.step(h=h)
    with pytest.raises(TypeError, match=r"is given no 'h', which update\(\) takes, of shape \(2, 3\)"):
        opt.step()
    assert not opt.state and not p.detach().any()


def test_a_step_is_skipped_where_an_input_is_not_finite():
    p, opt = opened(nonfinite="skip")
    opt.step(h={p: torch.ones(2, 3)})
    moved = p.detach().clone()
    opt.step(h={p: torch.full((2, 3), float("nan"))})
    assert opt.skipped == 1 and torch.equal(p, moved) and opt.state[p]["h"].eq(1).all()
    q, other = opened(nonfinite="raise")
    with pytest.raises(FloatingPointError, match="Scaled: 'h' of parameter 0"):
        other.step(h={q: torch.full((2, 3), float("inf"))})


def test_a_copy_has_no_source_and_says_so():
    p, opt = opened(sources=[Hutchinson(every=9)])
    opt.step(h={p: torch.ones(2, 3)})
    for copy in (deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        (q,) = copy.param_groups[0]["params"]
        q.grad = p.grad
        with pytest.raises(RuntimeError, match="a copy of an optimizer has no sources, and nobody gives 'h' now"):
            copy.step()
        copy.step(h={q: torch.ones(2, 3)})
        copy.watch(Hutchinson(every=9))
        copy.step()
        assert torch.equal(q, -3 * p.grad)


def test_what_a_rule_declares_must_be_what_update_takes():
    def rule(inputs):
        class Wrong(ravine.Optimizer):
            def update(self, s, p, g, t, h):
                return p - h * g

        Wrong.inputs = inputs
        return Wrong

    with pytest.raises(TypeError, match="Wrong: inputs has 'k', which update"):
        opened(rule({"k": "r c"}))
    with pytest.raises(ValueError, match=r"Wrong: inputs\['h'\] is 'p'; it must be one of 'number', 'r c'"):
        opened(rule({"h": "p"}))
    assert "hₜ gₜ" in opened(rule({"h": "r c"}))[1].explain()
