"""Compressors on one process: what they send, what they keep, and what they refuse."""

import copy
import doctest
import io
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import ravine.parallel.compress
from ravine.parallel.compress import PowerSGD, SignCompress, TopK

SHAPES = [(7, 6), (5,), (), (3, 4, 2), (1, 5), (0, 3), (65,)]
EACH = [lambda: TopK(0.1), SignCompress, lambda: PowerSGD(2, min_compression_rate=1.0)]
MESSAGES = EACH[:2]


def given(t: int, shapes=SHAPES, dtype=torch.float64) -> list[Tensor]:
    """Other numbers at each step t."""
    random = torch.Generator().manual_seed(t)
    return [torch.randn(s, generator=random, dtype=torch.float64).to(dtype) for s in shapes]


def near(a: Tensor, b: Tensor, bound=1e-11) -> None:
    assert a.shape == b.shape
    assert float((a.double() - b.double()).abs().max() if a.numel() else 0.0) <= bound


@pytest.mark.parametrize("name", ["compressor", "top_k", "sign", "power_sgd"])
def test_examples_run(name):
    found = doctest.testmod(sys.modules[f"ravine.parallel.compress.{name}"])
    assert found.attempted and not found.failed


@pytest.mark.parametrize("make", EACH)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_what_was_sent_and_what_is_kept_is_what_was_given(make, dtype, bound):
    compressor, sent, whole = make(), [torch.zeros(s) for s in SHAPES], [torch.zeros(s) for s in SHAPES]
    for t in range(20):
        grads = given(t, dtype=dtype)
        sent = [a + b.double() for a, b in zip(sent, compressor.all_reduce_mean(grads), strict=True)]
        whole = [a + b.double() for a, b in zip(whole, grads, strict=True)]
    for i, (a, b) in enumerate(zip(sent, whole, strict=True)):
        e = compressor.errors.get(str(i), torch.zeros(()))
        assert e.numel() in (1, a.numel())
        near(a + e.double().view(a.shape if e.numel() == a.numel() else ()), b, bound)
    assert any(bool(e.any()) for e in compressor.errors.values())  # something was kept


@pytest.mark.parametrize("make", EACH)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_of_16_bits_have_a_memory_of_32(make, dtype):
    """For TopK and the signs, so that what rounding takes away is kept as well: the sums agree to float32."""
    compressor, shapes = make(), [(16, 8), (40,)]
    sent, whole = [torch.zeros(s).double() for s in shapes], [torch.zeros(s).double() for s in shapes]
    for t in range(30):
        grads = given(t, shapes, dtype)
        means = compressor.all_reduce_mean(grads)
        assert {x.dtype for x in means} == {dtype}
        sent = [a + b.double() for a, b in zip(sent, means, strict=True)]
        whole = [a + b.double() for a, b in zip(whole, grads, strict=True)]
    assert {e.dtype for e in compressor.errors.values()} == {torch.float32}
    if isinstance(compressor, TopK):
        for i, (a, b) in enumerate(zip(sent, whole, strict=True)):
            near(a + compressor.errors[str(i)].double(), b, 1e-4)


def test_complex_tensors_are_pairs():
    x = [torch.complex(*given(3, [(4, 3), (4, 3)]))]
    for a, b in ((TopK(0.25), TopK(0.25)), (SignCompress(), SignCompress())):
        for _ in range(3):
            (mean,), (pairs,) = a.all_reduce_mean(x), b.all_reduce_mean([torch.view_as_real(x[0])])
            assert mean.dtype == torch.complex128 and torch.equal(torch.view_as_real(mean), pairs)


@pytest.mark.parametrize("make", EACH)
def test_strides_do_not_matter(make):
    a, b = make(), make()
    for t in range(3):
        (x,) = given(t, [(6, 9)])
        assert torch.equal(a.all_reduce_mean([x.t().contiguous().t()])[0], b.all_reduce_mean([x])[0])


def test_top_k_is_the_loop_of_the_paper():
    """Algorithm 1 of Stich et al. with rate 1, in NumPy."""
    compressor, e = TopK(0.1), np.zeros(65)
    for t in range(10):
        (g,) = given(t, [(65,)])
        p = e + g.numpy()
        kept = np.argsort(-np.abs(p))[:6]  # 6.5 is rounded to even
        sent = np.zeros(65)
        sent[kept] = p[kept]
        e = p - sent
        assert np.array_equal(compressor.all_reduce_mean([g])[0].numpy(), sent)


def test_signs_are_the_loop_of_the_paper():
    """Algorithm 1 of Karimireddy et al. with rate 1, in NumPy."""
    compressor, e = SignCompress(), np.zeros(65)
    for t in range(10):
        (g,) = given(t, [(65,)])
        p = e + g.numpy()
        sent = np.abs(p).mean() * np.sign(p)
        e = p - sent
        near(compressor.all_reduce_mean([g])[0], torch.from_numpy(sent))


def test_power_sgd_is_the_loop_of_the_paper():
    """Algorithm 2 of Vogels et al. with NumPy's QR, from the same Q."""
    compressor, e, q = PowerSGD(3, min_compression_rate=0.5), np.zeros((12, 9)), None
    for t in range(6):
        (g,) = given(t, [(12, 9)])
        if q is None:
            q = compressor.begun({"": g})[""].numpy()
            compressor.draws = 0
        p = e + g.numpy()
        left = np.linalg.qr(p @ np.linalg.qr(q)[0])[0]
        q = p.T @ left
        e = p - left @ q.T
        near(compressor.all_reduce_mean([g])[0], torch.from_numpy(left @ q.T))
        near(compressor.errors["0"], torch.from_numpy(e))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 1001])
def test_eight_signs_are_a_byte(n):
    x = torch.rand(n) < 0.5
    packed = ravine.parallel.compress.sign.bits(x)
    assert np.array_equal(packed.numpy(), np.packbits(x.numpy(), bitorder="little"))
    assert torch.equal(ravine.parallel.compress.sign.flags(packed, n), x)


def test_bytes():
    """One bit a number and a scale; a place and a value for a part of them; two thin matrices."""
    (x,) = given(0, [(1000, 800)], torch.float32)
    for compressor, count in ((SignCompress(), 800_000 // 8 + 4), (TopK(0.01), 8000 * 8), (PowerSGD(2), 1800 * 2 * 4)):
        compressor.all_reduce_mean([x])
        assert compressor.sent_bytes == count
    half = TopK(0.01)
    half.all_reduce_mean([x.bfloat16()])
    assert half.sent_bytes == 8000 * 6
    part = TopK(0.29)
    part.all_reduce_mean([x.view(-1)[:100]])
    assert part.sent_bytes == 29 * 8  # 0.29 · 100 is 28.999…


def test_all_of_it_is_the_tensor_itself():
    grads = given(0)
    full = PowerSGD(100, min_compression_rate=0.01)
    for _ in range(3):
        assert all(map(torch.equal, TopK(1.0).all_reduce_mean(grads), grads))
        for a, b in zip(full.all_reduce_mean(grads), grads, strict=True):
            near(a, b)
    assert len(full.errors) == 3  # of the matrices with numbers


def test_zeros_stay_zeros():
    for make in EACH:
        (mean,) = make().all_reduce_mean([torch.zeros(16, 8)])
        assert torch.equal(mean, torch.zeros(16, 8))


def test_signs_alone_go_the_wrong_way_and_with_the_memory_the_right_one():
    """Counterexample 1 of Karimireddy et al.: x/4 on [-1, 1], with gradients 4 (one time in four) and -1."""
    draws = torch.where(torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.25, 4.0, -1.0).double()
    assert float(draws.mean()) > 0.15
    ends = {}
    for compressor in (SignCompress(vote=True), SignCompress(), TopK()):
        x = torch.zeros(1).double()
        for g in draws:
            x = (x - 0.02 * compressor.all_reduce_mean([g.view(1)])[0]).clamp_(-1, 1)
        ends[repr(compressor)] = float(x)
    assert ends["SignCompress(vote=True)"] > 0.9 and ends["SignCompress(vote=False)"] < -0.8, ends


def test_signs_alone_stay_on_a_line_and_with_the_memory_leave_it():
    """Counterexample 2: ε|x₁ + x₂| + |x₁ − x₂| from (1, 1), where every sign is ±(1, −1): x₁ + x₂ stays 2."""
    eps, ends = 0.5, {}
    for vote in (True, False):
        compressor, x = SignCompress(vote=vote), torch.tensor([1.0, 1.0]).double()
        for t in range(400):
            plus, minus = torch.tensor([1.0, 1.0]).double(), torch.tensor([1.0, -1.0]).double()
            g = eps * (1.0 if x.sum() >= 0 else -1.0) * plus + (1.0 if x[0] >= x[1] else -1.0) * minus
            x = x - 0.3 / math.sqrt(t + 10) * compressor.all_reduce_mean([g])[0]
        ends[vote] = float(eps * x.sum().abs() + (x[0] - x[1]).abs())
    assert ends[True] >= 2 * eps - 1e-9 and ends[False] < 0.1, ends


@pytest.mark.parametrize("make", EACH)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_leaves_no_trace(make, bad):
    a, b = make(), make()
    shapes = [(16, 8), (40,)]
    for t in range(6):
        if t in (0, 3):  # before there is a memory, and after
            grads = given(100 + t, shapes)
            grads[0][3, 2] = bad
            before = copy.deepcopy(a.errors)
            (mean, other) = a.all_reduce_mean(grads)
            assert not mean.isfinite().all() and other.isfinite().all()
            assert a.errors.keys() == before.keys()
            assert all(torch.equal(e, before[k]) for k, e in a.errors.items())
        for x, y in zip(a.all_reduce_mean(given(t, shapes)), b.all_reduce_mean(given(t, shapes)), strict=True):
            assert torch.equal(x, y) and x.isfinite().all()


def test_a_vote_with_a_nan_is_nan():
    mean, other = SignCompress(vote=True).all_reduce_mean([torch.tensor([1.0, math.nan]), torch.ones(2)])
    assert mean.isnan().all() and torch.equal(other, torch.ones(2))


def test_more_that_is_infinite_than_k():
    mean = TopK(0.01).all_reduce_mean([torch.full((300,), math.inf)])[0]
    assert int(mean.isinf().sum()) == 3 and int((mean == 0).sum()) == 297


@pytest.mark.parametrize("make", EACH)
def test_a_saved_memory_goes_on_bit_for_bit(make):
    a, file = make(), io.BytesIO()
    for t in range(4):
        a.all_reduce_mean(given(t))
    torch.save(a.state_dict(), file)
    file.seek(0)
    b = make()
    b.load_state_dict(torch.load(file, weights_only=True))
    for t in range(4, 8):
        for x, y in zip(a.all_reduce_mean(given(t)), b.all_reduce_mean(given(t)), strict=True):
            assert torch.equal(x, y)
    saved = a.state_dict()
    a.all_reduce_mean(given(9))
    a.load_state_dict(saved)  # what was saved is not changed by what came after
    assert all(torch.equal(e, b.errors[k]) for k, e in a.errors.items())
    a.rescale(2.0)
    assert all(torch.equal(e, b.errors[k]) for k, e in saved["errors"].items())


@pytest.mark.parametrize("make", EACH)
def test_types_may_differ_in_a_list(make):
    a, b, c = make(), make(), make()
    for t in range(3):
        (x,), (y,) = given(t, [(16, 8)]), given(t + 9, [(16, 8)], torch.float32)
        mixed = a.all_reduce_mean([x, y])
        assert [m.dtype for m in mixed] == [torch.float64, torch.float32]
        assert torch.equal(mixed[0], b.all_reduce_mean([x])[0])
        if make in MESSAGES:  # PowerSGD draws the second Q after the first
            assert torch.equal(mixed[1], c.all_reduce_mean([y])[0])


@pytest.mark.parametrize("make", EACH)
def test_a_memory_of_other_processes_is_forgotten_with_a_warning(make):
    a = make()
    a.all_reduce_mean(given(0))
    for place in ({"world": 3}, {"rank": 1, "world": 2}):
        b = make()
        b.load_state_dict(a.state_dict() | place)
        with pytest.warns(UserWarning, match="saved by rank . of ., and this is rank 0 of 1; it begins empty"):
            b.all_reduce_mean(given(1))
        with pytest.warns(UserWarning, match="begins empty"):  # at once, where it is known
            b.load_state_dict(a.state_dict() | place)
        assert not b.errors
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            b.all_reduce_mean(given(1))


@pytest.mark.parametrize("make", EACH)
def test_what_is_no_state_dict_changes_nothing(make):
    a = make()
    a.all_reduce_mean(given(0))
    saved = a.state_dict()
    kept = copy.deepcopy(saved)
    nan = {"0": torch.full((7, 6), math.nan)}
    for wrong in (
        *(
            None,
            {},
            {"rank": 0},
            saved | {"more": 1},
            saved | {"rank": -1},
            saved | {"world": 0},
            saved | {"rank": 1.5},
        ),
        *(saved | {"errors": x} for x in (3, {"0": 1.0}, {0: torch.ones(2)}, {"0": torch.ones(2, dtype=int)}, nan)),
    ):
        with pytest.raises(ValueError, match=type(a).__name__):
            a.load_state_dict(wrong)  # pyright: ignore
        assert all(torch.equal(e, kept["errors"][k]) for k, e in a.errors.items())
    for k in ("seed", "draws", "iter") if isinstance(a, PowerSGD) else ():
        with pytest.raises(ValueError, match=f"PowerSGD: {k} is -1"):
            a.load_state_dict(saved | {k: -1})
    with pytest.raises(ValueError, match="state_dict of"):
        (TopK() if isinstance(a, PowerSGD) else PowerSGD()).load_state_dict(saved)


@pytest.mark.parametrize("make", EACH)
def test_bad_tensors_are_refused_before_anything_changes(make):
    a = make()
    a.all_reduce_mean([torch.ones(16, 8), torch.ones(3)])
    kept, sent = copy.deepcopy(a.errors), a.sent_bytes
    for x, error, words in (
        (torch.eye(8).to_sparse(), TypeError, "sparse"),
        (torch.ones(3, dtype=torch.int64), TypeError, "floating-point"),
        (3.0, TypeError, "must be a tensor"),
        (torch.ones(15, 8), ValueError, "key="),
        (torch.ones(16, 8).double(), ValueError, "key="),
    ):
        with pytest.raises(error, match=words):
            a.all_reduce_mean([x, torch.ones(3)])  # pyright: ignore
        assert a.sent_bytes == sent and all(torch.equal(e, kept[k]) for k, e in a.errors.items())
    assert a.all_reduce_mean([]) == []
    with pytest.raises(TypeError, match="DistributedDataParallel"):
        a.ddp_hook(torch.nn.Linear(2, 2))  # pyright: ignore
    with pytest.raises(ValueError, match="not initialized"):
        a.all_reduce_mean([torch.ones(16, 8), torch.ones(3)], object())  # pyright: ignore


def test_power_sgd_takes_no_complex_matrix():
    with pytest.raises(TypeError, match="not complex"):
        PowerSGD().all_reduce_mean([torch.ones(16, 8, dtype=torch.complex64)])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: TopK(0.0), ValueError),
        (lambda: TopK(1.1), ValueError),
        (lambda: TopK(math.nan), ValueError),
        (lambda: TopK("x"), TypeError),
        (lambda: SignCompress(vote=1), TypeError),
        (lambda: PowerSGD(0), ValueError),
        (lambda: PowerSGD(1.5), TypeError),
        (lambda: PowerSGD(min_compression_rate=0.0), ValueError),
        (lambda: PowerSGD(seed=-1), ValueError),
        (lambda: PowerSGD(seed=2**32), ValueError),
    ],
)
def test_bad_arguments_are_named(make, error):
    with pytest.raises(error, match=r"(TopK|SignCompress|PowerSGD): (ratio|vote|rank|min_compression_rate|seed)"):
        make()


@pytest.mark.parametrize("make", EACH)
def test_lists_with_a_key_have_memories_of_their_own(make):
    a, b, c = make(), make(), make()
    for t in range(4):
        x, y = given(t, [(16, 8)]), given(50 + t, [(16, 8)])
        assert torch.equal(a.all_reduce_mean(x, key="x.")[0], b.all_reduce_mean(x)[0])
        near(a.all_reduce_mean(y, key="y.")[0], c.all_reduce_mean(y)[0], 1e-11 if make in MESSAGES else math.inf)


def test_rescale_and_reset():
    for make in EACH:
        a = make()
        a.all_reduce_mean(given(0))
        before = copy.deepcopy(a.errors)
        a.rescale(0.5)
        assert all(torch.equal(e, before[k] / 2) for k, e in a.errors.items())
        a.reset()
        assert not a.errors
        b = make()
        if not isinstance(a, PowerSGD):
            assert all(map(torch.equal, a.all_reduce_mean(given(1)), b.all_reduce_mean(given(1))))
