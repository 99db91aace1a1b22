"""Trials give the Hessian's diagonal to rules that take it, and say where they cannot."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import ravine
from ravine.catalog.errors import CatalogError
from ravine.lab import LabError
from ravine.lab.protocol import curvature
from ravine.lab.protocol.passes import Passes
from ravine.lab.protocol.search import entries
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import load_task

TASK = load_task("digits").tiny()
DATA = TASK.load()


@pytest.mark.parametrize("name", ["digits", "autoencoder", "fashion-mnist-cnn-bn", "tinyshakespeare"])
def test_trials_train_by_kfac_and_adamw_what_has_no_factors(name):
    task = load_task(name).tiny()
    data = task.load()
    for typed in ("kfac", "ekfac") if name == "digits" else ("kfac",):
        (entry,) = entries([typed])
        curvature.check([entry], task, data)
        hyper = (("lr", 0.03), *entry.hyper)
        trial = Trial(name, typed, hyper, seed=0, epochs=8, batch=task.batch, content="")
        found, model = run(trial, task, data, entry.cls)
        assert found.valid[-1] < 0.95 * found.valid[0]
        opt = ravine.create(typed, model)
        assert {x.rule for x in opt.routes()} == ({"KFAC", "AdamW"} if ravine.groups.factored(model)[1] else {"KFAC"})


def test_kfac_draws_targets_of_losses_that_it_knows():
    (entry,) = entries(["kfac"])
    other = replace(TASK, loss=lambda out, y: torch.nn.functional.nll_loss(out.log_softmax(1), y))
    with pytest.raises(LabError, match=r"takes factors of the Fisher matrix, and .* draws targets of cross_entr"):
        curvature.check([entry], other, DATA)
    with pytest.raises(LabError, match=r"torch\.compile calls no hooks"):
        curvature.check([entry], TASK, DATA, compiled=True)


@pytest.mark.parametrize(("name", "lr"), [("adahessian", 0.1), ("sophiah", 3e-3)])
def test_a_trial_trains_with_them(name, lr):
    (entry,) = entries([name])
    curvature.check([entry], TASK, DATA)
    trial = Trial("digits", name, (("lr", lr),), seed=0, epochs=4, batch=TASK.batch, content="")
    found, _ = run(trial, TASK, DATA, entry.cls)
    assert found.valid[-1] < 0.9 * found.valid[0]


def test_the_source_is_the_one_of_the_method_and_an_own_one_is_kept():
    model = TASK.model()
    for opt, every, spatial in (
        (ravine.AdaHessian(model.parameters()), 1, True),
        (ravine.SophiaH(model.parameters()), 10, False),
    ):
        Passes(model, opt, "cpu", "float32", False)
        (source,) = opt.sources
        assert (source.every, source.spatial) == (every, spatial)
        assert curvature.backward_of(opt) == source.backward
    assert curvature.backward_of(ravine.Adam(model.parameters())) == torch.Tensor.backward


def test_where_it_cannot_be_measured_is_said_before_any_training():
    found = entries(["adam", "adahessian"])
    with pytest.raises(LabError, match="'adahessian' takes the Hessian's diagonal, and --precision fp16"):
        curvature.check(found, TASK, DATA, "fp16")
    with pytest.raises(LabError, match=r"torch\.compile makes no second derivative: leave out --compile"):
        curvature.check(found, TASK, DATA, compiled=True)

    class Layer(torch.nn.Linear):
        def forward(self, input):
            rows = input.view(len(input), 1, 8, -1)
            return super().forward(scaled_dot_product_attention(rows, rows, rows * self.weight.mean()).flatten(1))

    frail = replace(TASK, model=lambda: Layer(DATA.x.shape[1], 10))
    with pytest.raises(LabError, match="and task 'digits' has no second derivative"):
        curvature.check(found, frail, DATA)
    with pytest.raises(CatalogError, match="'sophiag' takes h, which this command does not give"):
        entries(["sophiag"])
