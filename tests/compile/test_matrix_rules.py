"""Rules with matrix operations are their transcriptions, in all types, and their factors keep their precision."""

import pytest
import torch
from matrix_rules import RULES, SHAPES, Soap, plain, steps
from torch import nn
from toys import BACKENDS, waves

import ravine
from ravine import Optimizer
from ravine.words import col_max, diagonal, eye, matrix_op, norm, total, trace


@BACKENDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_a_rule_is_its_transcription(cls, direction, shape, backend):
    p, _ = steps(cls, shape, backend, lr=0.1)
    torch.testing.assert_close(p, plain(direction, shape), rtol=1e-9, atol=1e-9)


@pytest.mark.ci
@BACKENDS
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_many_tensors_are_each_by_itself(cls, direction, backend):
    params = [nn.Parameter(torch.ones(s, dtype=torch.float64)) for s in SHAPES]
    opt = cls(params, backend=backend, lr=0.1)
    for gradients in zip(*(waves(s) for s in SHAPES), strict=True):
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        opt.step()
    for p, shape in zip(params, SHAPES, strict=True):
        torch.testing.assert_close(p.detach(), plain(direction, shape), rtol=1e-9, atol=1e-9)


@pytest.mark.ci
@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_a_rule_in_other_types_is_near_it(cls, direction, dtype, backend):
    p, _ = steps(cls, (3, 4), backend, dtype=dtype, lr=0.001)
    near = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(p.double(), plain(direction, (3, 4), lr=0.001), rtol=near, atol=near)


def test_sums_of_what_torch_has_made_need_no_pass_over_memory():
    opt = Summed([nn.Parameter(torch.ones(3, 4))])
    assert len(opt.compiled(opt.param_groups[0]).plan.kernels) == 1


class Summed(Optimizer):
    def update(self, s, p, g, t):
        return p - g / (total(diagonal(g @ g.T)) + trace(g.T @ g) + total(col_max(g @ g.T)) + norm(g @ g.T))


@BACKENDS
@pytest.mark.parametrize("storage", [None, "bf16", "float32"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_factors_are_in_float32_at_least_and_stay_so(dtype, storage, backend):
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    p, opt = steps(Soap, (3, 4), backend, dtype=dtype, storage=storage)
    (state,) = opt.state.values()
    assert state["L"].dtype == state["Q"].dtype == expected
    mutual = state["Q"].T @ state["Q"] - torch.eye(3)
    assert mutual.abs().max() < 1e-5
    q = nn.Parameter(p.clone())
    other = Soap([q], backend=backend, storage=storage)
    other.load_state_dict(opt.state_dict())
    assert other.state[q]["Q"].dtype == expected and torch.equal(other.state[q]["Q"], state["Q"])
    (before,) = opt.state
    for g in waves((3, 4), 2, seed=5):
        before.grad, q.grad = g.to(dtype), g.to(dtype)
        opt.step()
        other.step()
    assert torch.equal(q, before)


@BACKENDS
def test_an_identity_in_a_state_is_not_rounded_with_the_weights(backend):
    class Begins(Optimizer):
        def init(self, s, p):
            s.L = 0.1 * eye("r")

        def update(self, s, p, g, t):
            s.L = s.L + 0 * g @ g.T
            return p - self.lr * s.L @ g

    _, opt = steps(Begins, (3, 4), backend, dtype=torch.bfloat16)
    (state,) = opt.state.values()
    torch.testing.assert_close(state["L"], 0.1 * torch.eye(3), rtol=1e-7, atol=0)


def test_a_step_that_is_skipped_calls_no_matrix_operation():
    """A function of torch may raise for what is not finite, as eigh does: the guard comes first."""
    calls = []

    @matrix_op("r c -> r c")
    def strict(x):
        assert x.isfinite().all()
        calls.append(1)
        return x

    class Strict(ravine.Optimizer):
        def update(self, s, p, g, t):
            return p - self.lr * strict(g)

    for backend in ("llvm", "reference"):
        p = torch.nn.Parameter(torch.ones(3, 2))
        opt = Strict([p], lr=1.0, nonfinite="skip", backend=backend)
        for bad in (torch.nan, 1.0):
            p.grad = torch.full((3, 2), bad)
            opt.step()
        assert opt.skipped == 1
        assert not p.any()
    assert len(calls) == 2
