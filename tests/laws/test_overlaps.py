"""Weights, gradients and states that share memory with each other."""

import pytest
import torch
from cases import equal, parameters, same_states, values
from harm import begun
from ordinary import of
from torch import nn

import ravine


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_parameters_that_overlap_move_one_after_the_other_as_in_torch(name):
    made = {}
    for library in (torch.optim, ravine):
        memory = values([(60000,)])[0]
        table = memory[40000:].view(100, 200)
        views = [memory[:40000], memory[10000:30000], table[:, ::2], table[:, 1::2], memory[39990:40010]]
        params = [nn.Parameter(x) for x in views]
        opt = getattr(library, name)(params, lr=0.1, foreach=False)
        for _ in range(4):
            for p in params:
                p.grad = torch.sin(3 * p.detach())
            opt.step()
        made[library] = memory
    assert (made[ravine] - made[torch.optim]).abs().max() < 5e-6


def test_parameters_that_begin_to_overlap_are_seen():
    made = {}
    for library in (torch.optim, ravine):
        p, q = parameters([(50000,), (50000,)])
        opt = library.SGD([p, q], lr=0.1)
        for t in range(4):
            if t == 2:
                q.data = p.data
            p.grad, q.grad = values([(50000,)] * 2, t)
            opt.step()
        made[library] = p
    assert torch.equal(made[ravine], made[torch.optim])


@pytest.mark.parametrize("where", ["in place", "exchanged"])
def test_a_state_that_shares_memory_with_weights_is_refused(where):
    opt = begun("adam", "llvm")
    p, q = of(opt)
    if where == "in place":
        opt.state[p]["exp_avg"].data = q.data
    else:
        opt.state[p]["exp_avg"] = q.data
    before = q.detach().clone()
    with pytest.raises(RuntimeError, match=r"'exp_avg' of parameter 0 .* shares memory"):
        opt.step()
    equal(q.detach(), before)


def test_a_gradient_may_be_the_weights_themselves():
    a, b = begun("adam", "llvm"), begun("adam", "llvm")
    for _ in range(3):
        for p, q in zip(of(a), of(b), strict=True):
            p.grad, q.grad = p.data, q.detach().clone()
        a.step(), b.step()
    same_states(a, b)
