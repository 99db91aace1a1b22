"""A task of somebody's own model: what it is called with, and what it answers."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ravine
from ravine.lab import Task
from ravine.lab.protocol.evaluation import evaluated
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import Data, accuracy, called
from ravine.lab.tasks.rows import joined, mapped, take

SOME = torch.Generator().manual_seed(0)
X = torch.randn(40, 3, generator=SOME)
Y = (X[:, 0] > X[:, 1]).long()
PLAIN = Task("mine", lambda: (X, Y, X[:20], Y[:20], X[20:], Y[20:]), lambda: nn.Linear(3, 2), batch=16, epochs=3)
TRIAL = Trial("mine", "adam", (("lr", 0.05),), seed=1, epochs=3, batch=16, content="")


class Named(nn.Linear):
    """Takes its inputs by name, some of them in a tuple, and gives its own loss, as models of Hugging Face do."""

    def forward(self, pair, mask, labels=None):
        scores = super().forward((pair[0] + pair[1]) * mask)
        return SimpleNamespace(logits=scores, loss=cross_entropy(scores, labels))


def named(x, y):
    return {"pair": (x / 2, x / 2), "mask": torch.ones(len(x), 1), "labels": y}


def data_of(make):
    """The plain task's six tensors, each pair as `make` says it."""
    return lambda: tuple(part for x, y in zip(*(iter(PLAIN.data()),) * 2, strict=True) for part in make(x, y))


OWN = replace(
    PLAIN, data=data_of(lambda x, y: (named(x, y), y)), model=lambda: Named(3, 2), loss=lambda out, y: out.loss,
    metric=lambda out, y: accuracy(out.logits, y),
)  # fmt: skip


def result(task, trial=TRIAL, cls=ravine.Adam):
    """What a trial gives, but for seconds."""
    return replace(run(trial, task, task.load(), cls)[0], seconds=0.0)


@pytest.mark.parametrize(
    "task",
    [
        OWN,
        replace(OWN, data=data_of(lambda x, y: (named(x, y), None)), loss=lambda out: out.loss, metric=None),
        replace(
            PLAIN, data=data_of(lambda x, y: ((x, torch.zeros(len(x), 1)), {"of": y})),
            model=lambda: Two(3, 2), loss=lambda out, y: cross_entropy(out[0], y["of"]),
            metric=lambda out, y: accuracy(out[0], y["of"]),
        ),
    ],
    ids=["a dict", "no targets", "a tuple"],
)  # fmt: skip
def test_the_same_numbers_whatever_a_model_takes(task):
    task.rehearse(task.load())
    found, plain = result(task), result(PLAIN)
    assert found.valid == plain.valid and found.train == plain.train and found.test == plain.test
    assert found.metric == (plain.metric if task.metric else [0.0] * len(plain.metric))


class Two(nn.Linear):
    def forward(self, x, shift):
        return super().forward(x + shift), shift


@dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor
    cache: object = None


class Mapped(dict):
    """As a ModelOutput: a dict that also has its parts as attributes, and is made of them by name."""

    def __init__(self, **parts):
        super().__init__(parts)
        vars(self).update(parts)


@pytest.mark.parametrize("kind", [Output, Mapped, SimpleNamespace])
def test_outputs_of_several_passes_are_as_of_one(kind):
    """The metric is given the whole part; a loss in the output is the mean over its rows."""

    class Model(nn.Linear):
        def forward(self, x, labels):
            scores = super().forward(x)
            return kind(loss=cross_entropy(scores, labels), logits=scores)

    seen = []
    task = replace(OWN, metric=lambda out, y: seen.append(out) or 0.5, evaluation_batch=15)
    model, x = Model(3, 2), {"x": X, "labels": Y}
    sizes = []
    loss, metric, *_ = evaluated(task, lambda x: sizes.append(len(x["x"])) or called(model, x), x, Y)
    assert sizes == [15, 15, 10] and metric == 0.5 and isinstance(seen[0], kind)
    torch.testing.assert_close(seen[0].logits, model(**x).logits)
    torch.testing.assert_close(seen[0].loss, model(**x).loss)
    assert loss == pytest.approx(model(**x).loss.item(), rel=1e-5)


def test_what_is_not_made_of_tensors_is_left_as_it_is():
    one, two = ({"a": torch.ones(2), "b": "word", "c": [torch.zeros(1), None]} for _ in range(2))
    both = joined([one, two], [2, 2])
    assert both["b"] == "word" and both["c"][1] is None and len(both["a"]) == 4 and len(both["c"][0]) == 2
    assert mapped(lambda x: x, one) == one


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_widens_each_part_of_the_output(precision):
    seen = []
    task = replace(OWN, metric=lambda out, y: seen.append(out.logits.dtype) or 0.0)
    found = result(task, replace(TRIAL, precision=precision), ravine.SGD)
    assert set(seen) == {torch.float32} and found.valid[-1] < found.valid[0]


def test_rows_are_taken_of_each_part():
    x = {"a": X, "b": (Y, {"c": X})}
    some = take(x, torch.tensor([3, 1]))
    assert torch.equal(some["a"], X[[3, 1]]) and torch.equal(some["b"][1]["c"], X[[3, 1]])
    assert take(None, torch.tensor([0])) is None
    data = Data(x, None, x, None)
    assert data.rows == 40 and data.device == X.device and not data.tested and len(data.first(100)) == 40
    moved = data.to("meta")
    assert moved.x["b"][0].device.type == "meta" and moved.y is None
