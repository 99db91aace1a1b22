"""No step reads or writes past an end of its tensors."""

import faulthandler

import pytest
import torch
from cases import ALL, SHAPES, ci, every_program, give, parameters, same_states, walk
from guard import guarded, release
from ordinary import of

from ravine.mods import ClipNorm

faulthandler.enable()  # one byte too far ends the process
STORED = {"none": {}, "bf16": {"storage": "bf16"}, "int8": {"storage": "int8"}}


def fenced(opt, at_end):
    """Put every tensor of a step beside a page that may not be touched; its values stay."""
    for p in of(opt):
        p.data = guarded(p.data, at_end)
        p.grad = guarded(p.grad, at_end)
        for x in opt.state[p].values():
            x.data = guarded(x.data, at_end)
    for batch in opt._arranged.batches:
        for between in batch.launch.between:
            for x in between.values():
                x.data = guarded(x.data, at_end)


def turned(params):
    """The same in other orders of memory: columns first, every second row, channels last."""
    for p in params:
        if p.dim() == 2:
            p.data = torch.cat([p.data, p.data])[::2].t().contiguous().t()
        elif p.dim() == 4:
            p.data = p.data.to(memory_format=torch.channels_last)
        elif p.dim() == 1 and len(p) > 16:
            p.data = torch.stack([p.data, p.data], 1)[:, 0]
    return params


def fences(cls, hyper, dtype, lie):
    shapes = [*SHAPES, (4, 3, 3, 3), (63, 65), (70, 59)]
    a = cls(lie(parameters(shapes, dtype=dtype)), **hyper)
    b = cls(lie(parameters(shapes, dtype=dtype)), **hyper)
    walk(a, 1), walk(b, 1)
    try:
        for t, at_end in enumerate((True, False), 1):
            give(of(a), t), give(of(b), t)
            fenced(a, at_end)
            a.step(), b.step()
            same_states(a, b)
    finally:
        for p in of(a):
            p.data, p.grad = torch.empty(0), None
        a.state.clear()
        del a
        release()


def no_turn(params):
    return params


@every_program
def test_no_step_leaves_its_tensors(cls):
    fences(cls, {}, torch.float32, no_turn)


@every_program
@pytest.mark.parametrize("storage", ["int8", *ci("bf16")])
def test_no_step_leaves_compressed_tensors(cls, storage):
    hyper = STORED[storage] | {"master_bits": 8 if storage == "int8" else 16}
    try:
        fences(cls, hyper, torch.bfloat16, no_turn)
    except ValueError as error:
        assert "storage" in str(error)
        pytest.skip(f"takes no such storage: {error}")


@pytest.mark.slow
@every_program
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_no_step_leaves_its_tensors_in_other_types(cls, dtype):
    fences(cls, {}, dtype, turned)


@pytest.mark.parametrize("name", ["adam", *ci("lamb", "adafactor", "sm3", "prodigy")])
def test_no_step_leaves_tensors_in_other_orders_of_memory(name):
    fences(ALL[name], {"mods": [ClipNorm(1.0)], "measured": True}, torch.float32, turned)
