"""A task of somebody's own model: several inputs, loaders, augmented batches, parts of a batch, frozen weights."""

import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import ravine
from ravine.lab import LabError, Task
from ravine.lab.protocol import routing
from ravine.lab.protocol.evaluation import evaluated
from ravine.lab.protocol.stopwatch import measure
from ravine.lab.protocol.trial import Trial, evaluation_steps, run
from ravine.lab.tasks import Data, accuracy, called, loaders
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
    loss, metric = evaluated(task, lambda x: sizes.append(len(x["x"])) or called(model, x), x, Y)
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


class Examples(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i].numpy(), int(self.y[i])


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        yield from zip(self.x, self.y, strict=True)


LOADED = {
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
    "loader of a list": lambda x, y: DataLoader(list(zip(x, y, strict=True)), batch_size=7),
    "data set": Examples,
    "stream": Stream,
    "batches": lambda x, y: list(zip(x.split(9), y.split(9), strict=True)),
    "generator": lambda x, y: ([a, b] for a, b in zip(x.split(9), y.split(9), strict=True)),
}


@pytest.mark.parametrize("make", LOADED.values(), ids=list(LOADED))
def test_a_loader_is_the_rows_that_it_gives(make):
    x, y, x_valid, y_valid, x_test, y_test = PLAIN.data()
    three = replace(PLAIN, data=lambda: (make(x, y), make(x_valid, y_valid), make(x_test, y_test)))
    data = three.load()
    assert all(torch.equal(a, b) for a, b in zip(data, PLAIN.load(), strict=True))
    assert three.rehearse(data) == PLAIN.rehearse(PLAIN.load())
    two = replace(PLAIN, data=lambda: (make(x, y), make(x_valid, y_valid), None)).load()
    assert not two.tested and torch.equal(two.x, x)


def test_a_loader_of_dicts_has_the_targets_among_them():
    def loader(x, y):
        rows = zip(x, y, strict=True)
        batches = DataLoader([{"pair": (a / 2, a / 2), "mask": torch.ones(1), "labels": b} for a, b in rows], 9)
        return [{**batch, "pair": list(batch["pair"])} for batch in batches]

    whole = PLAIN.data()
    task = replace(OWN, data=lambda: tuple(loader(*whole[i : i + 2]) for i in (0, 2, 4)))
    assert result(task) == result(OWN)
    data = replace(PLAIN, data=lambda: ([{"x": X}], [{"x": X}])).load()
    assert data.y is None and list(data.x) == ["x"]
    assert replace(PLAIN, data=lambda: ([X], [X])).load().y is None


def test_a_loader_that_shuffles_gives_the_same_rows_each_time():
    loader = DataLoader(TensorDataset(X, Y), 8, shuffle=True)
    task = replace(PLAIN, data=lambda: (loader, [(X, Y)]))
    first, second = task.load(), task.load()
    assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y) and not torch.equal(first.x, X)
    assert torch.equal(first.x.sort(0)[0], X.sort(0)[0])


class Ragged(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return {"ids": torch.zeros(4 + i // 2), "labels": 1}


D = {"x": X, "labels": Y}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((X, Y), r"must return 6 tensors .*, or the first 4, or 2 or 3 loaders, and returned a tuple of Tensor"),
        (([D],), "or 2 or 3 loaders, and returned a tuple of list$"),
        ((Ragged(), [D]), r"train loader gives x\['ids'\] in rows of shape \(4,\) in batch 1 and \(5,\) in batch 3: "
         "rows must be alike; pad them all to one length$"),
        (([D], [D, {"x": X, "label": Y}]), r"the valid loader gives x\['x'\], x\['labels'\], y in batch 1 and x"),
        (([D], []), "the valid loader gives no batches"),
        (([(X, X, Y)], [D]), r"the train loader gives a tuple of 3: a batch is \(inputs, targets\)"),
        (([3], [D]), "the train loader gives a int: a batch is"),
        (([{"x": X[0], "labels": Y[0]}], [D]), r"x\['labels'\] is a single number in batch 1: .* need a DataLoader"),
        (([{"x": X, "text": ["a"] * 40}], [D]), r"x\['text'\]\[0\] is a str: it must be a tensor, or a tuple or dict"),
        ((X.numpy(), Y, X, Y), "x_train is a ndarray: it must be a tensor"),
        (({}, Y, X, Y), "x_train is a dict: it must be a tensor, or a tuple or dict of tensors"),
        ((None, Y, X, Y), "x_train is a NoneType: it must be"),
        ((X, Y, X, None), "y_train and y_valid must both be there, or both be None"),
        ((D, Y, {"x": X, "labels": Y[:4]}, Y), r"x_valid\['x'\] and x_valid\['labels'\] and y_valid must have the same "
         r"number of rows, at least one; their shapes are \(40, 3\) and \(4,\) and \(40,\)"),
        (((1 / 0 for _ in range(3)), [D]), "the train loader fails: ZeroDivisionError"),
        ((D, None, D, None), r"x\['x'\] \(16, 3\) torch.float32, x\['labels'\] \(16,\) torch.int64, fails: TypeError"),
        (({"x": X * torch.nan, "labels": Y}, Y, D, Y), r"x_train\['x'\] holds NaN or infinity in 40 of 40 rows"),
        ((D, Y, {"x": X, "labels": Y + 1}, Y), "the valid part, .* fails: IndexError: Target 2 is out of bounds"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_the_data(parts, message):
    class Model(nn.Linear):
        def forward(self, x, labels):
            return cross_entropy(super().forward(x), labels)

    task = replace(PLAIN, data=lambda: parts, model=lambda: Model(3, 2), loss=lambda out, y: out, metric=None)
    with pytest.raises(LabError, match=message) as found:
        task.rehearse(task.load())
    assert str(found.value).startswith("task 'mine': ") and "\n" not in str(found.value)
    assert str(found.value).count("task 'mine'") == 1


def test_a_loader_without_end(monkeypatch):
    monkeypatch.setattr(loaders, "MOST", 10_000)

    def endless():
        while True:
            yield X, Y

    with pytest.raises(LabError, match="'mine': the train loader gives more than 0 GiB, and a task holds its rows in"):
        replace(PLAIN, data=lambda: (endless(), [D])).load()


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
    # before any step, all of the validation part, two whole steps, a half one, both other parts at the end
    assert sizes == [6, 6, 4, 20, 6, 6, 4, 6, 6, 4, 3, 3, 2, 20, 20]


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
    assert seen["out"] == [True, False, True, True, True, False, False]
    first = seen["in"].copy()
    assert [n for n, _ in first] == [16, 16, 16, 8] and len({x for _, x in first}) == 4
    seen["in"].clear()
    result(task, trial, ravine.SGD)
    assert seen["in"] == first  # each method meets the same
    assert task.rehearse(task.load()) != PLAIN.rehearse(PLAIN.load())


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


def test_rows_are_taken_of_each_part():
    x = {"a": X, "b": (Y, {"c": X})}
    some = take(x, torch.tensor([3, 1]))
    assert torch.equal(some["a"], X[[3, 1]]) and torch.equal(some["b"][1]["c"], X[[3, 1]])
    assert take(None, torch.tensor([0])) is None
    data = Data(x, None, x, None)
    assert data.rows == 40 and data.device == X.device and not data.tested and len(data.first(100)) == 40
    moved = data.to("meta")
    assert moved.x["b"][0].device.type == "meta" and moved.y is None
