"""Numbers of NumPy are taken as Python's own are, and a checkpoint that torch.load reads comes of either."""

import io
import json

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from ravine.data import Curriculum, Mixed, Shuffle, pacing
from ravine.loop import EarlyStopping
from ravine.mods import EMA, ClipNorm, GradientNoise
from ravine.schedules import Cosine, Plateau, Warmup, create
from ravine.schedules.by_name import EVERY
from ravine.strategies import SAM, Lookahead, PathRecorder

WHOLE, REAL = [int, np.int64, np.int32, np.uint8, np.array], [float, np.float64, np.float32, np.array]


def reread(state):
    """What torch.load makes of a checkpoint without leave to run code."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def net():
    return nn.Linear(3, 1)


def stepped(opt, model, **how):
    for _ in range(3):
        opt.zero_grad()
        model(torch.ones(2, 3)).square().mean().backward()
        opt.step(**how)
    return opt


@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("make", [ravine.AdamW, torch.optim.AdamW])
def test_a_schedule_of_numpys_numbers_leaves_a_state_that_torch_loads(make, real):
    model = net()
    opt = make(model.parameters(), lr=0.5, betas=(0.5, 0.75))
    schedule = ravine.Scheduler(
        opt, lr=lambda t: real(1 / (1 + t)), betas=(lambda t: real(1.0), None), last_epoch=np.int64(-1)
    )
    stepped(opt, model)
    schedule.step()
    assert opt.param_groups[0]["lr"] == 0.25 and opt.param_groups[0]["betas"] == (0.5, 0.75)
    assert type(opt.param_groups[0]["lr"]) is type(opt.param_groups[0]["betas"][0]) is float
    assert reread(schedule.state_dict()) == schedule.state_dict()
    reread(opt.state_dict())


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("cls", EVERY)
def test_schedules_take_numpys_numbers(cls, whole):
    total, warmup = whole(40), whole(4)
    made = create(cls.name, total, warmup)
    assert made == create(cls.name, 40, 4) and repr(made) == repr(create(cls.name, 40, 4))
    json.dumps([made(t) for t in range(5)])


@pytest.mark.parametrize("whole", WHOLE)
def test_plateaus_and_chains_keep_plain_numbers(whole):
    opt = ravine.SGD(net().parameters(), lr=1.0)
    plateau = Plateau(patience=whole(1), cooldown=whole(1))
    schedule = ravine.Scheduler(opt, lr=Warmup(whole(1)).then(whole(1), Cosine(whole(9))) * plateau)
    for loss in (np.float32(1.0), np.float64(2.0), np.array(3.0)):
        schedule.report(loss)
    assert reread(schedule.state_dict())["plateaus"] == [plateau.state]


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize(
    "make",
    [
        lambda **how: Shuffle(range(8), **how),
        lambda **how: Curriculum(torch.arange(8.0), pacing.linear(over=2), **how),
        lambda **how: Mixed(torch.arange(8) % 3, **how),
    ],
)
def test_samplers_keep_plain_numbers(make, whole):
    order = make(seed=whole(3), num_replicas=whole(2), rank=whole(1))
    assert list(order) == list(make(seed=3, num_replicas=2, rank=1))
    order.at(whole(2), whole(1))
    assert reread(order.state_dict()) == {"epoch": 2, "sample": 2, "seed": 3, "of": 8}
    order.load_state_dict({k: whole(x) for k, x in order.state_dict().items()})
    order.set_epoch(whole(3))
    assert all(type(x) is int for x in order.state_dict().values())


@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("whole", WHOLE)
def test_optimizers_strategies_and_the_rest_keep_plain_numbers(whole, real):
    model = net()
    groups = ravine.groups.layer_decay(model, real(0.125), real(0.5), weight_decay=real(0.25))
    torch.optim.AdamW(groups)
    mods = [ClipNorm(real(1.0)), GradientNoise(real(0.25), seed=whole(3)), EMA(real(0.5))]
    opt = ravine.ScheduleFreeSGD(groups, momentum=real(0.5), warmup_steps=whole(3), seed=whole(1), mods=mods)
    stepped(opt, model)
    assert opt.param_groups[0]["warmup_steps"] == 3 and type(opt.param_groups[0]["seed"]) is int
    reread(opt.state_dict())
    reread(ravine.Adam(model.parameters(), master_bits=whole(8)).state_dict())
    for strategy in (Lookahead(ravine.SGD(model.parameters(), lr=0.1), whole(2), real(0.5)),):
        reread(stepped(strategy, model).state_dict())
    reread(SAM(ravine.SGD(model.parameters(), lr=0.1), real(0.05), eta=real(0.01)).state_dict())
    path = PathRecorder(model, every=whole(1), most=whole(2))
    for _ in range(3):
        path.step()
    reread(path.state_dict())
    stop = EarlyStopping(model, whole(2), real(0.125))
    for loss in (1.0, 0.9, real(0.8)):
        stop(loss)
    reread(stop.state_dict())
    monitor = ravine.Monitor(model, ravine.SGD(model.parameters()), every=whole(1), histograms=whole(0))
    json.dumps(monitor.history)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Cosine(x),
        lambda x: create("cosine", x),
        lambda x: Shuffle(range(8), seed=x),
        lambda x: Lookahead(ravine.SGD(net().parameters()), x),
        lambda x: PathRecorder(net(), every=x),
        lambda x: ravine.Adam(net().parameters(), seed=x),
        lambda x: GradientNoise(seed=x),
    ],
)
@pytest.mark.parametrize("bad", [2.0, np.float64(2.0), "2"])
def test_fractions_are_no_whole_numbers(make, bad):
    with pytest.raises(TypeError, match=r"whole number|integer"):
        make(bad)
