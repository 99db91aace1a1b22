"""What machine code sees of tensors, dicts and lists is what torch and Python say; without it nothing differs."""

import copy
import ctypes
import gc
import threading
import weakref

import pytest
import torch

import ravine
from ravine.compile.geometry import local
from ravine.compile.launch import ask, look
from ravine.compile.launch.llvm import LLVM
from ravine.compile.launch.look import Changed, Contents, Gradients, Places, writer


@pytest.fixture(params=[False, True], ids=["native", "python"])
def python(request, monkeypatch):
    """Asked by machine code, and in Python."""
    if request.param:
        monkeypatch.setattr(look, "native", lambda: None)
    elif ask.native() is None:
        pytest.skip("this torch has no interface that answers as expected")
    return request.param


def some():
    return [torch.randn(5, 3), torch.randn(()), torch.randn(0, 4), torch.randn(6, dtype=torch.float64)[2:]]


def params(n=3):
    return [torch.nn.Parameter(torch.randn(4)) for _ in range(n)]


def test_addresses_are_torchs(python):
    stay, change = some(), some()
    places = Places(stay, len(change), python)
    places.look(change, local)
    assert list(places.addresses) == [x.data_ptr() for x in (*stay, *change)]


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.t(),
        lambda x: x[:2],
        lambda x: x.view(torch.int32),
        lambda x: x[::2],
        lambda x: x.flatten()[None],
        torch._neg_view,
    ],
    ids=["turned", "cut", "type", "spread", "flat", "negative"],
)
def test_another_kind_at_the_same_address_is_seen(python, other):
    x = torch.randn(4, 4)
    places = Places([x], 1, python)
    assert places.look([x], local) > 1
    addresses, kinds = places.addresses[:], places.kinds[:]
    assert places.look([x], local) == 0
    assert places.look([other(x)], local) > 1
    assert places.addresses == addresses
    assert places.kinds[0] == kinds[0] and places.kinds[1] != kinds[1]


def test_a_conjugate_at_the_same_address_is_seen(python):
    x = torch.randn(3, dtype=torch.complex64)
    places = Places([x], 1, python)
    places.look([x], local)
    assert places.look([x.conj()], local) > 1


def test_a_tensor_without_memory_is_an_error(python, capfd):
    places = Places([torch.ones(2)], 1, python)
    with pytest.raises(RuntimeError):
        places.look([torch.ones(2, 2).to_sparse()], local)
    capfd.readouterr()


def test_what_stays_and_what_changes_are_told_apart(python):
    x, y = torch.ones(3), torch.zeros(3)
    places = Places([x], 1, python)
    places.look([y], local)
    assert places.look([torch.zeros(3)], local) == 1
    before = places.addresses[0]
    x.data = torch.zeros(3)
    assert places.look([y], local) > 1
    assert places.addresses[0] == x.data_ptr() != before


def test_tensors_that_are_swapped_are_seen(python):
    x, y = torch.ones(3), torch.zeros(3)
    places = Places([x], 0, python)
    places.look([], local)
    torch.utils.swap_tensors(x, y)
    del y  # and with it all that x was
    assert places.look([], local) > 1
    assert places.addresses[0] == x.data_ptr()


def test_gradients_are_torchs(python):
    ps = params()
    now = Gradients(ps)
    assert now.present() == 0 and len(now) == 3
    for p in ps[:2]:
        p.grad = torch.ones(4)
    assert now.present() == 2 and now[1] is ps[1].grad
    with pytest.raises(Changed):
        list(now)
    ps[2].square().sum().backward()
    assert now.present() == 3
    places = Places([], 3, python)
    places.look(now, local)
    assert list(places.addresses) == [p.grad.data_ptr() for p in ps]
    ps[0].grad = None
    assert now.present() == 2
    with pytest.raises(Changed):
        places.look(now, local)


def test_a_class_may_have_gradients_of_its_own():
    class Own(torch.nn.Parameter):
        grad = property(lambda self: torch.full((4,), 2.0))

    p = Own(torch.zeros(4))
    assert Gradients([p]).present() == 1
    ravine.SGD([p], lr=1.0).step()
    assert p.tolist() == [-2.0] * 4


def boxes():
    a, b, c = object(), object(), object()
    return a, {1: {1: a, 2: b}, 2: {1: c}}, [a, b]


@pytest.mark.parametrize(
    "change",
    [
        lambda x, outer, row: outer[1].update({2: x}),
        lambda x, outer, row: outer[1].update({3: x}),
        lambda x, outer, row: outer[1].pop(2),
        lambda x, outer, row: outer.update({1: dict(outer[1])}),
        lambda x, outer, row: outer.update({3: {}}),
        lambda x, outer, row: outer.pop(1),
        lambda x, outer, row: outer.clear(),
        lambda x, outer, row: row.append(x),
        lambda x, outer, row: row.pop(),
        lambda x, outer, row: row.reverse(),
    ],
)
def test_whatever_changes_in_dicts_and_lists_is_seen(python, change):
    x, outer, row = boxes()
    contents = Contents([outer, *outer.values(), row])
    assert contents.same()
    kept = copy.copy(row)
    row[:] = []
    assert not contents.same()
    row[:] = kept
    assert contents.same()
    change(x, outer, row)
    assert not contents.same()


def test_autograd_learns_what_is_written(python):
    ps = params()
    before = [p._version for p in ps]
    writer(ps)()
    assert [p._version for p in ps] == [x + 1 for x in before]
    writer([])()


def test_a_step_is_an_error_for_a_graph_that_needs_the_old_values(python):
    (p,) = params(1)
    opt = ravine.SGD([p])
    loss = p.square().sum()
    loss.backward(retain_graph=True)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_without_one_of_torchs_functions_python_asks(monkeypatch):
    for name in ask.TORCH:
        monkeypatch.setattr(ask, "TORCH", ask.TORCH | {name: "no_such_function"})
        ask.native.cache_clear()
        assert ask.native() is None
        monkeypatch.undo()
    ask.native.cache_clear()


def test_what_answers_otherwise_is_not_trusted():
    if ask.native() is None:
        pytest.skip("there is nothing to trust")
    zero = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda x: 0)
    same = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda x: x)
    asked = ["data_ptr", "dtype", "storage_size", "storage_offset", "device_type", "is_conj", "is_neg"]
    for name in [*asked, "bump_version", "grad"]:
        made = ask.Native()
        assert ask.tried(made)
        made.called[name] = ctypes.cast(same if name == "grad" else zero, ctypes.c_void_p).value
        assert not ask.tried(made), name


def test_it_is_tried_whatever_the_default_device_and_mode():
    if ask.native() is None:
        pytest.skip("there is nothing to try")
    ask.native.cache_clear()
    with torch.device("meta"), torch.inference_mode():
        assert ask.native() is not None


def test_a_long_story_is_the_same_without_machine_code(monkeypatch):
    def story():
        torch.manual_seed(0)
        ps = params(4)
        opt = ravine.AdamW([{"params": ps[:2]}, {"params": ps[2:], "lr": 0.1}])
        for i in range(12):
            for k, p in enumerate(ps):
                p.grad = None if (i + k) % 5 == 0 else torch.randn(4) * 0.1
            if i == 4:
                opt.state[ps[0]]["exp_avg"] = torch.ones(4)
            if i == 6:
                opt.state.pop(ps[1], None)
            if i == 7:
                ps[3].data = torch.zeros(4)
            if i == 8:
                opt.param_groups[0]["params"].append(opt.param_groups[1]["params"].pop())
            if i == 9:
                opt.param_groups[1]["params"] = [ps[2]]
            opt.step()
        return torch.stack([p.detach() for p in ps])

    fast = story()
    monkeypatch.setattr(look, "native", lambda: None)
    assert torch.equal(fast, story())


def test_a_gradient_that_is_new_moves_its_parameter(python):
    ps = params()
    opt = ravine.Adam(ps)
    ps[0].grad = torch.ones(4)
    opt.step()
    before = ps[1].detach().clone()
    ps[1].grad = torch.ones(4)
    opt.step()
    assert not torch.equal(ps[1], before) and ps[2] not in opt.state


def test_another_state_is_the_one_that_moves(python):
    (p,) = params(1)
    opt = ravine.Adam([p])
    p.grad = torch.ones(4)
    opt.step()
    opt.state = copy.copy(opt.state)
    opt.state[p] = {k: x.clone() for k, x in opt.state[p].items()}
    opt.step()
    assert opt.state[p]["step"] == 2


@pytest.mark.parametrize("others", [False, True])
def test_gradients_live_no_longer_than_a_step(others, monkeypatch: pytest.MonkeyPatch):
    """Where other threads run, which may take a gradient away, they live to its end."""
    (p,) = params(1)
    kernel, seen, alive = LLVM.kernel, [], []

    def during(self, k):
        kernel(self, k)
        p.grad = None
        alive.extend(x() is not None for x in seen)

    monkeypatch.setattr(LLVM, "kernel", during)
    opt, done = ravine.Adam([p]), threading.Event()
    p.grad = torch.ones(4)
    opt.step()
    p.grad = torch.ones(4)
    thread = threading.Thread(target=done.wait)
    if others:
        thread.start()
    seen.append(weakref.ref(p.grad))
    opt.step()
    done.set()
    gc.collect()
    assert alive == [others or look.threads() > others] and seen[0]() is None
    if others:
        thread.join()
