"""What release() refuses, and what goes wrong within backward."""

from functools import partial

import pytest
import torch
from two_models import loss_of, mlp, two

import ravine
from ravine.mods import EMA


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


def test_wrappers_that_average_later_are_refused():
    class DistributedDataParallel(torch.nn.Module):  # the real one needs a process group
        def __init__(self, module):
            super().__init__()
            self.module = module

    model = DistributedDataParallel(mlp())
    with pytest.raises(TypeError, match=r"use .*fully_shard$"):
        ravine.release(model, ravine.AdamW(model.parameters()))
