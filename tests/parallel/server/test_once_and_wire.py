"""Sequence numbers that were seen, and tensors on the wire."""

import pickle
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ravine.parallel.server.message import Failed, Pull, Push, Reply
from ravine.parallel.server.once import Once
from ravine.parallel.server.wire import packed, unpacked


@given(st.lists(st.integers(1, 12), max_size=40))
def test_once_is_a_set_of_numbers(numbers):
    once, seen = Once(), set()
    for x in numbers:
        assert (x in once) == (x in seen)
        once.add(x)
        seen.add(x)
    assert all((x in once) == (x in seen) for x in range(1, 14))
    assert len(once.above) == len([x for x in seen if x > once.floor]) and once.floor + 1 not in once.above


def test_numbers_in_any_order_leave_no_set():
    order = list(range(1, 200))
    random.Random(0).shuffle(order)
    once = Once()
    for x in order:
        once.add(x)
    assert (once.floor, once.above) == (199, set())


def test_what_is_settled_is_seen_and_not_kept():
    once = Once()
    for x in (1, 5, 7):
        once.add(x)
    once.settle(4)
    assert (once.floor, once.above) == (5, {7}) and 3 in once and 6 not in once
    once.settle(2)
    assert once.floor == 5


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)], ids=str)
def test_a_tensor_comes_out_as_it_went_in(dtype, shape):
    x = torch.randn(shape).to(dtype)
    sent = pickle.loads(pickle.dumps(packed(Push(0, 1, 1, 0, [x]))))
    (y,) = unpacked(sent, [dtype]).tensors
    assert (
        y.dtype == dtype
        and y.shape == x.shape
        and torch.equal(y.view(torch.uint8) if shape else y, x.view(torch.uint8) if shape else x)
    )


def test_what_is_not_in_one_piece_and_what_cannot_be_written_to():
    x = torch.arange(6.0).reshape(2, 3).T
    reply = packed(Reply("read", 1, 0, 0, [x]))
    reply.tensors[0].flags.writeable = False
    (y,) = unpacked(reply, [torch.float32]).tensors
    y.add_(1)
    assert torch.equal(y - 1, x)


def test_messages_without_tensors_are_as_they_are():
    for x in (Pull(0), Failed("why"), Reply("left", 1, 0, 0), {"any": 1}):
        assert packed(x) is x and unpacked(x, []) is x
