"""A loop with a released optimizer makes the steps of an ordinary one, bit for bit."""

import pytest
import torch
from two_models import WIDTH, batch, loss_of, same, two

import ravine
from ravine.mods import ClipNorm


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
