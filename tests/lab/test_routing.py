"""Methods for the matrices inside a network are trained with AdamW beside them, as `ravine.create` makes them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab.commands import lr_find, paths, tune
from ravine.lab.errors import LabError
from ravine.lab.protocol import routing
from ravine.lab.protocol.inside import look
from ravine.lab.protocol.search import entries, optimizer_class, points
from ravine.lab.protocol.spaces import SHARED, space_of
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import load_task
from ravine.optim import registry


def test_a_method_for_matrices_has_no_vectors_and_no_head():
    model = nn.ModuleDict({"a": nn.Linear(8, 16), "b": nn.Linear(16, 16), "head": nn.Linear(16, 3)})
    opt = routing.made(ravine.Muon, model, {"lr": 0.02})
    assert isinstance(opt, ravine.Routed)
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


def rates(opt):
    """{rule: its rate} of an optimizer with routes."""
    return {group["rule"]: float(group["lr"]) for group in opt.param_groups}


def test_adamw_s_rate_is_a_hyperparameter_of_its_own():
    model = nn.ModuleDict({"a": nn.Linear(8, 16), "head": nn.Linear(16, 3)})
    assert rates(routing.made(ravine.Muon, model, {"lr": 0.02})) == {"Muon": 0.02, "AdamW": 1e-3}
    assert rates(routing.made(ravine.Muon, model, {"lr": 0.02, "rest_lr": 0.004})) == {"Muon": 0.02, "AdamW": 0.004}
    muon, typed, alike, adamuon, adam = entries(
        ["muon", "normuon:rest_lr=0.003", "muon:adjust_lr_fn=match_rms_adamw", "adamuon", "adam"]
    )
    assert list(muon.space)[:2] == ["lr", "rest_lr"] and muon.space["rest_lr"] == adam.space["lr"]
    assert "rest_lr" not in {*typed.space, *alike.space, *adamuon.space, *adam.space}
    assert optimizer_class(typed.name) is ravine.NorMuon
    built = lambda entry, **at: dict(entry.built(at))["rest_lr"]  # noqa: E731
    assert built(muon, lr=0.02, rest_lr=0.005) == 0.005
    assert built(muon, lr=0.02) == 0.002  # as the middles of their spaces
    assert built(typed, lr=0.02) == 0.003
    assert built(alike, lr=0.02) == built(adamuon, lr=0.02) == 0.02
    assert "rest_lr" not in dict(adam.built({"lr": 0.02}))
    assert {"rest_lr", "lr"} <= dict(points(muon, muon.space, 4, 0)[3].at).keys()


@pytest.mark.parametrize("typed", ["adam:rest_lr=0.1", "muon:rest_lr=fast"])
def test_a_rate_beside_that_cannot_be_is_one_line(typed):
    with pytest.raises(LabError, match="rest_lr"):
        entries([typed])


@pytest.mark.parametrize("name", [name for name, cls in registry().items() if cls.matrices])
def test_every_method_for_matrices_has_a_rate_for_the_rest_in_its_space_or_shares_its_own(name):
    assert list(space_of(registry()[name]))[:2] == ["lr", "rest_lr"] or name in SHARED


def test_the_range_test_raises_both_rates(capsys):
    assert lr_find.main(["lr-find", "--task", "digits", "--optimizer", "muon", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "rose beside it at 0.1 times this rate" in printed
    task = load_task("digits")
    found = lr_find.test(task, task.load(), lr_find.Settings(optimizer="muon", seeds=1))
    assert found.lr and 3e-3 < found.lr < 0.3


def test_what_is_printed_can_be_typed():
    line = tune.python(ravine.Muon, (("lr", 0.02), ("rest_lr", 0.003)))
    assert line == "opt = ravine.create(\"muon\", model, lr=0.02, rest={'lr': 0.003})"
    opt = eval(
        line.removeprefix("opt = "), {"ravine": ravine, "model": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])}
    )
    assert rates(opt) == {"Muon": 0.02, "AdamW": 0.003}


def test_a_recorded_path_is_that_of_the_routes(monkeypatch):
    asked = paths.Settings(optimizers=("muon",), epochs=1, rates=1)
    task = load_task("digits")
    met, (entry,) = [], entries(["muon"])
    training = paths.Training(asked, task, task.load())
    step = ravine.Routed.step
    monkeypatch.setattr(ravine.Routed, "step", lambda self, *a, **k: met.append(rates(self)) or step(self, *a, **k))
    recorder = training.path(entry, 0.02)
    assert met and met[0].keys() == {"Muon", "AdamW"} and len(recorder.rows) > 10
