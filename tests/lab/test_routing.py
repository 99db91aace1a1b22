"""Methods for the matrices inside a network are trained with AdamW beside them, as `ravine.create` makes them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab.commands import lr_find, tune
from ravine.lab.errors import LabError
from ravine.lab.protocol import routing
from ravine.lab.protocol.inside import look
from ravine.lab.protocol.search import entries
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import load_task


def test_a_method_for_matrices_has_no_vectors_and_no_head():
    model = nn.ModuleDict({"a": nn.Linear(8, 16), "b": nn.Linear(16, 16), "head": nn.Linear(16, 3)})
    opt = routing.made(ravine.Muon, model, {"lr": 0.02})
    went = {route.name: route.rule for route in opt.routes()}
    assert went["a.weight"] == went["b.weight"] == "Muon"
    assert went["head.weight"] == went["a.bias"] == "AdamW"
    assert {type(routing.made(x, model, {"lr": 0.1})) for x in (ravine.SOAP, torch.optim.SGD)} == {
        ravine.SOAP,
        torch.optim.SGD,
    }


def test_a_task_without_a_matrix_is_one_line():
    task = replace(load_task("digits"), model=lambda: nn.ModuleDict({"head": nn.Linear(64, 10)}))
    with pytest.raises(LabError, match=r"optimizer 'muon' on task 'digits'.*no matrix inside it"):
        routing.check(entries(["adam", "muon"]), task)


def test_a_trial_and_its_looking_glass_train_it_so():
    task = load_task("digits")
    data = task.load()
    trial = Trial("digits", "muon", (("lr", 0.02),), seed=1, epochs=1, batch=64, content="")
    result, _ = run(trial, task, data, ravine.Muon)
    assert result.diverged_at is None and result.final < result.valid[0]
    assert look(trial, task, data, ravine.Muon).step


def test_what_has_one_rate_is_refused_and_what_is_printed_can_be_typed(capsys):
    assert lr_find.main(["lr-find", "--task", "digits", "--optimizer", "muon"]) != 0
    assert "two, and the range test tries one" in capsys.readouterr().err
    line = tune.python(ravine.Muon, (("lr", 0.02),))
    assert line == 'opt = ravine.create("muon", model, lr=0.02)'
