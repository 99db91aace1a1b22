"""Gradients that are zero, missing, empty, NaN, infinite, tiny, huge, sparse or negated; none is ever changed."""

from typing import get_args

import pytest
import torch
from cases import (
    ACROSS,
    ALL,
    NO_DECAY,
    equal,
    every_program,
    every_twin,
    gathers,
    give,
    near,
    on_llvm_and_slowly_on_the_reference,
    parameters,
    products,
    slow,
    states,
    walk,
)
from ordinary import SHAPES, agree, of, pair
from torch import nn

import ravine
from ravine.rule.hyper import fields
from ravine.testing import laws
from ravine.testing.subject import Subject

SIGN_ALONE = {"SignSGD"}  # an infinite gradient makes a step like any other


@every_program
def test_zero_gradients_leave_the_weights_and_are_finite(cls):
    opt = cls(parameters(SHAPES), **{k: x for k, x in NO_DECAY.items() if k in fields(cls)})
    before = [p.detach().clone() for p in of(opt)]
    walk(opt, 3, scale=0.0)
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)
    walk(opt, 3)
    assert all(p.isfinite().all() for p in of(opt))


@every_program
def test_a_dead_row_and_a_dead_column_are_finite(cls):
    forms = get_args(fields(cls)["form"][0]) if "form" in fields(cls) else ()
    for hyper in [{"form": form} for form in forms] or [{}]:
        laws.dead_rows_and_columns(Subject(cls, hyper, lambda opt, t: {}))


@every_program
def test_zero_weights_can_leave_zero(cls):
    opt = cls([nn.Parameter(torch.zeros(5))])
    walk(opt, 3)
    assert of(opt)[0].isfinite().all() and (of(opt)[0] != 0).all()


@every_program
def test_empty_tensors_and_no_gradients_are_no_trouble(cls):
    empty = cls(parameters([(0,), (0, 3), (2, 0, 4)]))
    walk(empty, 2)
    assert all(float(empty.state[p]["step"]) == 2 for p in of(empty))
    opt = cls(parameters(SHAPES))
    before = [p.detach().clone() for p in of(opt)]
    opt.step()
    opt.step()
    assert not opt.state
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)


@every_program
def test_gradients_are_never_changed(cls):
    for layout in (lambda g: g, lambda g: g.t().contiguous().t()):
        opt = cls(parameters([(3, 5)]), maximize=True)
        for t in range(2):
            give(of(opt), t)
            of(opt)[0].grad = g = layout(of(opt)[0].grad)
            kept, version = g.clone(), g._version
            opt.step()
            assert of(opt)[0].grad is g and g._version == version
            equal(g, kept)


@every_program
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), *slow(float("-inf"))])
@on_llvm_and_slowly_on_the_reference
def test_nan_and_inf_come_through_and_only_where_they_are(cls, bad, backend):
    a, b = cls(parameters([(40,), (3,)]), backend=backend), cls(parameters([(40,), (3,)]), backend=backend)
    for opt in (a, b):
        walk(opt, 2)
        give(of(opt), 2)
        if opt is a:
            of(a)[0].grad[17] = bad
        opt.step()
    hit = torch.zeros(40, dtype=torch.bool)
    hit[17] = True
    if cls.__name__ not in ACROSS and not gathers(a) and not products(a):
        equal(of(a)[0].detach()[~hit], of(b)[0].detach()[~hit])
    kept = [x[17] for x in states(a, of(a)[0]).values()]
    if bad != bad or cls.__name__ not in SIGN_ALONE:
        assert not all(x.isfinite() for x in (of(a)[0][17], *kept))
    assert bad == bad or of(a)[0][17].isnan()
    if not gathers(a):
        equal(of(a)[1].detach(), of(b)[1].detach())


@every_twin
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_inf_do_what_they_do_in_torch(cls, bad):
    if cls is ravine.Rprop and bad != bad:
        pytest.skip("the sign of NaN is 0 in torch, which hides it")
    a, b = pair(cls)
    for opt in (a, b):
        walk(opt, 2)
        give(of(opt), 2)
        of(opt)[2].grad[1, 3] = bad
        opt.step()
    agree(a, b)


@every_twin
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("when", [0, 2])
def test_what_nan_and_inf_have_left_goes_on_as_in_torch(cls, when, bad):
    """In the steps after it too: a norm of weights of which one is NaN is NaN, and torch does not always use it."""
    if cls is ravine.Rprop and bad != bad:
        pytest.skip("the sign of NaN is 0 in torch, which hides it")
    a, b = pair(cls)
    for opt in (a, b):
        for t in range(5):
            give(of(opt), t)
            if t == when:
                of(opt)[1].grad[2] = of(opt)[2].grad[1, 3] = bad
            opt.step()
    for p, q in zip(of(a), of(b), strict=True):  # torch's lerp makes NaN of an average that is infinite
        p, q = (x.detach().where(x.isfinite(), torch.nan) for x in (p, q))
        near(p, q, 2e-6)


@every_program
@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30])
def test_tiny_and_huge_gradients_are_sane(cls, size):
    a, b = (cls(parameters([(40,)]), backend=backend) for backend in ("llvm", "reference"))
    walk(a, 3, scale=size)
    walk(b, 3, scale=size)
    near(of(a)[0], of(b)[0], 1e-4 if size < 1 else 1e-5)
    if size < 1:
        assert of(a)[0].isfinite().all()


def test_a_lazily_negated_gradient_is_negated():
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.full((3,), 1j).conj().imag
    assert p.grad.is_neg()
    ravine.SGD([p], lr=1.0).step()
    equal(p.detach(), torch.ones(3))


@pytest.mark.parametrize("cls", [cls for cls in ALL.values() if not cls.sparse])
def test_sparse_gradients_are_refused_by_name(cls):
    embedding = nn.Embedding(4, 3, sparse=True)
    opt = cls([*parameters([(2,)]), *embedding.parameters()])
    of(opt)[0].grad = torch.ones(2)
    embedding(torch.tensor([1])).sum().backward()
    before = [p.detach().clone() for p in of(opt)]
    with pytest.raises(RuntimeError, match=r"parameter 1 of shape \(4, 3\).*sparse.*(SGD|Adam)"):
        opt.step()
    assert not opt.state
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)


def test_a_sparse_gradient_after_a_dense_one_is_refused_by_name():
    p = nn.Parameter(torch.ones(3, 2))
    opt = ravine.RMSprop([p])
    p.grad = torch.ones(3, 2)
    opt.step()
    p.grad = torch.ones(3, 2).to_sparse()
    with pytest.raises(RuntimeError, match="sparse gradient"):
        opt.step()
