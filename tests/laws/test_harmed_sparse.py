"""Sparse gradients that lead out of memory are refused, and odd ones are what they say."""

import copy

import pytest
import torch
from cases import ALL, equal, parameters, same_states, values
from harm import BACKENDS, freed, halved
from ordinary import of
from torch import nn

import ravine


def bits(opt):
    """A copy of all that a step may change."""
    return [(p.detach().clone(), {k: copy.deepcopy(x) for k, x in opt.state.get(p, {}).items()}) for p in of(opt)]


def same_bits(opt, before):
    for p, (weights, state) in zip(of(opt), before, strict=True):
        equal(p.detach(), weights)
        for k, x in state.items():
            equal(opt.state[p][k], x)


def freed_values(g):
    freed(g._values())


def freed_indices(g):
    freed(g._indices())


def halved_values(g):
    halved(g._values())


def rows_beyond(g):
    g._indices().fill_(70)


def rows_before(g):
    g._indices().fill_(-1)


def embedded(backend, coalesced):
    (p,) = parameters([(50, 4)])
    opt = ravine.Adam([p], lr=0.1, backend=backend)
    for t in range(3):
        g = torch.sparse_coo_tensor([[7, 1, 2]], *values([(3, 4)], t), (50, 4), check_invariants=True)
        p.grad = g.coalesce() if coalesced else g
        if t < 2:
            opt.step()
    return opt, p


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("coalesced", [False, True])
@pytest.mark.parametrize("harm", [freed_values, freed_indices, halved_values, rows_beyond, rows_before])
def test_sparse_gradients_that_lead_out_of_memory_are_refused(harm, coalesced, backend):
    opt, p = embedded(backend, coalesced)
    before = bits(opt)
    harm(p.grad)
    with pytest.raises(RuntimeError, match=r"sparse gradient of parameter 0 .*(memory|indices)"):
        opt.step()
    same_bits(opt, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sparse_gradient_that_was_written_to_after_it_was_coalesced(backend):
    (opt, p), (other, q) = embedded(backend, True), embedded(backend, False)
    for g in (p.grad, q.grad):
        g._indices().copy_(torch.tensor([[9, 4, 9]]))
        g._values().fill_(1)
    assert p.grad.is_coalesced()
    opt.step(), other.step()
    same_states(opt, other)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "sparseadam"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sparse_rows_without_width_are_counted(name, backend):
    p = nn.Parameter(torch.zeros(5, 0))
    opt = ALL[name]([p], backend=backend)
    for _ in range(2):
        p.grad = torch.sparse_coo_tensor([[1, 2]], torch.zeros(2, 0), (5, 0), check_invariants=True)
        opt.step()
    assert opt.state[p]["step"] == 2
