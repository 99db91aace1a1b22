"""Every backend computes the rule: llvm equals the reference, and both are the rule in float64, rounded once."""

from math import prod

import pytest
import torch
from cases import (
    COVER,
    LOW,
    SHAPES,
    every_program,
    gathers,
    give,
    near,
    on_llvm_and_slowly_on_the_reference,
    parameters,
    products,
    slow,
    some,
    states,
)

from ravine.compile.launch.llvm import LLVM

STEPS = 2


def couple(cls, hyper, dtypes, backends):
    """Two optimizers of one rule, over equal parameters."""
    return [cls(parameters(SHAPES, dtype=d), backend=b, **hyper) for d, b in zip(dtypes, backends, strict=True)]


def follow(a, b):
    """Give b all that a holds: a step from here shows one step's rounding, and nothing of the steps before."""
    b.load_state_dict(a.state_dict())
    with torch.no_grad():
        for p, q in zip(of(a), of(b), strict=True):
            q.copy_(p)
            b.state[q].update({k: x.to(q.dtype) for k, x in states(b, q).items()})


def later(*opts):
    """Let the second step be the 50th, where every correction has another value and RAdam rectifies."""
    for opt in opts:
        for p in of(opt):
            opt.state[p]["step"] = torch.tensor(49.0)


def of(opt):
    return opt.param_groups[0]["params"]


def gradients(a, b, t):
    give(of(a), t)
    for p, q in zip(of(a), of(b), strict=True):
        q.grad = p.grad.to(q.dtype)


@some(3, 2, among=COVER)
@pytest.mark.parametrize("dtype", [torch.float32, *slow(torch.float64)], ids=["float32", "float64"])
def test_llvm_is_the_reference(cls, hyper, dtype):
    a, b = couple(cls, hyper, (dtype, dtype), ("llvm", "reference"))
    tolerance = (2e-6 if dtype == torch.float32 else 1e-12) * (200 if products(a) else 1)  # they magnify rounding
    for t in range(STEPS):
        gradients(a, b, t)
        before = [{"p": p.detach().clone(), **{k: x.clone() for k, x in a.state[p].items()}} for p in of(a)]
        a.step()
        b.step()
        for p, q, old in zip(of(a), of(b), before, strict=True):
            assert a.state[p].keys() == b.state[q].keys()
            for k, x in {"p": p, **a.state[p]}.items():
                y = q if k == "p" else b.state[q][k]
                terms = [old[k]] if k in old else []  # of one element they may cancel
                near(x, y, tolerance, *terms)
        follow(a, b)
        later(a, b)


PRECISION = {  # these have another ε in every type, unless one is given, or states that begin at a number
    "Adafactor": {"eps": (1e-3, 1e-3)},
    "Kron": {"precond_init_scale": 1.0},
}
# these step by a state alone, or its sign: where its terms cancel, rounding decides
SIGNED = {"Signum": "m", "ScheduleFreePlus": "m"}


@some(2, among=COVER)
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("dtype", [torch.bfloat16, *slow(torch.float16)], ids=["bfloat16", "float16"])
def test_low_types_are_the_rule_in_float64_rounded_once(cls, hyper, backend, dtype):
    # a state may begin at lr: one that every type holds
    hyper = {"lr": 2**-6, **hyper, **PRECISION.get(cls.__name__, {})}
    low, exact = couple(cls, hyper, (dtype, torch.float64), (backend, "reference"))
    follow(low, exact)
    for t in range(STEPS):
        gradients(low, exact, t)
        before = [{k: x.clone() for k, x in {"p": p.detach(), **states(exact, p)}.items()} for p in of(exact)]
        low.step()
        exact.step()
        for p, q, old in zip(of(low), of(exact), before, strict=True):
            terms, sure = (q - old["p"]).abs() + sum(x.abs() for x in old.values()), ...
            if cls.__name__ in SIGNED:
                m = SIGNED[cls.__name__]
                sure = exact.state[q][m].abs() > 2**-20 * old.get(m, torch.zeros(())).abs()
            rounded_once(p[sure], q[sure], terms[sure])
            for k, x in states(low, p).items():
                assert x.dtype == dtype
                where = ... if k == SIGNED.get(cls.__name__) else sure
                rounded_once(x[where], exact.state[q][k][where], old.get(k, torch.zeros_like(q)).abs()[where])
        follow(low, exact)
        later(low, exact)


@torch.no_grad()
def rounded_once(x, exact, terms):
    """Assert that x is `exact` to one unit in the last place, or to float32's rounding of the terms it was made of."""
    if not x.numel():
        return
    apart = (place(x) - place(exact.to(x.dtype))).abs()
    slack = 2.0**-20 * torch.maximum(exact.abs(), terms)
    bad = (apart > 1) & ((x.double() - exact).abs() > slack)
    if x.numel() > 1000:  # and to half a unit but where it was nearly a tie: it was not cut off
        assert (apart == 0).double().mean() > 0.98
    assert not bad.any(), f"{int(apart.max())} units apart: {x[bad][0]} for {exact[bad][0]}"


def place(x):
    """The numbers of a 16-bit type, counted from zero upwards and downwards."""
    bits = x.detach().view(torch.int16).int()
    return torch.where(bits < 0, -32768 - bits, bits)


@some(2, among=COVER)
@pytest.mark.parametrize("dtype", [torch.float32, *slow(torch.float64, *LOW)], ids=str)
def test_cpu_never_falls_back_and_calls_each_kernel_once(cls, hyper, dtype):
    params = parameters([(3, 4), (5,)] * 74, dtype=dtype)
    opt = cls(params, **hyper)
    for t in range(2):
        give(params, t)
        opt.step()
    batches = opt._arranged.batches  # two for a rule that asks which tensors are vectors
    assert len(batches) == len({id(opt.compiled(opt.param_groups[0], p)) for p in params}) <= 2
    assert sum(len(batch.bound) for batch in batches) == 148
    for batch in batches:
        assert batch.backend == "llvm" and type(batch.launch) is LLVM
        assert batch.launch.calls == 2 * len(batch.compiled.plan.kernels)


@every_program
def test_steps_after_the_first_allocate_no_tensors(cls):
    params = parameters([(64, 3), (7,)])
    opt = cls(params)
    if gathers(opt) or products(opt):
        pytest.skip("torch adds up what the tensors give, or multiplies matrices")
    give(params, 0)
    opt.step()
    with torch.profiler.profile(profile_memory=True) as seen:
        opt._step()
    assert not [e.name for e in seen.events() if e.cpu_memory_usage or e.self_cpu_memory_usage]


@every_program
def test_storage_float32_keeps_the_states_of_low_types_wide(cls):
    params = parameters([(3, 5), (17,)], dtype=torch.bfloat16)
    opt = cls(params, storage="float32")
    give(params, 0)
    opt.step()
    assert all(x.dtype == torch.float32 for p in params for x in states(opt, p).values())


def test_shapes_cross_the_blocks():
    from ravine.compile.emit.llvm import ALIGN, BLOCK

    sizes = [prod(s) for s in SHAPES]
    assert {ALIGN - 1, ALIGN, ALIGN + 1, BLOCK - 1, BLOCK + 1} <= set(sizes)
