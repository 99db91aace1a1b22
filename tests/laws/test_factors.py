"""Factors that are too large are one error before anything is made, for every method that has factors."""

import pytest
import torch
from cases import ALL
from torch import nn

import ravine
from ravine.blocks import Flat, Partition
from ravine.compile.expr import is_matrix
from ravine.rule import factors
from ravine.rule.hyper import fields

LARGE = (50_000, 2)  # an embedding, whose factor has 10 GB


def of_factors(cls):
    """Whether a method keeps matrices beside the tensor."""
    opt = cls([nn.Parameter(torch.ones(2, 2))])
    return any(map(is_matrix, opt.compiled(opt.param_groups[0]).program.start.values()))


METHODS = ALL | {"fulladagrad": ravine.FullAdagrad}  # that of the laws is cut into columns
FACTORED = [name for name, cls in METHODS.items() if of_factors(cls)]
every = pytest.mark.parametrize("name", FACTORED)


def made(name, shape, dtype=torch.float32, **hyper):
    p = nn.Parameter(torch.ones(shape, dtype=dtype))
    p.grad = torch.ones_like(p)
    return p, METHODS[name]([p], **hyper)


def test_there_are_such_methods():
    assert {"shampoo", "soap", "splus", "klshampoo", "klsoap", "kron", "fulladagrad"} <= {*FACTORED}


@every
@pytest.mark.parametrize("shape", [LARGE, LARGE[::-1]], ids=str)
def test_a_large_factor_is_refused_before_it_is_made(name, shape):
    p, opt = made(name, shape)
    if name in ("kron", "galore", "apollo"):  # a diagonal there, and as few columns as the rank
        opt.step()
        return
    said = rf"{type(opt).__name__}: parameter 0 of shape \({shape[0]}, {shape[1]}\) needs a factor '\w+' of .*000 numb"
    with pytest.raises(RuntimeError, match=said) as error:
        opt.step()
    assert "Ways out: " in str(error.value) and "ravine.Routed" in str(error.value)
    assert (" 10.0 GB;" in str(error.value)) == (name != "fulladagrad") and (p == 1).all() and not opt.state[p]
    for way in ("sides", "blocks"):
        assert (f"{way}=" in str(error.value)) == (way in fields(type(opt)))


@every
def test_the_ways_out_lead_out(name):
    hyper = [{"sides": "right"}] * ("sides" in fields(METHODS[name])) + [{"blocks": Partition(64)}] * (
        name not in ("fulladagrad", "apollo")  # which has numbers of rows beside its elements
    )
    for more in hyper:
        p, opt = made(name, (2**14 + 2, 2), **more)
        opt.step()
        assert p.isfinite().all()


@every
def test_factors_that_do_not_fit_together_are_refused(name, monkeypatch):
    p, opt = made(name, (40, 30))
    more = nn.Parameter(torch.ones(30, 20))
    more.grad = torch.ones_like(more)
    opt.add_param_group({"params": [more]})
    opt.step()
    start = opt.compiled(opt.param_groups[0], p).program.start
    factor = {k for k, x in start.items() if is_matrix(x)}
    needed = sum(4 * s[k].numel() for s in opt.state.values() for k in factor)
    p, other = made(name, (40, 30))
    other.add_param_group({"params": [more]})
    monkeypatch.setattr(factors, "available", lambda _: needed - 1)
    with pytest.raises(
        RuntimeError, match=rf"the factors of {type(opt).__name__} take .* and cpu has .* left\. Ways out: "
    ):
        other.step()
    assert not other.state[p]
    monkeypatch.setattr(factors, "available", lambda _: needed)
    other.step()
    monkeypatch.setattr(factors, "available", lambda _: 0)
    other.step()  # what is there needs no more


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_factors_of_low_weights_are_float32(name, dtype):
    made_of = torch.Generator().manual_seed(1)
    p, opt = made(name, (5, 4), dtype)
    for _ in range(3):
        p.grad = torch.randn(5, 4, generator=made_of).to(dtype)
        opt.step()
    start = opt.compiled(opt.param_groups[0], p).program.start
    found = [opt.state[p][k] for k, x in start.items() if is_matrix(x)]
    assert found and all(x.dtype == torch.float32 and x.isfinite().all() for x in found)
    assert any((x != x.to(dtype)).any() for x in found)


def test_the_limit_is_the_classes_own():
    class Small(ravine.Shampoo):
        """Shampoo of at most 8 rows."""

        largest_factor = 8

    p = nn.Parameter(torch.ones(9, 2))
    p.grad = torch.ones_like(p)
    with pytest.raises(RuntimeError, match="Small makes none of more than 8 rows"):
        Small([p]).step()
    Small([{"params": [p], "sides": "right"}]).step()


def test_a_vector_is_told_what_helps_a_vector():
    p = nn.Parameter(torch.ones(5000))
    p.grad = torch.ones_like(p)
    opt = ravine.FullAdagrad([p])
    with pytest.raises(RuntimeError, match=r"0\.1 GB.* its largest_factor\. Ways out: blocks=Flat\(512\) "):
        opt.step()
    assert not opt.state[p]
    ravine.FullAdagrad([p], blocks=Flat(50)).step()


def test_a_rule_without_an_optimizer_says_it_too():
    with pytest.raises(RuntimeError, match=r"functional: an array of shape \(50000, 2\) needs a factor 'L'"):
        ravine.functional("soap").init(torch.zeros(LARGE))


def test_memory_is_known_where_this_runs():
    left = factors.available(torch.device("cpu"))
    assert left is None or left > 2**20
