"""Whatever is done to the tensors of an optimizer ends in a right step or in one clear error."""

import random

import pytest
import torch
from cases import ALL, ci, equal, give, near, parameters, same_states, walk
from harm import BACKENDS, HARM, HARMLESS, KINDS, as_zeros, begun, columns_first, expanded, spread, swapped
from ordinary import of
from torch import nn


def tensors(opt):
    """The tensors of the first parameter by name: itself, its gradient, its states."""
    p = of(opt)[0]
    return {"p": p, "g": p.grad} | {k: x for k, x in opt.state[p].items() if x.numel() > 80}


@pytest.mark.parametrize("backend", ["llvm", *ci("reference")])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARM)
def test_what_no_step_can_use_is_refused_before_anything_moves(harm, kind, backend):
    for name in tensors(begun(kind, backend)):
        opt = begun(kind, backend)
        x = tensors(opt)[name]
        kept = x.data.clone()
        if name == "g" and harm in (expanded, as_zeros):  # it is only read: see below
            continue
        with torch.no_grad():
            try:
                harm(x)
            except RuntimeError:  # torch itself refuses, as for a view
                continue
        others = [q for q in (*of(opt), *(s for p in of(opt) for s in opt.state[p].values())) if q is not x]
        before = [q.detach().clone() for q in others]
        for _ in range(2):  # and is not forgotten
            with pytest.raises(RuntimeError, match=r"shape|memory|expand"):
                opt.step()
        for q, was in zip(others, before, strict=True):
            equal(q.detach(), was)
        if isinstance(x, nn.Parameter):
            x.data = kept
        elif name == "g":
            of(opt)[0].grad = kept
        else:
            opt.state[of(opt)[0]][name] = kept
        opt.step()
        plain = begun(kind, backend)
        plain.step()
        same_states(opt, plain)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", HARMLESS)
def test_tensors_that_move_in_memory_make_the_same_step(change, kind, backend):
    if kind == "codes" and change in (columns_first, spread):
        pytest.skip("codes are kept in blocks of memory: another order is another rounding")
    plain = begun(kind, backend)
    plain.step()
    for name in tensors(plain).keys() - ({"g"} if change is swapped else set()):  # torch swaps no p.grad
        opt = begun(kind, backend)
        with torch.no_grad():
            change(tensors(opt)[name])
        opt.step()
        for p, q in zip(of(opt), of(plain), strict=True):
            if change in (columns_first, spread) and kind != "adam":  # sums go in the order of memory
                near(p.detach(), q.detach(), 1e-6)
            else:
                equal(p.detach(), q.detach())


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_without_memory_of_their_own_are_zeros_and_repetitions(backend):
    for make in (lambda: torch._efficientzerotensor(80, 80), lambda: torch.ones(1, 80).expand(80, 80)):
        a, b = begun("adam", backend), begun("adam", backend)
        for _ in range(3):
            of(a)[0].grad, of(b)[0].grad = make(), make().clone()
            a.step(), b.step()
            same_states(a, b)
        walk(a, 2), walk(b, 2)
        same_states(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
@pytest.mark.parametrize("where", ["in place", "exchanged"])
def test_a_state_of_another_kind_is_refused(where, dtype, backend):
    opt = begun("adam", backend)
    p, x = of(opt)[0], torch.ones(80, 80, dtype=dtype)
    before = p.detach().clone()
    if where == "in place":
        opt.state[p]["exp_avg"].data = x
    else:
        opt.state[p]["exp_avg"] = x
    with pytest.raises(RuntimeError, match="exp_avg"):
        opt.step()
    equal(p.detach(), before)


@pytest.mark.parametrize("storage", [None, "bf16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["sm3", *ci("adafactor", "adammini", "novograd")])
def test_short_states_may_be_narrow_and_are_no_codes(name, dtype, backend, storage):
    (p,) = parameters([(80, 80)], dtype=torch.bfloat16)
    opt = ALL[name]([p], backend=backend, storage=storage)
    walk(opt, 2)
    short = [k for k, x in opt.state[p].items() if x.numel() < p.numel() and k != "step"]
    assert short
    opt.state[p].update({k: opt.state[p][k].to(dtype) for k in short})
    walk(opt, 2)
    assert p.isfinite().all()
    opt.state[p][short[0]] = opt.state[p][short[0]].to(torch.int8)
    with pytest.raises(RuntimeError, match=f"{short[0]} is torch.int8"):
        opt.step()


@pytest.mark.parametrize("x", ["text", None, 3.0])
def test_a_state_that_is_no_tensor_is_refused(x):
    opt = begun("adam", "llvm")
    opt.state[of(opt)[0]]["exp_avg"] = x
    if x is None:  # as torch's checkpoints have states that were not made yet
        opt.step()
    else:
        with pytest.raises(RuntimeError, match="exp_avg is"):
            opt.step()


# all of it, at random


def disturbed(seed, steps):
    """Two optimizers make the same steps; the tensors of one are moved, harmed and mended between them."""
    draw = random.Random(seed)
    kind, backend = draw.choice(list(KINDS)), draw.choice(("llvm", "llvm", "llvm", "reference"))
    a, b = begun(kind, backend, seed), begun(kind, backend, seed)
    exact = backend == "llvm" and kind == "adam"  # sums go in the order of memory, codes in its blocks
    harmless = [x for x in HARMLESS if exact or x not in (columns_first, spread)]
    for t in range(steps):
        give(of(a), seed + t), give(of(b), seed + t)
        place = draw.randrange(2)
        p = of(a)[place]
        found = {"p": p, "g": p.grad, **{k: x for k, x in a.state[p].items() if x.numel() > 80}}
        name = draw.choice(list(found))
        x = found[name]
        with torch.no_grad():
            if draw.random() < 0.6:
                draw.choice([f for f in harmless if name != "g" or f is not swapped])(x)
            elif draw.random() < 0.5:
                kept, harm = x.data.clone(), draw.choice(HARM)
                try:
                    harm(x)
                except RuntimeError:
                    pass
                else:
                    if name != "g" or harm not in (expanded, as_zeros):
                        with pytest.raises((RuntimeError, ValueError)):
                            a.step()
                if name == "p":
                    p.data = kept
                elif name == "g":
                    p.grad = kept
                else:
                    a.state[p][name] = kept
        a.step(), b.step()
        for x, y in zip(of(a), of(b), strict=True):
            equal(x.detach(), y.detach())
    same_states(a, b)


@pytest.mark.parametrize("seed", range(12))
def test_steps_among_disturbances(seed):
    disturbed(seed, 25)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_hundred_thousand_steps_among_disturbances(seed):
    disturbed(seed, 1000)
