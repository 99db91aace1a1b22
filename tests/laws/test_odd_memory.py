"""Tensors lie in any order and type in memory, and may lie otherwise at the next step: that is seen, or refused."""

import copy

import pytest
import torch
from cases import (
    ACROSS,
    ALL,
    equal,
    every_program,
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
from ordinary import SHAPES, agree, of
from torch import nn

import ravine

LAYOUTS = {
    "transposed": lambda x: x.transpose(1, 3).contiguous().transpose(1, 3),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every_other": lambda x: torch.stack([x, x], -1)[..., 0],
    "expanded": lambda x: x[:, :1].expand(x.shape),
}


@every_program
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("weights", ["transposed", "channels_last", *slow("contiguous", "every_other")])
def test_order_in_memory_does_not_matter(cls, weights, backend):
    shape = (4, 3, 5, 2)
    (start,) = parameters([shape])
    plain = cls([start], backend=backend)
    odd = cls([nn.Parameter(LAYOUTS.get(weights, lambda x: x)(start.detach().clone()))], backend=backend)
    p = of(odd)[0]
    strides = p.stride()
    for t, layout in enumerate([*LAYOUTS.values(), *LAYOUTS.values()]):
        give([start], t)
        start.grad = layout(start.grad).clone(memory_format=torch.contiguous_format)
        p.grad = layout(start.grad.clone())
        plain.step()
        odd.step()
    near(p, start, 1e-6 if cls.__name__ in ACROSS or gathers(odd) or products(odd) else 0)
    assert p.stride() == strides


@every_program
def test_a_gradient_in_another_order_where_the_last_one_lay_is_seen(cls):
    memory = torch.empty(12)
    p, q = parameters([(3, 4)] * 2)
    q.data.copy_(p.data)
    a, b = cls([p]), cls([q])
    for t in range(4):
        give([q], t)
        p.grad = memory.view(3, 4) if t % 2 else memory.view(4, 3).t()
        p.grad.copy_(q.grad)
        a.step()
        b.step()
    near(p, q, 1e-5 if products(a) else 1e-6)  # eigenvectors magnify rounding; read in the wrong order: above 1e-4


# a step is as long as the gradient unless lr is given
LONG_STEPS = {"DoG", "DoWG", "LDoG", "MoMo", "ScheduleFreeSGD", "SGDP"}


@every_program
@pytest.mark.parametrize("other", [torch.float64, *slow(torch.bfloat16)], ids=str)
def test_weights_may_change_type_between_steps(cls, other):
    model = nn.Sequential(nn.Linear(300, 7), nn.Linear(7, 3))
    far = 1 if cls.__name__ in LONG_STEPS else 30  # enough for bfloat16 to see it
    opt = cls(model.parameters(), lr=far * cls.lr)
    walk(opt, 2)
    kinds = [{k: x.dtype for k, x in states(opt, p).items()} for p in of(opt)]
    model.to(other)
    before = [p.detach().clone() for p in of(opt)]
    walk(opt, 2)
    for p, old, kind in zip(of(opt), before, kinds, strict=True):
        assert p.dtype == other and p.isfinite().all() and not torch.equal(p, old)
        assert (p - old).abs().max() < 10
        assert {k: x.dtype for k, x in states(opt, p).items()} == kind
        assert float(opt.state[p]["step"]) == 4


@every_program
def test_weights_may_change_order_in_memory_between_steps(cls):
    a, b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    b.load_state_dict(a.state_dict())
    first, second = cls(a.parameters()), cls(b.parameters())
    walk(first, 2)
    walk(second, 2)
    a.to(memory_format=torch.channels_last)
    walk(first, 2, first=2)
    walk(second, 2, first=2)
    agree(first, second, 1e-6)


@every_program
def test_weights_that_change_shape_are_refused(cls):
    opt = cls(parameters([(6,), (2,)]))
    walk(opt, 2)
    if not states(opt, of(opt)[0]):
        pytest.skip("it has no state of the old shape")
    of(opt)[0].data = torch.ones(9)
    kept = of(opt)[1].detach().clone()
    with pytest.raises(RuntimeError, match=r"parameter 0 of shape \(9,\).*\(6,\)"):
        walk(opt, 1)
    equal(of(opt)[1].detach(), kept)


@every_program
def test_complex_weights_are_torchs_or_refused(cls):
    def make(shapes):
        return [
            nn.Parameter(torch.complex(a.detach(), b.detach()))
            for a, b in zip(parameters(shapes), parameters(shapes, 1), strict=True)
        ]

    if cls.twin is None or cls.real_only:
        with pytest.raises(ValueError, match=f"parameter 0 .*complex.*{cls.__name__}.*view_as_real"):
            cls(make(SHAPES))
        return
    for backend in ("llvm", "reference"):
        a, b = cls(make(SHAPES), backend=backend), cls.twin(make(SHAPES))
        for t in range(4):
            for opt in (a, b):
                for i, p in enumerate(of(opt)):
                    g = torch.complex(*(x.detach() for x in parameters([p.shape] * 2, 10 * t + i)))
                    p.grad = g.conj() if t % 2 else g
                    if opt is b:  # torch itself cannot take these
                        p.grad = p.grad.resolve_conj()
                opt.step()
        for p, q in zip(of(a), of(b), strict=True):
            near(torch.view_as_real(p.detach()), torch.view_as_real(q.detach()), 2e-6)
            assert all(x.dtype == p.dtype for k, x in states(a, p).items())


def test_memory_that_was_freed_is_refused():
    p = nn.Parameter(torch.ones(300))
    opt = ravine.SGD([p])
    p.grad = torch.ones(300)
    opt.step()
    p.data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="no memory"):
        opt.step()


def test_another_type_at_the_same_address_is_noticed():
    p = nn.Parameter(torch.ones(4, dtype=torch.float16))
    opt = ravine.SGD([p], lr=0.5)
    p.grad = torch.ones(4, dtype=torch.float16)
    opt.step()
    p.data = p.data.view(torch.bfloat16).fill_(1)
    p.grad = p.grad.view(torch.bfloat16).fill_(1)
    opt.step()
    assert (p == 0.5).all()


@pytest.mark.parametrize("name", ["adafactor", "came", "sm3"])
def test_numbers_of_rows_and_columns_must_fit_the_weights(name):
    make, p, q = ALL[name], nn.Parameter(torch.ones(10, 4)), nn.Parameter(torch.ones(12, 4))
    p.grad, q.grad = torch.ones(10, 4), torch.ones(12, 4)
    opt, other = make([p]), make([q])
    opt.step()
    with pytest.raises(ValueError, match=r"has shape \(10, .\) in the state_dict; for a parameter of shape \(12, 4"):
        other.load_state_dict(opt.state_dict())
    p.data = torch.ones(4, 10)
    p.grad = torch.ones(4, 10)
    with pytest.raises(RuntimeError, match="does not fit"):
        opt.step()
    assert (p == 1).all()


def test_weights_that_are_turned_where_they_lie_are_seen():
    p, q = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.zeros(4, 4))
    q.data.copy_(p.data)
    p.grad = torch.randn(4, 4)
    q.grad = p.grad.clone()
    a, b = ravine.AdamW([p], lr=0.1), torch.optim.AdamW([q], lr=0.1)
    for _ in range(2):
        a.step()
        b.step()
        p.data, q.data = p.data.t(), q.data.t()
    near(p, q, 2e-6)


def test_weights_that_are_cut_where_they_lie_are_seen():
    p = nn.Parameter(torch.zeros(8, 2))
    whole, p.grad = p.data, torch.ones(8, 2)
    opt = ravine.SGD([p], lr=1.0)
    opt.step()
    p.data, p.grad = whole[:4], p.grad[:4]
    opt.step()
    assert (whole[:4] == -2).all() and (whole[4:] == -1).all()


def test_a_gradient_that_is_conjugated_where_it_lies_is_seen():
    p = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    p.grad = torch.full((3,), 1 + 1j)
    opt = ravine.SGD([p], lr=1.0)
    opt.step()
    p.grad = p.grad.conj()
    opt.step()
    assert (p == -2).all()


def test_states_of_another_type_are_seen():
    p = nn.Parameter(torch.ones(4))
    p.grad = torch.ones(4)
    opt = ravine.AdamW([p], lr=0.1)
    opt.step()
    for k in ("exp_avg", "exp_avg_sq"):
        opt.state[p][k].data = opt.state[p][k].data.double()
    opt.step()
    near(p, 0.999**2 - 0.1 - 0.0999 + torch.zeros(4), 1e-5)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("what", ["weight", "state"])
def test_what_is_expanded_is_refused_before_anything_moves(what, later, backend):
    """torch refuses to write there, after it has moved the parameters before it."""
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(5, 4))
    a.grad, b.grad = torch.ones(3), torch.ones(5, 4)
    opt = ravine.Adam([a, b], lr=0.1, backend=backend)
    if later or what == "state":
        opt.step()
    if what == "weight":
        b.data = torch.zeros(4).expand(5, 4)
    else:
        opt.state[b]["exp_avg"] = torch.zeros(5, 1).expand(5, 4)
    before, made = copy.deepcopy((a, b)), 1 if later or what == "state" else 0
    with pytest.raises(RuntimeError, match=r"parameter 1 of shape \(5, 4\).*expand.*clone"):
        opt.step()
    assert str((a, b)) == str(before)
    assert all(float(state["step"]) == made for state in opt.state.values())
    if what == "weight":
        b.data = b.data.clone()
    else:
        opt.state[b]["exp_avg"] = opt.state[b]["exp_avg"].clone()
    opt.step()
    assert not a.equal(before[0]) and not b.equal(before[1])
