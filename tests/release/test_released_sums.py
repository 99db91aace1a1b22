"""Sums over all gradients: of the step before, or exact after measure(); in checkpoints and metrics too."""

import io

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from two_models import loss_of, mlp, same, two

import ravine
from ravine.mods import ClipNorm
from ravine.optimizer.release import added


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
