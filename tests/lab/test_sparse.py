"""A task of sparse gradients is compared with optimizers that take them, and others are told before any training."""

import pytest
import torch

from ravine.lab import LabError
from ravine.lab.protocol import sparse
from ravine.lab.protocol.search import Entry, entries
from ravine.lab.tasks import load_task
from ravine.optim import registry

TASK = load_task("banking77").tiny()
DATA = TASK.load()


def test_the_table_s_gradient_is_sparse_and_has_the_words_of_the_batch_alone():
    model = TASK.model()
    TASK.loss(model(DATA.x[:2]), DATA.y[:2]).backward()
    table, layer, bias = (p.grad for p in model.parameters())
    assert table.is_sparse and not layer.is_sparse and not bias.is_sparse
    assert set(table.coalesce().indices()[0].tolist()) == set(DATA.x[:2].flatten().tolist()) - {0}


def test_those_it_names_take_them_and_of_ours_no_other_does():
    names = TASK.optimizers
    sparse.check(entries(names), TASK, DATA)
    assert set(names) == {name for name, cls in registry().items() if cls.sparse and cls.dense}


@pytest.mark.parametrize("name", ["rmsprop", "torch.optim:RMSprop"])
def test_another_is_told(name):
    told = rf"'{name}' does not take .* 'banking77', which are sparse for 0\.weight: sgd, adagrad, adam, adamw do"
    with pytest.raises(LabError, match=told):
        sparse.check(entries(["adam", name]), TASK, DATA)


def test_one_for_sparse_gradients_alone_is_told_too():
    digits = load_task("digits").tiny()
    for task, which in ((TASK, r"sparse for 0\.weight"), (digits, "dense")):
        told = f"'{task.name}', which are {which}.* has a dense gradient, and SparseAdam takes sparse ones only"
        with pytest.raises(LabError, match=told):
            sparse.check(entries(["sparseadam"]), task, task.load())


def test_where_gradients_are_dense_no_other_is_tried():
    class Frail(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("too frail")

    digits = load_task("digits").tiny()
    sparse.check([Entry("frail", Frail)], digits, digits.load())
    with pytest.raises(LabError, match="too frail"):
        sparse.check([Entry("frail", Frail)], TASK, DATA)


@pytest.mark.ci
def test_the_command_takes_those_of_the_task(ravine_command, tmp_path):
    task = "ravine.lab.tasks.banking77:tiny"
    asked = ("compare", "--task", task, "--points", "1", "--seeds", "1", "--epochs", "2", "--workers", "1")
    status, printed = ravine_command(*asked, cwd=tmp_path)
    assert status == 0 and all(name in printed for name in ("SGD", "Adagrad", "Adam", "AdamW")), printed
    assert "NAdam" not in printed and "Momentum" not in printed
    status, printed = ravine_command(*asked, "--optimizers", "nadam", cwd=tmp_path)
    assert status == 2 and "optimizer 'nadam' does not take the gradients of task 'banking77'" in printed
