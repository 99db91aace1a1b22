"""Tensors that wrap others, have no memory or lie on another device."""

import pytest
import torch
from cases import ALL, every_program, parameters, same_states, values, walk
from harm import begun
from ordinary import of
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

import ravine
from ravine.mods import EMA, ClipNorm


def test_a_parameter_may_wrap_other_tensors():
    made = {}
    for library in (torch.optim, ravine):
        a, b = values([(5, 5), (5, 5)])
        p = nn.Parameter(TwoTensor(a, b))
        opt = library.Adam([p], lr=0.1)
        for t in range(3):
            p.grad = TwoTensor(*values([(5, 5), (5, 5)], t))
            opt.step()
        assert type(opt.state[p]["exp_avg"]) is TwoTensor
        made[library] = p
    for side in "ab":
        assert (getattr(made[ravine], side) - getattr(made[torch.optim], side)).abs().max() < 1e-6


@every_program
@pytest.mark.parametrize("where", ["fake", "meta"])
def test_steps_without_memory_make_every_state(cls, where):
    """So that memory can be estimated before there is any."""
    real = cls(nn.Linear(70, 60).parameters())
    walk(real, 2)
    with FakeTensorMode() if where == "fake" else torch.device("meta"):
        fake = cls(nn.Linear(70, 60).parameters())
        for _ in range(2):
            for p in of(fake):
                p.grad = torch.ones_like(p)
            fake.step()
    for p, q in zip(of(real), of(fake), strict=True):
        found = [{k: (x.shape, x.dtype) for k, x in opt.state[x].items()} for opt, x in ((real, p), (fake, q))]
        assert found[0] == found[1]


def test_modifiers_and_codes_without_memory():
    with FakeTensorMode():
        (p,) = nn.Linear(100, 100, bias=False).parameters()
        opt = ravine.AdamW([p], mods=[ClipNorm(1.0), EMA(0.9)], storage="int8", nonfinite="skip", measured=True)
        for _ in range(2):
            p.grad = torch.ones_like(p)
            opt.step()
    assert opt.state[p]["exp_avg"].dtype == torch.int8
    assert opt.skipped == 0


# to another device


def test_states_go_to_another_device_and_their_counts_stay():
    opt = ALL["nadam"](parameters([(80, 80)]), mods=[EMA(0.9)])
    walk(opt, 2)
    (p,) = of(opt)
    keys = {k for k, x in opt.state[p].items() if x.dim()}
    assert opt.to("meta") is opt
    assert {k for k, x in opt.state[p].items() if x.is_meta} == keys
    with pytest.raises(RuntimeError, match=r"on meta; call opt.to\(\)"):
        opt.step()


def test_states_come_beside_their_parameters_with_every_bit():
    a, b = begun("clipped lamb", "llvm"), begun("clipped lamb", "llvm")
    assert a.to("cpu") is a
    assert a.to() is a
    walk(a, 2), walk(b, 2)
    same_states(a, b)


@pytest.mark.parametrize("driven", [ravine.Adam, torch.optim.Adam])
def test_a_strategy_takes_its_states_along(driven):
    (p,) = parameters([(80, 80)])
    opt = ravine.strategies.Lookahead(driven([p]), k=5)
    walk(opt, 2)
    assert opt.to("meta") is opt
    assert all(x.is_meta for x in opt.state[p].values() if isinstance(x, torch.Tensor) and x.dim())
    assert opt.optimizer.state[p]["exp_avg"].is_meta
    assert not opt.optimizer.state[p]["step"].is_meta
