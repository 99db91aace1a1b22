"""What torch has around a step, and steps that fail: autograd, closures, hooks, the profiler, scalers, devices."""

import pytest
import torch
from cases import every_program, every_twin, parameters, walk
from ordinary import SHAPES, agree, of
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import ravine


@every_program
def test_a_step_is_seen_by_autograd(cls):
    p = nn.Parameter(torch.ones(3))
    opt = cls([p])
    loss = (p**2).sum()
    p.grad = torch.ones(3)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_program
def test_a_closure_is_called_once_with_gradients_on(cls):
    opt, calls = cls(parameters([(3,)])), []

    def closure():
        calls.append(torch.is_grad_enabled())
        opt.zero_grad()
        loss = (of(opt)[0] ** 2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        before = (of(opt)[0] ** 2).sum()
        loss = opt.step(closure)
    assert calls == [True] and loss == before


@every_twin
def test_hooks_of_one_optimizer_and_of_all_run_as_in_torch(cls):
    orders = []
    for kind in (cls, cls.twin):
        opt, seen = kind(parameters([(3,)])), []
        handles = [
            opt.register_step_pre_hook(lambda *_, seen=seen: seen.append("pre")),
            opt.register_step_post_hook(lambda *_, seen=seen: seen.append("post")),
            register_optimizer_step_pre_hook(lambda *_, seen=seen: seen.append("all pre")),
            register_optimizer_step_post_hook(lambda *_, seen=seen: seen.append("all post")),
        ]
        walk(opt, 1)
        for handle in handles:
            handle.remove()
        walk(opt, 1)
        orders.append(seen)
    assert orders[0] == orders[1] and len(orders[0]) == 4


@every_program
def test_the_profiler_names_the_step(cls):
    opt = cls(parameters([(3,)]))
    walk(opt, 1)
    with torch.profiler.profile() as seen:
        walk(opt, 1)
    assert f"Optimizer.step#{cls.__name__}.step" in {e.name for e in seen.events()}


@every_program
def test_grad_scaler_skips_the_step_where_a_gradient_is_infinite(cls):
    opt = cls(parameters([(3,)]))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    p = of(opt)[0]
    walk(opt, 1)  # the first step of some rules moves nothing
    for bad in (False, True, False):
        opt.zero_grad()
        before = p.detach().clone()
        scaler.scale((p * (torch.inf if bad else 1.0)).sum()).backward()
        scaler.step(opt)
        scaler.update()
        assert torch.equal(p, before) == bad
    assert float(opt.state[p]["step"]) == 3


@pytest.mark.ci
def test_a_compiled_models_gradients_are_taken():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    fast = torch.compile(model, backend="aot_eager")  # needs no compiler on the machine
    a, b = (
        ravine.Adam(model.parameters()),
        torch.optim.Adam([nn.Parameter(p.detach().clone()) for p in model.parameters()]),
    )
    for _ in range(3):
        a.zero_grad()
        fast(torch.ones(2, 3)).pow(2).sum().backward()
        for p, q in zip(of(a), of(b), strict=True):
            q.grad = p.grad.clone()
        a.step()
        b.step()
    agree(a, b)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_the_default_device_is_no_concern(backend):
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones(3, 2)
    torch.set_default_device("meta")
    try:
        for cls in (ravine.AdamW, ravine.DoG, ravine.Adafactor):
            opt = cls([p], backend=backend, mods=[ravine.mods.GradientNoise(), ravine.mods.EMA()])
            opt.step()
            opt.eval()
            opt.train()
            opt.load_state_dict(opt.state_dict())
            opt.step()
    finally:
        torch.set_default_device(None)
    assert p.isfinite().all()


def test_the_look_ahead_of_nag_cannot_be_trained_at_by_mistake():
    opt = ravine.NAG(parameters(SHAPES))
    walk(opt, 2)
    opt.eval()
    with pytest.raises(RuntimeError, match=r"eval\(\).*train\(\)"):
        opt.step()
    opt.train()
    opt.step()


def test_a_step_that_failed_leaves_no_stale_pointer(monkeypatch: pytest.MonkeyPatch):
    from ravine.compile.launch.base import Tables

    p = nn.Parameter(torch.ones(2, 3))
    opt = ravine.SGD([p], lr=1.0)
    p.grad = torch.ones(2, 3)
    opt.step()
    p.grad = torch.full((3, 2), 100.0).T
    with monkeypatch.context() as patch:
        patch.setattr(Tables, "flatten", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            opt.step()
    opt.step()
    assert (p == -100).all()


def test_a_backend_that_cannot_run_leaves_no_state():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.Adam([p], backend="triton")
    with pytest.raises((RuntimeError, ImportError), match="triton"):
        opt.step()
    assert not opt.state[p] and (p == 1).all()
