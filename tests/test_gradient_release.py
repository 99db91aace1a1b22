"""ravine.release: what is freed, what accumulates, whose sums are used, and what is refused."""

import copy
import gc
import io
import itertools
import weakref
from functools import partial

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import ravine
from ravine.mods import EMA, ClipNorm, GradientNoise
from ravine.optimizer.release import added

WIDTH = 8


def mlp(depth=3, width=WIDTH, seed=0):
    torch.manual_seed(seed)
    layers = [[torch.nn.Linear(width, width), torch.nn.Tanh()] for _ in range(depth)]
    return torch.nn.Sequential(*itertools.chain.from_iterable(layers))


def batch(t, width=WIDTH):
    return torch.randn(5, width, generator=torch.Generator().manual_seed(t))


def loss_of(model, t):
    return model(batch(t)).square().sum()


def same(a, b):
    """Assert that two models hold the same bits."""
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q), (p - q).abs().max()


def two(make=ravine.AdamW, exact=False, **hyper):
    """A model and its ordinary optimizer, the same released, and what release() returned."""
    plain, model = mlp(), mlp()
    a, b = make(plain.parameters(), **hyper), make(model.parameters(), **hyper)
    return plain, a, model, b, ravine.release(model, b, exact=exact)


# memory


class Watch(TorchDispatchMode):
    """Counts the bytes that are alive of all that torch makes, at the moment when they are most."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        old = [StorageWeakRef(x.untyped_storage()) for x in tree_leaves(args) if isinstance(x, torch.Tensor)]
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and (made := StorageWeakRef(x.untyped_storage())) not in old:
                self.alive[made] = x.untyped_storage().nbytes()
        self.alive = {x: size for x, size in self.alive.items() if not x.expired()}
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def peak(model, opt, released, t):
    """The most bytes that are alive of what a backward and a step make, in units of all gradients together."""
    loss = model(batch(t, 64)).square().sum()
    with Watch() as watch:
        if released and released.exact:
            released.measure(loss)
        loss.backward()
        opt.step()
    opt.zero_grad()
    return watch.peak / sum(p.numel() * p.element_size() for p in model.parameters())


@pytest.mark.parametrize("exact", [False, True])
def test_gradients_are_never_all_alive(exact):
    model = mlp(depth=40, width=64)
    opt = ravine.AdamW(model.parameters(), mods=[ClipNorm(1.0)])
    assert [peak(model, opt, None, t) > 1 for t in range(2)] == [True, True]
    released = ravine.release(model, opt, exact=exact)
    later = [peak(model, opt, released, t) for t in range(2, 5)]
    assert max(later) < 2 / 40, later  # the gradients of less than two layers out of forty


# the loop


def test_an_unchanged_loop_makes_the_same_steps():
    plain, a, model, b, _ = two()
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(x, 5) for x in (a, b)]
    for t in range(5):
        for x, opt, schedule in ((plain, a, schedules[0]), (model, b, schedules[1])):
            opt.zero_grad()
            loss_of(x, t).backward()
            opt.step()
            schedule.step()
        same(plain, model)
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]


def test_step_may_be_left_out():
    plain, a, model, b, _ = two()
    schedule, ordinary = (torch.optim.lr_scheduler.StepLR(x, 2) for x in (b, a))
    for t in range(5):
        loss_of(plain, t).backward()
        a.step()
        a.zero_grad()
        ordinary.step()
        loss_of(model, t).backward()
        schedule.step()
    same(plain, model)


def test_a_closure():
    plain, a, model, b, _ = two()
    for t in range(3):
        for x, opt in ((plain, a), (model, b)):

            def closure(x=x, opt=opt, t=t):
                opt.zero_grad()
                loss = loss_of(x, t)
                loss.backward()
                return loss

            last = opt.step(closure)
        assert last is not None
        same(plain, model)


def test_hooks_of_step_run():
    _, _, model, opt, _ = two()
    seen = []
    opt.register_step_pre_hook(lambda *_: seen.append("before"))
    opt.register_step_post_hook(lambda *_: seen.append("after"))
    loss_of(model, 0).backward()
    opt.step()
    assert seen == ["before", "after"]


@pytest.mark.parametrize("last", [True, False], ids=["the last steps", "step() steps"])
def test_accumulated_gradients(last):
    plain, a, model, b, released = two()
    for t in range(3):
        for k in range(4):
            loss_of(plain, 10 * t + k).backward()
            if last and k == 3:
                loss_of(model, 10 * t + k).backward()
            else:
                with released.accumulate():
                    loss_of(model, 10 * t + k).backward()
                for p, q in zip(plain.parameters(), model.parameters(), strict=True):
                    assert torch.equal(p.grad, q.grad)
        assert all((p.grad is None) == last for p in model.parameters())
        for opt in (a, b):
            opt.step()
            opt.zero_grad()
        same(plain, model)


@pytest.mark.parametrize("exact", [False, True])
def test_step_moves_what_the_last_backward_has_not_reached(exact):
    plain, a, model, b, released = two(exact=exact, mods=[ClipNorm(0.1)] if exact else ())
    for t in range(3):
        loss_of(plain, t).backward()
        loss_of(plain[:4], t + 10).backward()
        with released.accumulate():
            loss_of(model, t).backward()
        loss = loss_of(model[:4], t + 10)
        if exact:
            released.measure(loss)
        loss.backward()
        assert [p.grad is None for p in model.parameters()] == [True] * 4 + [False] * 2
        for opt in (a, b):
            opt.step()
            opt.zero_grad()
        same(plain, model)


def test_accumulate_ends_with_an_exception():
    _, _, model, _, released = two()
    with pytest.raises(ZeroDivisionError), released.accumulate():
        _ = 1 / 0
    loss_of(model, 0).backward()
    assert all(p.grad is None for p in model.parameters())


def test_groups_shared_weights_and_embeddings():
    def make():
        torch.manual_seed(0)
        table = torch.nn.Embedding(10, WIDTH)
        head = torch.nn.Linear(WIDTH, 10, bias=False)
        head.weight = table.weight
        return torch.nn.Sequential(table, torch.nn.Linear(WIDTH, WIDTH), torch.nn.LayerNorm(WIDTH), head)

    models = make(), make()
    opts = [ravine.AdamW(ravine.groups.no_decay(x, 0.1), lr=0.1) for x in models]
    ravine.release(models[1], opts[1])
    for t in range(3):
        for x, opt in zip(models, opts, strict=True):
            x(torch.arange(t, t + 5)).square().sum().backward()
            opt.step()
            opt.zero_grad()
        same(*models)


def test_sparse_gradients():
    models = [torch.nn.Embedding(10, 3, sparse=True) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    opts = [ravine.SparseAdam(x.parameters(), lr=0.1) for x in models]
    released = ravine.release(models[1], opts[1])
    for t in range(4):
        for x, opt in zip(models, opts, strict=True):
            if t == 3:
                with released.accumulate():
                    x(torch.tensor([1, 1, 9])).sum().backward()
            x(torch.tensor([t, 2, t + 4])).square().sum().backward()
            opt.step()
            opt.zero_grad()
        same(*models)


def test_tensors_that_do_not_lie_flat():
    def make():
        p = torch.nn.Parameter(torch.linspace(-1, 1, 48).reshape(6, 8)[:, ::2])
        return torch.nn.ParameterList([p, torch.nn.Parameter(torch.ones(3))])

    weights = torch.randn(6, 4)
    models = make(), make()
    opts = [ravine.AdamW(x.parameters(), lr=0.1, mods=[ClipNorm(0.1)]) for x in models]
    released = ravine.release(models[1], opts[1], exact=True)
    for t in range(3):
        for x, opt in zip(models, opts, strict=True):
            loss = ((x[0] * weights + t) ** 3).sum() + x[1].square().sum()
            if x is models[1]:
                released.measure(loss)
                released.measure(loss)  # once more changes nothing
            loss.backward()
            opt.step()
            opt.zero_grad()
        same(*models)


# parameters that come and go


def test_a_frozen_parameter_is_released_when_it_is_unfrozen():
    plain, model = mlp(), mlp()
    for x in (plain, model):
        x[0].requires_grad_(False)
    a, b = ravine.AdamW(plain.parameters()), ravine.AdamW(model.parameters())
    ravine.release(model, b)
    assert not model[0].weight.requires_grad
    for t in range(4):
        for x, opt in ((plain, a), (model, b)):
            x[0].requires_grad_(t >= 2)
            loss_of(x, t).backward()
            if x is model:
                assert all(p.grad is None for p in x.parameters())
            opt.step()
            opt.zero_grad()
        same(plain, model)


def test_a_group_added_later_is_released():
    plain, model = mlp(), mlp()
    a, b = ravine.AdamW(plain[:4].parameters()), ravine.AdamW(model[:4].parameters())
    ravine.release(model, b)
    for t in range(4):
        for x, opt in ((plain, a), (model, b)):
            if t == 2:
                x.zero_grad()
                opt.add_param_group({"params": list(x[4].parameters()), "lr": 0.1})
            loss_of(x, t).backward()
        a.step()
        a.zero_grad()
        assert t < 2 or all(p.grad is None for p in model.parameters())
        same(plain, model)


def test_a_parameter_that_leaves_its_group_is_left_alone():
    plain, a, model, b, _ = two(mods=[GradientNoise()])  # which depends on the place
    for t in range(4):
        for x, opt in ((plain, a), (model, b)):
            if t == 2:
                del opt.param_groups[0]["params"][0]
            loss_of(x, t).backward()
            opt.step()
            opt.zero_grad()
        same(plain, model)
    assert model[0].weight.grad is not None


def test_two_optimizers_of_one_model():
    plain, model = mlp(), mlp()
    opts = []
    for x in (plain, model):
        matrices = [p for p in x.parameters() if p.dim() > 1]
        vectors = [p for p in x.parameters() if p.dim() == 1]
        opts += [[ravine.Adam(matrices, lr=0.1), ravine.SGD(vectors, lr=0.1)]]
    for opt in opts[1]:
        ravine.release(model, opt)
    for t in range(3):
        loss_of(plain, t).backward()
        for opt in opts[0]:
            opt.step()
        plain.zero_grad()
        loss_of(model, t).backward()
        same(plain, model)


def test_remove_makes_it_ordinary_again():
    plain, a, model, b, released = two(mods=[ClipNorm(0.1)])
    loss_of(model, 0).backward()
    b.step()
    assert "sums" in b.param_groups[0]
    released.remove()
    released.remove()  # once more does nothing
    assert b.param_groups[0].keys() == a.param_groups[0].keys()
    plain.load_state_dict(model.state_dict())
    a.load_state_dict(copy.deepcopy(b.state_dict()))
    for t in range(1, 4):
        for x, opt in ((plain, a), (model, b)):
            loss_of(x, t).backward()
            assert all(p.grad is not None for p in x.parameters())
            opt.step()
            opt.zero_grad()
        same(plain, model)
    assert len({b.state[p]["step"].data_ptr() for p in model.parameters()}) == 1  # and shares one count
    ravine.release(model, b)


def test_nothing_is_kept_alive():
    model = mlp()
    opt = ravine.AdamW(model.parameters())
    ravine.release(model, opt)
    loss_of(model, 0).backward()
    weight, owner = weakref.ref(model[0].weight), weakref.ref(opt)
    del opt
    assert owner() is None  # and its hooks are gone
    loss_of(model, 0).backward()
    assert model[0].weight.grad is not None
    opt = ravine.AdamW(model.parameters())
    released = ravine.release(model, opt)
    loss_of(model, 0).backward()
    del model, opt, released
    gc.collect()
    assert weight() is None


def test_the_optimizer_must_be_kept():
    model = mlp()
    released = ravine.release(model, ravine.AdamW(model.parameters()))
    with pytest.raises(RuntimeError, match="is gone: keep it while you train"):
        loss_of(model, 0).backward()
    released.remove()
    loss_of(model, 0).backward()


def test_copies_are_ordinary():
    _, _, model, opt, _ = two()
    loss_of(model, 0).backward()
    twin, b = copy.deepcopy((model, opt))
    loss_of(twin, 1).backward()
    assert all(p.grad is not None for p in twin.parameters())
    b.step()
    loss_of(model, 1).backward()
    same(model, twin)
    file = io.BytesIO()
    torch.save((model, opt), file)
    file.seek(0)
    twin, b = torch.load(file, weights_only=False)
    loss_of(twin, 2).backward()
    assert all(p.grad is not None for p in twin.parameters())


# sums over all gradients


def clipped(model, loss, norms, max_norm, lr):
    """SGD with clipping by the norm that `norms` gives for each parameter."""
    grads = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    with torch.no_grad():
        for p, g, norm in zip(model.parameters(), grads, norms(grads), strict=True):
            p -= lr * g * min(1.0, max_norm / (norm + 1e-6))


def norm_of(grads):
    return sum(g.double().square().sum().item() for g in grads) ** 0.5


def test_clipping_takes_the_norm_of_the_step_before_or_of_what_has_arrived_if_that_is_longer():
    model, twin = mlp(), mlp()
    opt = ravine.SGD(model.parameters(), lr=0.1, mods=[ClipNorm(0.5)])
    scales = (1, 4, 0.5, 1, 1)  # the gradient is suddenly long, then short
    order = []
    for i, p in enumerate(model.parameters()):
        p.register_post_accumulate_grad_hook(lambda _, i=i: order.append(i))
    ravine.release(model, opt)
    last = []
    for t, scale in enumerate(scales):
        depth = 4 if t == 2 else 6  # the last layer has no gradient once
        (scale * loss_of(model[:depth], t)).backward()

        def norms(grads, t=t):
            last.append(norm_of(grads))
            arrived = [norm_of(grads[j] for j in order[: order.index(i) + 1]) for i in range(len(grads))]
            return [max(x, *last[-2:-1]) for x in arrived] if t else arrived

        opt.step()

        clipped(twin, scale * loss_of(twin[:depth], t), norms, 0.5, 0.1)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)
    assert max(last) > 2 * min(last) > 1  # so it makes a difference which one is taken


def test_measure_before_the_first_step_makes_it_exact():
    plain, a, model, _b, released = two(ravine.SGD, lr=0.1, mods=[ClipNorm(0.1)])
    loss_of(plain, 0).backward()
    a.step()
    loss = loss_of(model, 0)
    released.measure(loss)
    loss.backward()
    same(plain, model)


@pytest.mark.parametrize("make", [ravine.AdamW, ravine.Prodigy, ravine.DAdaptSGD, ravine.MoMo])
def test_exact_sums_with_accumulation(make):
    plain, a, model, _b, released = two(make, exact=True, mods=[ClipNorm(0.1)])
    for t in range(4):
        loss_of(plain, t).backward()
        last = loss_of(plain, t + 10)
        last.backward()
        a.step(loss=last)
        a.zero_grad()
        with released.accumulate():
            loss_of(model, t).backward()
        loss = loss_of(model, t + 10)
        released.measure(loss)
        assert all(p.grad is not None for p in model.parameters())
        loss.backward()
        assert all(p.grad is None for p in model.parameters())
        same(plain, model)


def test_sums_that_wait_for_each_other():
    class Other(ClipNorm):
        pass

    model = mlp()
    orders = [ClipNorm(), Other()], [Other(), ClipNorm()]
    groups = [{"params": model[2 * i].parameters(), "mods": mods} for i, mods in enumerate(orders)]
    opt = ravine.SGD(groups)
    released = ravine.release(model, opt, exact=True)
    with pytest.raises(ValueError, match="different orders"):
        released.measure(loss_of(model, 0))


def test_a_step_with_a_gradient_that_is_not_finite_is_skipped():
    plain, a, model, b, released = two(exact=True, nonfinite="skip")
    for t in range(4):
        for x, opt in ((plain, a), (model, b)):
            loss = loss_of(x, t) * (torch.nan if t == 2 else 1.0)
            if x is model:
                released.measure(loss)
            loss.backward()
            assert x is plain or all(p.grad is None for p in x.parameters())
            opt.step()
            opt.zero_grad()
        same(plain, model)
        assert a.skipped == b.skipped == int(t >= 2)


def test_a_gradient_that_is_not_finite_raises_and_is_named():
    model = mlp()
    opt = ravine.AdamW(model.named_parameters(), nonfinite="raise", mods=[ClipNorm(1.0)])
    released = ravine.release(model, opt, exact=True)
    model[2].bias.register_hook(lambda g: g * torch.inf)
    weights = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match=r"'2.bias' of shape \(8,\) is NaN or infinite; nothing has changed"):
        released.measure(loss_of(model, 0))
    assert opt.skipped == 1 and all(map(torch.equal, model.parameters(), weights))


def test_metrics_are_those_of_the_last_step():
    plain, a, model, b, _ = two(measured=True)
    with pytest.raises(RuntimeError, match="make one first"):
        b.metrics()
    for t in range(3):
        for x, opt in ((plain, a), (model, b)):
            loss_of(x if t != 1 else x[:4], t).backward()
            opt.step()
            opt.zero_grad()
        found = b.metrics()
        for k, x in a.metrics().items():
            torch.testing.assert_close(x, found[k])


def test_groups_that_wait_for_different_sums():
    def make(model):
        mods = [ClipNorm(0.2)], [ClipNorm(0.2), ClipNorm(0.1)], []
        return ravine.SGD([{"params": model[2 * i].parameters(), "mods": x} for i, x in enumerate(mods)], lr=0.1)

    plain, model = mlp(), mlp()
    a, b = make(plain), make(model)
    released = ravine.release(model, b, exact=True)
    for t in range(3):
        loss_of(plain, t).backward()
        a.step()
        a.zero_grad()
        loss = loss_of(model, t)
        released.measure(loss)
        loss.backward()
        same(plain, model)


def test_a_model_that_changes_its_type():
    plain, a, model, b, _ = two()
    for t in range(4):
        for x, opt in ((plain, a), (model, b)):
            if t == 2:
                x.bfloat16()
            x(batch(t).to(x[0].weight.dtype)).float().square().sum().backward()
            opt.step()
            opt.zero_grad()
        same(plain, model)


def test_sums_do_not_depend_on_the_order_of_gradients():
    assert added({2: 1.0, 0: 1e16, 1: -1e16}) == 1.0


def test_measure_does_nothing_where_there_are_no_sums():
    _, _, model, _opt, released = two()
    passes = []
    model[0].weight.register_hook(lambda _: passes.append(1))
    loss = loss_of(model, 0)
    released.measure(loss)
    assert not passes
    loss.backward()
    assert passes == [1]


def test_an_error_while_measuring_leaves_what_had_accumulated():
    _, _, model, opt, released = two(exact=True, mods=[ClipNorm(0.1)])
    with released.accumulate():
        loss_of(model, 0).backward()
    before = [p.grad for p in model.parameters()]
    loss = loss_of(model, 1)
    handle = model[2].weight.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        released.measure(loss)
    handle.remove()
    assert all(p.grad is g for p, g in zip(model.parameters(), before, strict=True))
    weights = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(RuntimeError, match="call measure"):
        opt.step()
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize("step", [True, False])
def test_a_checkpoint_has_the_sums_of_the_step_before(step):
    _, _, model, opt, _ = two(mods=[ClipNorm(0.1)])
    for t in range(3):
        loss_of(model, t).backward()
        if step:
            opt.step()
    file = io.BytesIO()
    torch.save((model.state_dict(), opt.state_dict()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    others = []
    for first in (True, False):  # loaded before release() or after it
        twin = mlp(seed=1)
        b = ravine.AdamW(twin.parameters(), mods=[ClipNorm(0.1)])
        if first:
            ravine.release(twin, b)
            loss_of(twin, 9).backward()
        twin.load_state_dict(weights)
        b.load_state_dict(state)
        if not first:
            ravine.release(twin, b)
        others.append((twin, b))
    for t in range(3, 5):
        loss_of(model, t).backward()
        for twin, _ in others:
            loss_of(twin, t).backward()
            same(model, twin)


def test_reentrant_checkpoints_have_one_norm():
    class Model(torch.nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.blocks, self.reentrant = mlp(), reentrant

        def forward(self, x):
            x = x.clone().requires_grad_()
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=True) if self.reentrant else block(x)
            return x

    models = Model(False), Model(True)
    for x in models:
        ravine.release(x, x.__dict__.setdefault("opt", ravine.SGD(x.parameters(), lr=0.1, mods=[ClipNorm(0.1)])))
    for t in range(4):
        for x in models:
            loss_of(x, t).backward()
        same(*models)


# what goes wrong


def test_an_exception_in_backward():
    _, _, model, opt, _ = two(lr=0.1)
    handle = model[2].weight.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loss_of(model, 0).backward()
    handle.remove()
    opt.zero_grad()
    loss_of(model, 1).backward()
    assert float(opt.state[model[4].weight]["step"]) == 2 and float(opt.state[model[0].weight]["step"]) == 1
    assert all(p.grad is None for p in model.parameters())


def test_a_graph_is_not_used_again_after_its_weights_have_moved():
    model = two()[2:]
    loss = loss_of(model[0], 0)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_step_with_the_weights_of_eval():
    _, _, model, opt, _ = two(mods=[EMA(0.9)])
    loss_of(model, 0).backward()
    opt.eval()
    weights = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(RuntimeError, match=r"call train\(\) before step"):
        loss_of(model, 1).backward()
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    opt.train()
    opt.zero_grad()
    loss_of(model, 1).backward()


def test_a_grad_scaler_is_told():
    _, _, model, opt, _ = two(lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(loss_of(model, 0)).backward()
    with pytest.raises(RuntimeError, match="use bfloat16"):
        scaler.step(opt)


def test_what_is_refused():
    model = mlp()
    opt = ravine.AdamW(model.parameters())
    with pytest.raises(TypeError, match=r"an optimizer of ravine, not AdamW$"):
        ravine.release(model, torch.optim.AdamW(model.parameters()))
    with pytest.raises(TypeError, match=r"not Lookahead; .* train with it as it is"):
        ravine.release(model, ravine.strategies.Lookahead(ravine.SGD(model.parameters())))
    sam = ravine.strategies.SAM(opt)
    with pytest.raises(TypeError, match="SAM drives this AdamW"):
        ravine.release(model, opt)
    del sam
    with pytest.raises(ValueError, match=r"6 parameters .* not in the model, the first of shape \(8, 8\)"):
        ravine.release(mlp(), opt)
    ravine.release(model, opt)
    for again in (opt, ravine.SGD(model[0].parameters())):
        with pytest.raises(ValueError, match="released already"):
            ravine.release(model, again)
    with pytest.raises(TypeError, match="SAM cannot drive a released"):
        ravine.strategies.SAM(opt)
    guarded = partial(ravine.AdamW, nonfinite="skip")
    for rule, what in ((ravine.Prodigy, "to look at all"), (ravine.MoMo, "the loss"), (guarded, "to look at all")):
        with pytest.raises(ValueError, match=f"needs {what}.*exact=True"):
            ravine.release(model := mlp(), rule(model.parameters()))


def test_a_rule_that_needs_the_loss_alone():
    class Polyak(ravine.Optimizer):
        def update(self, s, p, g, t, loss):
            return p - self.lr * loss * g

    with pytest.raises(ValueError, match="needs the loss"):
        ravine.release(model := mlp(), Polyak(model.parameters()))
    plain, a, model, _b, released = two(Polyak, exact=True)
    loss = loss_of(plain, 0)
    loss.backward()
    a.step(loss=loss)
    loss = loss_of(model, 0)
    released.measure(loss)
    loss.backward()
    same(plain, model)


def test_wrappers_that_average_later_are_refused():
    class DistributedDataParallel(torch.nn.Module):  # the real one needs a process group
        def __init__(self, module):
            super().__init__()
            self.module = module

    model = DistributedDataParallel(mlp())
    with pytest.raises(TypeError, match=r"use .*fully_shard$"):
        ravine.release(model, ravine.AdamW(model.parameters()))


def test_exact_sums_must_be_measured():
    _, _, model, _, released = two(exact=True, mods=[ClipNorm(1.0)])
    weights = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(RuntimeError, match=r"call measure\(loss\) before"):
        loss_of(model, 0).backward()
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    model.zero_grad()
    loss = loss_of(model, 0)
    released.measure(loss)
    loss.backward()
    with pytest.raises(RuntimeError, match=r"call measure\(loss\) before"):  # each time
        loss_of(model, 1).backward()
