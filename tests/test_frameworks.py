"""What frameworks expect of an optimizer, without the frameworks: tests/integrations runs them."""

import io

import pytest
import torch

import ravine
from ravine.mods import EMA, ClipNorm
from ravine.schedules import Cosine, Plateau
from ravine.strategies import ASAM, Lookahead


class Wrapper:
    """Imitates the class of what it wraps and asks it only for what it does not find there, as Lightning's does."""

    def __init__(self, opt):
        self.wrapped = opt
        self.__class__ = type("Wrapped", (Wrapper, type(opt)), {})

    def __getattr__(self, name):
        return getattr(self.wrapped, name)


def average(rate=0.9, **more):
    """An optimizer that has made a step, and its parameter."""
    p = torch.nn.Parameter(torch.ones(3))
    opt = ravine.AdamW([p], lr=0.1, mods=[ClipNorm(0.5), EMA(rate)], **more)
    p.grad = torch.tensor([1.0, -2.0, 0.5])
    opt.step()
    return opt, p


def test_a_wrapper_that_imitates_the_class_answers_as_the_optimizer():
    opt, p = average(nonfinite="skip", measured=True)
    around = Wrapper(opt)
    assert isinstance(around, ravine.AdamW) and opt.metrics()["grad_norm"] > 2
    assert around.metrics() == opt.metrics() and around.explain() == opt.explain()
    assert str(around.state_dict()) == str(opt.state_dict())
    p.grad.fill_(float("nan"))
    opt.step()
    assert around.skipped == opt.skipped == 1
    weights = p.detach().clone()
    around.eval()
    assert torch.equal(p, opt.state[p]["ema_average"]) and not torch.equal(p, weights)
    with pytest.raises(RuntimeError, match="call train"):
        opt.step()
    around.train()
    assert torch.equal(p, weights)


def test_a_wrapper_around_several_rules_answers_as_they_do():
    a, b = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    opt = ravine.Routed({ravine.Lion: [a], ravine.AdamW: [b]})
    around = Wrapper(opt)
    a.grad, b.grad = torch.ones(3), torch.ones(3)
    opt.step()
    assert isinstance(around, ravine.Routed) and around.explain() == opt.explain()
    assert str(around.routes()) == str(opt.routes()) and str(around.state_dict()) == str(opt.state_dict())
    around.add_param_group({"params": torch.nn.Parameter(torch.ones(2)), "rule": "Lion"})
    assert opt.param_groups[2]["rule"] == "Lion"


def test_train_before_every_step_keeps_the_launches():
    """Trainer does so; laying the tables anew would take longer than the step."""
    opt, _ = average()
    laid = opt._arranged
    opt.train()
    opt.step()
    assert opt._arranged is laid
    opt.eval()
    opt.train()
    opt.step()
    assert opt._arranged is laid


SAVED = {
    "storage": lambda opt: ravine.AdamW(opt.param_groups[0]["params"], storage="int8", mods=[EMA(0.9)]),
    "Lookahead": Lookahead,
    "ASAM": ASAM,
    "Scheduler": lambda opt: ravine.Scheduler(opt, Cosine(10) * Plateau(), betas=(None, Cosine(10))),
}


@pytest.mark.parametrize("of", SAVED.values(), ids=SAVED)
def test_state_dicts_hold_tensors_and_plain_values_only(of):
    opt, p = average()
    held = of(opt)
    if isinstance(held, torch.optim.Optimizer):
        held.step(lambda: (p**2).sum().backward())
    file = io.BytesIO()
    torch.save(held.state_dict(), file)
    file.seek(0)
    held.load_state_dict(torch.load(file, weights_only=True))
    file.seek(0)
    assert str(held.state_dict()) == str(torch.load(file, weights_only=True))
