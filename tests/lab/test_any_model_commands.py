"""The commands of the lab on a model that takes a dict and gives its own loss, as those of Hugging Face do."""

import contextlib
import io

import pytest

from ravine.cli import main
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.resume import found

from .conftest import compared

CODE = """
import torch
from torch import nn
from torch.utils.data import DataLoader
from ravine.lab import Task
from ravine.lab.tasks import accuracy

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 4).requires_grad_(False)
        self.inside, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, ids, mask, labels=None):
        found = (self.words(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        scores = self.head(self.inside(found).tanh())
        return {"logits": scores, "loss": nn.functional.cross_entropy(scores, labels)}

def loader(rows):
    ids, mask = torch.randint(20, (rows, 5)), (torch.arange(5) < torch.randint(2, 6, (rows, 1))).long()
    labels = (ids[:, 0] > 9).long()
    return DataLoader([dict(zip(("ids", "mask", "labels"), row)) for row in zip(ids, mask, labels)], 8)

class Strict(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        params = list(params)
        assert all(p.requires_grad for p in params)
        super().__init__(params, lr)

task = Task(
    "own", lambda: (loader(48), loader(16), loader(16)), Classifier, loss=lambda out, y: out["loss"],
    metric=lambda out, y: accuracy(out["logits"], y), batch=8, epochs=2, accumulate=2, evaluation_batch=8,
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("own")
    (made / "mine.py").write_text(CODE)
    return made


def said(folder, *arguments):
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert main(list(arguments)) == 0, out.getvalue()
    return out.getvalue()


@pytest.mark.parametrize(
    ("command", "tells"),
    [
        ("lr-find --seeds 1 --steps 20", "the loss while lr rises"),
        ("noise-scale --batch 8 --micros 2 --steps 80", "B_simple"),
        ("paths --rates 1 --points 3 --optimizers sgd,muon -o paths.svg", "of the variance of the paths"),
        (
            "compare --parallel serial,downpour --optimizers mine:Strict --points 1 --seeds 1 --workers 2 --out two",
            "downpour ",
        ),
    ],
)
def test_commands_of_one_task(folder, command, tells):
    name, *rest = command.split()
    assert tells in said(folder, name, "--task", "mine:task", *rest)


def test_a_comparison_with_few_evaluations(folder, capsys):
    compared(folder, "--optimizers", "adamw,muon", "--evaluations", "3", code=CODE)
    printed = capsys.readouterr().out
    assert "Muon" in printed and "could not be measured" not in printed and "has no row" not in printed
    with Reading(folder / "kept") as records:
        rows = list(records.rows())
    about = found(folder / "kept")[0].facts.task
    assert (about.train, about.valid, about.test) == (48, 16, 16)
    assert rows and all(row.result.step == [0, 4, 8, 12] and row.trial.evaluations == 3 for row in rows)


def test_a_number_of_evaluations_that_is_none(capsys):
    assert main(["compare", "--evaluations", "0"]) == 2
    assert "--evaluations" in capsys.readouterr().err
