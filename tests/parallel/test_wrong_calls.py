"""Wrong calls of ravine.parallel: one error that says what was given and what to do, and nothing is changed."""

import math

import pytest
import torch
from torch import nn

import ravine
from ravine.parallel import (
    DCASGD,
    Buffer,
    ClipNorm,
    DelayedNesterov,
    ElasticCenter,
    MatrixCompletion,
    PowerSGD,
    SignCompress,
    SparseLinear,
    TopK,
    hogwild,
    place,
    place_model,
)


@pytest.mark.parametrize("compressor", [PowerSGD(), TopK(), SignCompress()], ids=repr)
@pytest.mark.parametrize("given", [torch.ones(3), nn.Linear(2, 1), 3], ids=["tensor", "model", "number"])
def test_a_compressor_takes_a_list_of_tensors(compressor, given):
    with pytest.raises(TypeError, match="give a list of tensors, as "):
        compressor.all_reduce_mean(given)
    assert compressor.errors == {}


@pytest.mark.parametrize(
    ("factor", "error"), [(math.nan, ValueError), (0.0, ValueError), (-1.0, ValueError), ("2", TypeError)]
)
def test_the_memory_is_rescaled_by_a_number_above_0(factor, error):
    compressor = TopK(0.5)
    compressor.all_reduce_mean([torch.tensor([1.0, 2.0])])
    with pytest.raises(error, match="TopK: factor is"):
        compressor.rescale(factor)
    assert compressor.errors["0"].tolist() == [1.0, 0.0]


def test_shuffle_is_true_or_false():
    weights, factors = nn.Parameter(torch.zeros(3)), [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    with pytest.raises(TypeError, match="SparseLinear: shuffle is 'no'; it must be True or False"):
        SparseLinear(torch.eye(3), [1, 1, 1], ravine.SGD([weights], lr=0.1), shuffle="no")
    with pytest.raises(TypeError, match="MatrixCompletion: shuffle is 'no'; it must be True or False"):
        MatrixCompletion([0], [1], [1.0], ravine.SGD(factors, lr=0.1), shuffle="no")


def test_a_timeout_is_checked_with_threads_too():
    weights = nn.Parameter(torch.zeros(3))
    problem = SparseLinear(torch.eye(3), [1, 1, 1], ravine.SGD([weights], lr=0.1))
    with pytest.raises(ValueError, match="SparseLinear: timeout is -1"):
        problem.fit(timeout=-1)
    assert not weights.any()


def test_hogwild_says_that_the_optimizer_is_not_its_kind():
    p = nn.Parameter(torch.zeros(3))
    with pytest.raises(TypeError, match=r"hogwild: the optimizer is SGD .* it must be one of ravine's"):
        hogwild(print, [p], torch.optim.SGD([p], lr=0.1), processes=2)
    assert not p.is_shared()


def test_place_takes_named_parameters():
    model = nn.Linear(3, 1)
    for given in (model, 3):
        with pytest.raises(TypeError, match=r"give pairs \(name, tensor\), as model.named_parameters\(\) does"):
            place(given, 2)
    with pytest.raises(TypeError, match="place: split is 'yes'; it must be True or False"):
        place(model.named_parameters(), 2, split="yes")


def test_place_model_says_how_many_devices_it_can_use():
    with pytest.raises(ValueError, match="there are 4 devices, and 1 modules of the model run; give at most 1 devices"):
        place_model(nn.Linear(3, 1), torch.ones(2, 3), 4)
    with pytest.raises(TypeError, match="whole is None; it must be a list of classes of modules"):
        place_model(nn.Linear(3, 1), torch.ones(2, 3), 1, whole=None)


def test_policies_refuse_what_would_stop_training():
    with pytest.raises(ValueError, match=r"ClipNorm: most is 0.*give a number above 0"):
        ClipNorm(0)
    with pytest.raises(TypeError, match="Buffer: fresh is 'yes'; it must be True or False"):
        Buffer(2, fresh="yes")


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (ElasticCenter, {"alpha": 1.5}),
        (DelayedNesterov, {"momentum": 1.0}),
        (DelayedNesterov, {"c": 5.0}),
        (DCASGD, {"decay": 2.0}),
        (DCASGD, {"compensation": -1.0}),
    ],
)
def test_a_rule_has_ranges(cls, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"{cls.__name__}: {name} is .*; it must lie in "):
        cls([nn.Parameter(torch.zeros(2))], **wrong)
