"""Parameters, optimizers and copies of a released model come and go."""

import copy
import gc
import io
import weakref

import pytest
import torch
from two_models import loss_of, mlp, same, two

import ravine
from ravine.mods import ClipNorm, GradientNoise


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
