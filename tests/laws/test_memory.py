"""Whatever is done to the tensors of an optimizer ends in a right step or in one clear error."""

import copy
import faulthandler
import random
import threading

import pytest
import torch
from cases import ALL, SHAPES, ci, equal, every_program, give, near, parameters, same_states, values, walk
from guard import guarded, release
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

import ravine
from ravine.mods import EMA, ClipNorm

faulthandler.enable()
BACKENDS = ("llvm", "reference")
STORED = {"none": {}, "bf16": {"storage": "bf16"}, "int8": {"storage": "int8"}}


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def bits(opt):
    """A copy of all that a step may change."""
    return [(p.detach().clone(), {k: copy.deepcopy(x) for k, x in opt.state.get(p, {}).items()}) for p in of(opt)]


def same_bits(opt, before):
    for p, (weights, state) in zip(of(opt), before, strict=True):
        equal(p.detach(), weights)
        for k, x in state.items():
            equal(opt.state[p][k], x)


# nothing is read or written past an end


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


# what is done to one tensor, after two steps


def shortened(x, size):
    if x.is_shared():
        raise RuntimeError("torch itself crashes where shared memory is resized")
    x.untyped_storage().resize_(size)


def freed(x):
    shortened(x, 0)


def halved(x):
    shortened(x, x.untyped_storage().nbytes() // 2)


def freed_under_an_offset(x):
    whole = torch.cat([x.data[:3], x.data])
    x.data = whole[3:]
    whole.untyped_storage().resize_(0)


def replaced(x):
    x.data = torch.zeros(10, dtype=x.dtype)


def resized(x):
    x.resize_(10)


def given_other_memory(x):
    x.set_(torch.zeros(10, dtype=x.dtype))


def larger(x):
    x.data = torch.zeros(100, 100, dtype=x.dtype)


def expanded(x):
    x.data = x.data[:1].expand(80, 80)


def as_zeros(x):
    x.data = torch._efficientzerotensor(80, 80, dtype=x.dtype)


HARM = [freed, halved, freed_under_an_offset, replaced, resized, given_other_memory, larger, expanded, as_zeros]


def cloned(x):
    x.data = x.data.clone()


def in_shared_memory(x):
    x.share_memory_()


def under_an_offset(x):
    x.data = torch.cat([x.data[:3], x.data])[3:]


def columns_first(x):
    x.data = x.data.t().contiguous().t()


def spread(x):
    x.data = torch.stack([x.data, x.data], 1)[:, 0]


def swapped(x):
    other = x.detach().clone()
    if isinstance(x, nn.Parameter):
        other = nn.Parameter(other)
        other.grad = x.grad
    torch.utils.swap_tensors(x, other)


HARMLESS = [cloned, in_shared_memory, under_an_offset, columns_first, spread, swapped]
KINDS = {
    "adam": ("adam", {}, torch.float32),
    "clipped lamb": ("lamb", {"mods": [ClipNorm(1.0)]}, torch.float32),
    "adafactor": ("adafactor", {}, torch.float32),
    "codes": ("adamw", {"storage": "int8", "master_bits": 16}, torch.bfloat16),
}


def begun(kind, backend, seed=0):
    name, hyper, dtype = KINDS[kind]
    opt = ALL[name](parameters([(80, 80), (80, 80)], seed, dtype), backend=backend, **hyper)
    walk(opt, 2)
    give(of(opt), 2)
    return opt


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


# numbers of the host


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


# tensors that share memory


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


# sparse gradients


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


# other threads


def test_another_thread_may_exchange_gradients_within_a_step():
    opt = ravine.Adam([nn.Parameter(torch.zeros(200_000)) for _ in range(4)])
    give(of(opt), 0)
    stop = threading.Event()

    def exchange():
        while not stop.is_set():
            for p in of(opt):
                p.grad = torch.ones(200_000)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(60):
            opt.step()
    finally:
        stop.set()
        thread.join()
    for p in of(opt):  # a step of Adam is at most (1 − β₁) / √(1 − β₂) lr long, 3.2
        assert p.isfinite().all() and 0 < p.detach().abs().max() < 60 * 3.2e-3


# tensors that are something else


def test_a_parameter_may_wrap_other_tensors():
    made = {}
    for library in (torch.optim, ravine):
        a, b = values([(5, 5), (5, 5)])
        p = nn.Parameter(TwoTensor(a, b))
        opt = library.Adam([p], lr=0.1)
        for t in range(3):
            p.grad = TwoTensor(*values([(5, 5), (5, 5)], t))
            opt.step()
        assert type(opt.state[p]["exp_avg"]) is TwoTensor
        made[library] = p
    for side in "ab":
        assert (getattr(made[ravine], side) - getattr(made[torch.optim], side)).abs().max() < 1e-6


@every_program
@pytest.mark.parametrize("where", ["fake", "meta"])
def test_steps_without_memory_make_every_state(cls, where):
    """So that memory can be estimated before there is any."""
    real = cls(nn.Linear(70, 60).parameters())
    walk(real, 2)
    with FakeTensorMode() if where == "fake" else torch.device("meta"):
        fake = cls(nn.Linear(70, 60).parameters())
        for _ in range(2):
            for p in of(fake):
                p.grad = torch.ones_like(p)
            fake.step()
    for p, q in zip(of(real), of(fake), strict=True):
        found = [{k: (x.shape, x.dtype) for k, x in opt.state[x].items()} for opt, x in ((real, p), (fake, q))]
        assert found[0] == found[1]


def test_modifiers_and_codes_without_memory():
    with FakeTensorMode():
        (p,) = nn.Linear(100, 100, bias=False).parameters()
        opt = ravine.AdamW([p], mods=[ClipNorm(1.0), EMA(0.9)], storage="int8", nonfinite="skip", measured=True)
        for _ in range(2):
            p.grad = torch.ones_like(p)
            opt.step()
    assert opt.state[p]["exp_avg"].dtype == torch.int8
    assert opt.skipped == 0


# to another device


def test_states_go_to_another_device_and_their_counts_stay():
    opt = ALL["nadam"](parameters([(80, 80)]), mods=[EMA(0.9)])
    walk(opt, 2)
    (p,) = of(opt)
    keys = {k for k, x in opt.state[p].items() if x.dim()}
    assert opt.to("meta") is opt
    assert {k for k, x in opt.state[p].items() if x.is_meta} == keys
    with pytest.raises(RuntimeError, match=r"on meta; call opt.to\(\)"):
        opt.step()


def test_states_come_beside_their_parameters_with_every_bit():
    a, b = begun("clipped lamb", "llvm"), begun("clipped lamb", "llvm")
    assert a.to("cpu") is a
    assert a.to() is a
    walk(a, 2), walk(b, 2)
    same_states(a, b)


@pytest.mark.parametrize("driven", [ravine.Adam, torch.optim.Adam])
def test_a_strategy_takes_its_states_along(driven):
    (p,) = parameters([(80, 80)])
    opt = ravine.strategies.Lookahead(driven([p]), k=5)
    walk(opt, 2)
    assert opt.to("meta") is opt
    assert all(x.is_meta for x in opt.state[p].values() if isinstance(x, torch.Tensor) and x.dim())
    assert opt.optimizer.state[p]["exp_avg"].is_meta
    assert not opt.optimizer.state[p]["step"].is_meta


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
