"""Counts and other numbers of the host: moved in memory, written to, far, in another process; or refused."""

import pytest
import torch
from cases import ALL, equal, parameters, walk
from harm import BACKENDS, begun, cloned, in_shared_memory, swapped
from ordinary import of
from torch import nn

import ravine
from ravine.mods import EMA


def as_float32(x):
    x.data = x.data.float()


COUNTED = [cloned, in_shared_memory, swapped, as_float32]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["adam", "nadam", "prodigy"])
@pytest.mark.parametrize("change", COUNTED)
def test_counts_that_move_in_memory_go_on(change, name, backend):
    a, b = (ALL[name](parameters([(5, 3), (4,)]), backend=backend) for _ in range(2))
    walk(a, 2), walk(b, 2)
    for state in a.state.values():
        for k, x in state.items():
            if x.dim() == 0 and x.dtype == torch.float64:
                if change is as_float32 and k != "step":  # it would lose bits
                    continue
                change(x)
    walk(a, 3), walk(b, 3)
    for p, q in zip(of(a), of(b), strict=True):
        equal(p.detach(), q.detach())
        assert a.state[p]["step"] == 5


def test_a_count_is_read_where_it_was_written():
    a = begun("adam", "llvm")
    p, q = of(a)
    assert a.state[p]["step"] is a.state[q]["step"]
    a.state[p]["step"].data = torch.tensor(100.0)
    a.step()
    assert a.state[p]["step"] == 101


@pytest.mark.parametrize(
    "x", [torch.zeros(0), torch.zeros(2), torch.tensor(torch.nan), torch.tensor(-5.0), 2.5, "text"]
)
def test_a_count_that_is_none_is_refused(x):
    for name in ("adam", "prodigy"):
        opt = ALL[name](parameters([(5, 3)]))
        walk(opt, 2)
        (p,) = of(opt)
        before = p.detach().clone()
        opt.state[p]["step"] = x
        with pytest.raises(ValueError, match=r"step is .* in its state"):
            opt.step()
        equal(p.detach(), before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("begin", [2**24 - 1, 2**31 - 1, 2**32 - 1, 2**40])
def test_steps_are_counted_far(begin, backend):
    """In float32 a count stands still at 2²⁴; then every step would round with the same random bits."""
    p = nn.Parameter(torch.zeros(5000, dtype=torch.bfloat16))
    opt = ravine.SGD([p], lr=2.0**-12, master_bits=0, backend=backend)
    p.grad = torch.full_like(p, -1)
    opt.step()
    opt.state[p]["step"] = torch.tensor(float(begin), dtype=torch.float64)
    with torch.no_grad():
        p.fill_(1)
    ups = []
    for t in range(1, 4):
        with torch.no_grad():
            p.fill_(1)
        opt.step()
        assert opt.state[p]["step"] == begin + t
        ups.append(p.detach() > 1)
    assert not torch.equal(ups[0], ups[1])
    assert not torch.equal(ups[1], ups[2])


def test_an_average_goes_on_beyond_2_24():
    p = nn.Parameter(torch.zeros(4096, dtype=torch.float32))
    opt = ravine.SGD([p], lr=0.0, mods=[EMA(0.99)], storage="bf16")
    p.grad = torch.zeros_like(p)
    opt.step()
    opt.state[p]["step"] = torch.tensor(float(2**24 - 100), dtype=torch.float64)
    with torch.no_grad():
        p.fill_(1)
    for _ in range(300):
        opt.step()
    opt.eval()
    assert p.detach().mean() == pytest.approx(1 - 0.99**300, abs=2e-2)


def after(opt):
    """What an optimizer that was sent to another process makes there."""
    walk(opt, 2)
    return [p.detach().numpy() for p in of(opt)], [float(opt.state[p]["step"]) for p in of(opt)]


def answer(box, opt):
    torch.set_num_threads(1)
    box.put(after(opt))


@pytest.mark.ci
def test_an_optimizer_goes_to_another_process_and_stays_here():
    context = torch.multiprocessing.get_context("spawn")
    opt, twin = begun("adam", "llvm"), begun("adam", "llvm")
    for p in of(opt):
        p.grad = None  # torch sends no gradients
    box = context.SimpleQueue()
    other = context.Process(target=answer, args=(box, opt))
    other.start()
    found, counts = box.get()
    other.join()
    assert other.exitcode == 0
    assert counts == [4.0, 4.0]
    weights, steps = after(twin)
    assert steps == counts
    for x, y in zip(found, weights, strict=True):
        assert (x == y).all()
    walk(opt, 2)  # what torch sends lies in memory that both share, the count too: it has the steps of both
    assert opt.state[of(opt)[0]]["step"] == 6
