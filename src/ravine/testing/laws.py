"""The laws, a function each: its first sentence is the law. It raises AssertionError with what is broken, LeftOut where
it says nothing of a rule, Reminder where something is to be done."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch

from ravine.compile.plan import Matrix
from ravine.compile.trace import inputs
from ravine.mods import EMA, ClipNorm, DecoupledDecay
from ravine.optimizer import Optimizer
from ravine.testing.subject import SHAPES, LeftOut, Reminder, Subject, kept
from ravine.testing.tensors import at, equal, finite, near, of, parameters, values

Law = Callable[[Subject], None]


def can_be_read(s: Subject) -> None:
    """Its equations can be written down, and its plan."""
    s.rule.equations(**s.hyper)
    s.opened().explain()


def says_what_it_is(s: Subject) -> None:
    """Its docstring has a sentence, the equations and the paper."""
    text = vars(s.rule).get("__doc__") or ""
    lines = text.splitlines()
    missing = [
        what
        for what, there in {
            "a sentence of meaning": bool(text.strip()),
            "the equations, as `p ← p − lr g`": any("←" in line for line in lines),
            "the paper, with its address or in papers = (…,)": "http" in text or bool(s.rule.papers),
        }.items()
        if not there
    ]
    if missing:
        raise Reminder(f"add {'; '.join(missing)}")


def all_finite(opt: Optimizer) -> None:
    """Assert that weights and states have no NaN and no infinity."""
    for name, x in kept(opt):
        if x.is_floating_point() or x.is_complex():
            with at(name):
                finite(x)


def the_same(a: Optimizer, b: Optimizer, tolerance: float = 0.0) -> None:
    """Assert that two optimizers hold the same, bit for bit or nearly."""
    for (name, x), (other, y) in zip(kept(a), kept(b), strict=True):
        with at(name):
            assert name == other, f"the other has {other}"
            near(x, y, tolerance) if tolerance else equal(x, y)


def by_torch(opt: Optimizer) -> bool:
    """True where torch multiplies matrices: its last bits depend on how many it is given at once."""
    return any(isinstance(phase, Matrix) for phase in opt.compiled(opt.param_groups[0]).plan.phases)


# one step, whoever computes it


def like_the_interpreter(s: Subject, backend: str, dtype: torch.dtype, **more: Any) -> None:
    """Assert that a step of this backend is the interpreter's, from the same weights and states, three times."""
    device = "cuda" if backend == "triton" else "cpu"
    params = [torch.nn.Parameter(p.detach().to(device)) for p in parameters(SHAPES, dtype=dtype)]
    fast, exact = s.over(params, backend=backend, **more), s.opened(dtype=dtype, backend="reference", **more)
    matrices = by_torch(fast)
    tolerance = (1e-9 if matrices else 1e-12) if dtype == torch.float64 else 1e-3 if matrices else 4e-6
    for t in range(3):
        before = [x.clone() for _, x in kept(exact)]
        s.step(fast, t)
        s.step(exact, t)
        old = before if len(before) == len(list(kept(exact))) else [x for _, x in kept(exact)]
        for (name, x), (_, y), was in zip(kept(fast), kept(exact), old, strict=True):
            with at(f"{backend} in {dtype}, step {t + 1}, {name}"):
                near(x.cpu(), y, tolerance, was)
        exact.load_state_dict(fast.state_dict())
        with torch.no_grad():
            for p, q in zip(of(fast), of(exact), strict=True):
                q.copy_(p)


def on_llvm(s: Subject) -> None:
    """On llvm a step is the interpreter's, in float64 and float32."""
    like_the_interpreter(s, "llvm", torch.float64)
    like_the_interpreter(s, "llvm", torch.float32)


def on_triton(s: Subject) -> None:
    """On triton a step is the interpreter's, in float32."""
    if not torch.cuda.is_available():
        raise LeftOut("there is no GPU here")
    like_the_interpreter(s, "triton", torch.float32)


# what is saved, copied, stored


def goes_on(s: Subject, opt: Optimizer, again: Optimizer, how: str) -> None:
    """Assert that two optimizers that hold the same make the same steps."""
    for other in (opt, again):
        s.walk(other, 2, first=10)
    with at(f"two steps after {how}"):
        the_same(opt, again)


def round_trip(s: Subject, opt: Optimizer, **more: Any) -> None:
    """Assert that an optimizer that has loaded this one's file goes on as it does."""
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    again = s.over([torch.nn.Parameter(p.detach().clone()) for p in of(opt)], **more)
    again.load_state_dict(torch.load(file, weights_only=True))
    goes_on(s, opt, again, "loading")


def survives_a_checkpoint(s: Subject) -> None:
    """A saved and loaded state goes on bit for bit."""
    round_trip(s, s.walk(s.opened(), 2))


def can_be_copied(s: Subject) -> None:
    """A deep copy goes on bit for bit."""
    opt = s.walk(s.opened(), 2)
    goes_on(s, opt, deepcopy(opt), "deepcopy")


def can_be_pickled(s: Subject) -> None:
    """A pickled optimizer goes on bit for bit."""
    if getattr(sys.modules.get(s.rule.__module__), s.rule.__qualname__, None) is not s.rule:
        raise LeftOut("the class stands within a function, where pickle cannot find it")
    opt = s.walk(s.opened(), 2)
    goes_on(s, opt, pickle.loads(pickle.dumps(opt)), "pickle")


def stored(s: Subject, shapes: Any, dtype: torch.dtype, **how: Any) -> None:
    """Assert that weights and states that are stored so stay finite, and go on from a checkpoint bit for bit."""
    try:
        opt = s.opened(shapes, dtype, **how)
        opt.compiled(opt.param_groups[0])
    except ValueError as error:
        raise LeftOut(str(error)) from None
    s.walk(opt, 3)
    all_finite(opt)
    round_trip(s, opt, **how)


def in_bfloat16(s: Subject) -> None:
    """bfloat16 weights, and states of theirs, stay finite."""
    stored(s, SHAPES, torch.bfloat16)


def with_master_bits(s: Subject) -> None:
    """bfloat16 weights with 16 bits beside them stay finite, and are saved with them."""
    stored(s, SHAPES, torch.bfloat16, master_bits=16)


def with_bf16_states(s: Subject) -> None:
    """States in bfloat16 stay finite, and are saved as they are."""
    stored(s, SHAPES, torch.float32, storage="bf16")


def with_int8_states(s: Subject) -> None:
    """States in 8-bit codes stay finite, and are saved as they are."""
    stored(s, [(4097,), (64, 70), (3,)], torch.float32, storage="int8")


# odd tensors, odd gradients


def in_any_order_of_memory(s: Subject) -> None:
    """A tensor that lies in another order of memory moves as it does in the usual one."""
    shape = (4, 5, 3)
    plain, odd = parameters([shape]), parameters([(3, 5, 4)])
    odd[0].data = plain[0].detach().clone().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    a, b = s.over(plain), s.over(odd)
    for t in range(3):
        (g,) = values([shape], t)
        plain[0].grad, odd[0].grad = g, g.permute(1, 0, 2).contiguous().permute(1, 0, 2)
        s.go(a, t)
        s.go(b, t)
    assert not odd[0].is_contiguous()
    the_same(a, b, 1e-5)


def of_any_size(s: Subject) -> None:
    """Tensors of no element and of one stay finite."""
    shapes = [(), (0,), (1,), (0, 3), (3, 0), (1, 1)]
    opt = s.walk(s.opened(shapes), 3)
    for name, x in kept(opt):
        if not any(f"shape {shape}" in name for shape in shapes if 0 in shape):  # a mean over nothing may be NaN
            with at(name):
                finite(x)


def zero_gradients(s: Subject) -> None:
    """Gradients of zeros leave all finite."""
    opt = s.walk(s.opened(), 3, scale=0.0)
    all_finite(opt)
    all_finite(s.walk(opt, 2, first=3))


def dead_rows_and_columns(s: Subject) -> None:
    """A row and a column whose gradient is always zero, as behind a dead ReLU, leave all finite."""
    opt = s.opened([(3, 4)])
    for t, (g,) in enumerate(values([(3, 4)], t) for t in range(3)):
        g[1] = g[:, 2] = 0
        of(opt)[0].grad = g
        s.go(opt, t)
    all_finite(opt)


def zero_weights(s: Subject) -> None:
    """Weights of zeros stay finite."""
    all_finite(s.walk(s.over([torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.zeros(3, 2))]), 3))


def nan_is_seen(s: Subject) -> None:
    """A NaN in a gradient shows in a weight or a state."""
    opt = s.walk(s.opened([(40,)]), 2)
    (g,) = values([(40,)], 2)
    g[17] = torch.nan
    of(opt)[0].grad = g
    s.go(opt, 2)
    seen = any(not x.isfinite().all() for _, x in kept(opt))
    assert seen, "it leaves no trace, as where(g > 0, 1, -1) does; sign() and maximum() let a NaN through"


def skips_what_is_not_finite(s: Subject) -> None:
    """nonfinite="skip" leaves weights and states as they are, bit for bit."""
    opt, same = (s.walk(s.opened(nonfinite="skip"), 2) for _ in range(2))
    for p, g in zip(of(opt), values(SHAPES, 2), strict=True):
        p.grad = g
    of(opt)[2].grad[1, 3] = torch.inf  # pyright: ignore[reportOptionalSubscript]
    s.go(opt, 2)
    assert opt.skipped == 1, f"{opt.skipped} steps were skipped, and not 1"
    for (name, x), (_, y) in zip(kept(opt), kept(same), strict=True):
        if name.split("'")[1:2] not in [[k] for k in inputs(s.rule)]:  # what it was given is there
            with at(name):
                equal(x, y)


def gradients_stay(s: Subject) -> None:
    """Gradients are never written to."""
    opt = s.opened(maximize=True)
    for t in range(2):
        s.step(opt, t)
        for p, g in zip(of(opt), values(SHAPES, 1000 + t), strict=True):
            with at(f"the gradient of shape {tuple(p.shape)}"):
                equal(p.grad, g)  # pyright: ignore[reportArgumentType]


def without_a_gradient(s: Subject) -> None:
    """A parameter that has no gradient stays where it is."""
    opt = s.opened()
    first = of(opt)[1].detach().clone()
    for t in range(2):
        for i, (p, g) in enumerate(zip(of(opt), values(SHAPES, t), strict=True)):
            p.grad = None if i == 1 else g
        s.go(opt, t)
    equal(of(opt)[1].detach(), first)


# options that every rule has


def maximizes(s: Subject) -> None:
    """maximize=True with −g is the same as without it with g, bit for bit."""
    up = s.opened(maximize=True)
    for t in range(3):
        for p, g in zip(of(up), values(SHAPES, 1000 + t), strict=True):
            p.grad = -g
        s.go(up, t)
    for name in s.rule.turned:  # what it was given is turned round
        for p in of(up):
            up.state[p][name].neg_()
    the_same(up, s.walk(s.opened(), 3))


def takes_lr_as_a_tensor(s: Subject) -> None:
    """lr as a tensor is lr as a number, bit for bit."""
    lr = float(s.opened().defaults["lr"])
    tensor, number = s.opened(lr=torch.tensor(lr, dtype=torch.float64)), s.opened(lr=lr)
    the_same(s.walk(tensor, 3), s.walk(number, 3))


def has_groups(s: Subject) -> None:
    """Groups with rates of their own move as optimizers of their own."""
    plan = (opt := s.opened()).compiled(opt.param_groups[0]).plan
    if plan.gathers or any(x.arg == "shared" for x in plan.start.values()):
        raise LeftOut("its step looks at all parameters together")
    lr = float(opt.defaults["lr"])
    a, b = parameters(SHAPES), parameters(SHAPES, seed=1)
    c, d = parameters(SHAPES), parameters(SHAPES, seed=1)
    both = s.over([{"params": a}, {"params": b, "lr": lr / 2}])
    one, other = s.over(c), s.over(d, lr=lr / 2)
    for t in range(3):
        for p, g in zip([*a, *b, *c, *d], [*values(SHAPES, t), *values(SHAPES, t)] * 2, strict=True):
            p.grad = g
        for opt in (both, one, other):
            s.go(opt, t)
    for x, y in zip([*a, *b], [*c, *d], strict=True):
        with at(f"a parameter of shape {tuple(x.shape)}"):
            near(x.detach(), y.detach(), 1e-5) if by_torch(both) else equal(x.detach(), y.detach())


def wears_modifiers(s: Subject) -> None:
    """It wears ClipNorm, DecoupledDecay and EMA; eval() and train() bring the weights back bit for bit."""
    opt = s.walk(s.opened(mods=[ClipNorm(1.0), DecoupledDecay(0.01), EMA(0.9)]), 3)
    all_finite(opt)
    before = [p.detach().clone() for p in of(opt)]
    opt.eval()
    opt.train()
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)


def in_shards(s: Subject) -> None:
    """Distributed tensors move as ordinary ones do (here over one process)."""
    if not torch.distributed.is_available() or torch.distributed.is_initialized():
        raise LeftOut("there are no processes to be had")
    if inputs(s.rule):
        raise LeftOut("its inputs would have to be distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    shapes, store = [(7,), (6, 5)], torch.distributed.HashStore  # pyright: ignore[reportPrivateImportUsage]
    torch.distributed.init_process_group("gloo", store=store(), rank=0, world_size=1)
    try:
        put = partial(distribute_tensor, device_mesh=init_device_mesh("cpu", (1,)), placements=[Shard(0)])
        there = [torch.nn.Parameter(put(x)) for x in values(shapes)]
        a, b = s.over(there), s.opened(shapes)
        for t in range(3):
            for p, q, g in zip(there, of(b), values(shapes, t), strict=True):
                p.grad, q.grad = put(g), g
            s.go(a, t)
            s.go(b, t)
        for p, q in zip(there, of(b), strict=True):
            near(p.detach().full_tensor(), q.detach(), 1e-6)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    finally:
        torch.distributed.destroy_process_group()


LAWS: tuple[Law, ...] = (
    can_be_read,
    on_llvm,
    on_triton,
    zero_gradients,
    dead_rows_and_columns,
    zero_weights,
    of_any_size,
    in_any_order_of_memory,
    nan_is_seen,
    skips_what_is_not_finite,
    gradients_stay,
    without_a_gradient,
    maximizes,
    takes_lr_as_a_tensor,
    has_groups,
    wears_modifiers,
    survives_a_checkpoint,
    can_be_copied,
    can_be_pickled,
    in_bfloat16,
    with_master_bits,
    with_bf16_states,
    with_int8_states,
    in_shards,
    says_what_it_is,
)
