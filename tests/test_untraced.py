"""Training steps under torch.compile: an optimizer is not compiled, and another rate compiles nothing anew."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import ravine
from ravine.strategies import GSAM, SAM, SNOO, Lookahead


@pytest.fixture
def counter():
    """A backend of torch.compile that counts what it is given."""
    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


@pytest.mark.parametrize("around", [lambda opt: opt, Lookahead, SNOO, SAM, GSAM])
@pytest.mark.parametrize("hook", [False, True], ids=["plain", "with a hook"])
def test_a_compiled_step_is_compiled_once(counter, around, hook):
    found = {}
    for compiled in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        inner = ravine.AdamW(model.parameters(), lr=0.1, mods=[ravine.mods.ClipNorm(1.0)])
        if hook:
            inner.register_step_post_hook(lambda *_: None)
        opt = around(inner)
        rates = torch.optim.lr_scheduler.ExponentialLR(inner, 0.9)
        x, y = torch.randn(16, 4), torch.randn(16, 1)

        def loss(model=model, x=x, y=y):
            return (model(x) - y).square().mean()

        def train(opt=opt, loss=loss):
            loss().backward()
            if isinstance(opt, SAM):
                opt.first_step(zero_grad=True)
                loss().backward()
                opt.second_step()
            else:
                opt.step()
            opt.zero_grad()

        step = torch.compile(train, backend=counter) if compiled else train
        for _ in range(6):
            step()
            rates.step()
        found[compiled] = list(model.parameters())
    assert counter.frame_count == (2 if around in (SAM, GSAM) else 1)  # the forward passes, and nothing else
    for a, b in zip(found[True], found[False], strict=True):
        assert torch.equal(a, b)
