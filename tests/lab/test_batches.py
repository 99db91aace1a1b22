"""What is trained on and what trains: augmented batches, batches in parts, frozen weights; and evaluations."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ravine
from ravine.lab import LabError
from ravine.lab.protocol import routing
from ravine.lab.protocol.stopwatch import measure
from ravine.lab.protocol.trial import evaluation_steps, run

from .test_any_model import PLAIN, TRIAL, X, result


def test_a_batch_in_parts_is_that_batch():
    """In exact arithmetic; so is the last one of an epoch, which has half the rows, and one with a penalty."""
    whole = replace(PLAIN, penalty=lambda model: model.weight.square().sum())
    parts = replace(whole, accumulate=3)
    sizes = []
    count = replace(parts, loss=lambda out, y: sizes.append(len(y)) or cross_entropy(out, y))
    a, b = result(whole), result(parts)
    assert b.train == pytest.approx(a.train, rel=1e-5) and b.valid == pytest.approx(a.valid, rel=1e-5)
    assert b.valid != a.valid and parts.rehearse(parts.load()) != whole.rehearse(whole.load())
    result(replace(count, metric=None), replace(TRIAL, epochs=1, evaluations=1))
    # before any step, all of the validation part, two whole steps, a half one, the validation part at the end, and
    # the test part row by row, of which there are fewer than 50
    assert sizes == [6, 6, 4, 20, 6, 6, 4, 6, 6, 4, 3, 3, 2, 20, *[1] * 20]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_parts_of_a_batch_in_lower_precision(precision):
    whole, parts = (result(replace(PLAIN, accumulate=n), replace(TRIAL, precision=precision)) for n in (1, 4))
    assert parts.train == pytest.approx(whole.train, rel=0.02)


@pytest.mark.parametrize("cls", [ravine.KFAC, ravine.AdaHessian, ravine.MoMo, ravine.Muon])
def test_methods_that_ask_for_more_take_parts_of_a_batch(cls):
    def deep():
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))

    whole, parts = (result(replace(PLAIN, model=deep, accumulate=n), cls=cls) for n in (1, 2))
    drawn = cls is ravine.KFAC  # whose targets are drawn for each part
    assert parts.valid == pytest.approx(whole.valid, rel=0.4 if drawn else 0.02)
    assert parts.valid[-1] < parts.valid[0]


def test_batches_are_augmented_and_other_data_is_not():
    seen = {"in": [], "out": []}

    def augment(x, y):
        seen["in"].append((len(x), float(torch.rand(()))))
        return x + 100, 1 - y

    class Model(nn.Linear):
        def forward(self, x):
            seen["out"].append(bool((x > 50).all()))
            return super().forward(x)

    task = replace(PLAIN, augment=augment, model=lambda: Model(3, 2))
    trial = replace(TRIAL, epochs=1, evaluations=1)
    result(task, trial)
    assert seen["out"] == [True, False, True, True, True, False, *[False] * 20]
    first = seen["in"].copy()
    assert [n for n, _ in first] == [16, 16, 16, 8] and len({x for _, x in first}) == 4
    seen["in"].clear()
    result(task, trial, ravine.SGD)
    assert seen["in"] == first  # each method meets the same
    assert task.rehearse(task.load()) != PLAIN.rehearse(PLAIN.load())


def test_a_batch_is_augmented_before_it_goes_in_parts():
    noisy = replace(PLAIN, augment=lambda x, y: (x + torch.rand(len(x), 1), y))
    whole, parts = (result(replace(noisy, accumulate=n)) for n in (1, 3))
    assert parts.train == pytest.approx(whole.train, rel=1e-5) and whole.train != result(PLAIN).train


def test_targets_may_be_mixed_too():
    """As in mixup, where classes become probabilities; and without targets augment has the inputs alone."""

    def mixup(x, y):
        part, other, y = float(torch.rand(())), torch.randperm(len(x)), nn.functional.one_hot(y, 2).float()
        return part * x + (1 - part) * x[other], part * y + (1 - part) * y[other]

    task = replace(PLAIN, augment=mixup, epochs=20)
    assert result(task, replace(TRIAL, epochs=20)).test_metric > 0.9
    alone = replace(
        PLAIN, data=lambda: (X, None, X, None), loss=lambda out: (out - 3).square().mean(), metric=None,
        augment=lambda x: x + 1,
    )  # fmt: skip
    assert alone.load().y is None and alone.drawn(alone.load(), torch.arange(4))[0].equal(X[:4] + 1)
    assert result(alone).valid[-1] < result(alone).valid[0]
    with pytest.raises(
        LabError, match=r"'mine': augment\(x, y\) must return both, and returned a Tensor of shape \(16"
    ):
        replace(PLAIN, augment=lambda x, y: x).rehearse(PLAIN.load())


class Adapted(nn.Module):
    """A frozen layer, an adapter of low rank, and a head."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(3, 8).requires_grad_(False)
        self.lora_a, self.lora_b = nn.Linear(3, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.base(x) + self.lora_b(self.lora_a(x))))


LORA = replace(PLAIN, model=Adapted)


@pytest.mark.parametrize("cls", [ravine.AdamW, torch.optim.AdamW, ravine.Muon, ravine.KFAC, ravine.AdaHessian])
def test_frozen_weights_are_left_out(cls):
    model = Adapted()
    held = [p for group in routing.made(cls, model, {"lr": 0.1}).param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters() if p.requires_grad}
    LORA.rehearse(LORA.load())
    before = copy.deepcopy(model)
    found, after = run(replace(TRIAL, hyper=(("lr", 0.02),), epochs=8), LORA, LORA.load(), cls, model)
    assert found.valid[-1] < found.valid[0]
    for (name, p), q in zip(after.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(p, q) == name.startswith("base"), name


def test_state_is_counted_for_what_is_trained():
    (time,) = measure([(TRIAL, ravine.Adam)], LORA, LORA.load(), 0.0)
    assert 8 <= time.state_bytes < 10  # two numbers of four bytes for each, and counts


def test_a_frozen_part_may_be_shared_between_models():
    """As of a large model that is loaded once; a trained one may not."""
    body = nn.Linear(3, 8).requires_grad_(False)
    task = replace(PLAIN, model=lambda: nn.Sequential(body, nn.Tanh(), nn.Linear(8, 2)))
    assert task.rehearse(task.load())
    body.bias.requires_grad_()
    with pytest.raises(LabError, match=r"model\(\) must return a new model each time"):
        task.rehearse(task.load())


@pytest.mark.parametrize("times", [1, 2, 7, 9, 500])
def test_as_many_evaluations_as_are_asked_for(times):
    marks = evaluation_steps(3, 3, times)
    assert len(marks) == min(times, 9) and max(marks) == 9 and min(marks) > 0
    found = result(PLAIN, replace(TRIAL, evaluations=times))
    assert found.step == [0, *sorted(marks)] == result(replace(PLAIN, evaluations=times)).step
    assert found.valid[-1] == result(PLAIN).valid[-1]
    few = replace(PLAIN, evaluations=times)
    assert few.rehearse(few.load()) != PLAIN.rehearse(PLAIN.load())


@pytest.mark.parametrize("name", ["accumulate", "evaluation_batch", "evaluations"])
def test_none_of_something(name):
    with pytest.raises(LabError, match=f"'mine': {name}=0 must be 1 or more"):
        replace(PLAIN, **{name: 0})
