"""torch's schedulers drive ravine's optimizers as they drive torch's own."""

import pytest
import torch
from cases import every_program, parameters, walk
from ordinary import SHAPES, agree, of, pair
from torch.optim import lr_scheduler

import ravine

SCHEDULERS = {
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 if t < 2 else 0.5),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9),
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [1, 3]),
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.5, 2),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=3),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 4),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
    "warm restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 2)]),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=False),
    "cyclic momentum": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 8),
    "one cycle, lr alone": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 8, cycle_momentum=False),
    "swa": lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 3),
}


def test_no_scheduler_is_missing():
    theirs = {x for x in vars(lr_scheduler).values() if isinstance(x, type) and issubclass(x, lr_scheduler.LRScheduler)}
    mine = {type(make(torch.optim.SGD(parameters([(2,)]), lr=0.1, momentum=0.9))) for make in SCHEDULERS.values()}
    assert {x.__name__ for x in theirs - mine} <= {"LRScheduler", "_LRScheduler"}


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS.keys())
@pytest.mark.parametrize("cls", [ravine.SGD, ravine.Adam, ravine.RMSprop], ids=["sgd", "adam", "rmsprop"])
def test_schedulers_of_torch_drive_it_as_they_drive_torchs(cls, make):
    extra = {"momentum": 0.9} if cls is not ravine.Adam else {}
    a, b = pair(cls, lr=0.1, **extra)
    followed = []
    for opt in (a, b):
        scheduler, rates = make(opt), []
        for t in range(6):
            walk(opt, 1, first=t)
            scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
            rates.append(float(opt.param_groups[0]["lr"]))
        followed.append(rates)
    assert followed[0] == followed[1]
    agree(a, b, 1e-5)


@every_program
def test_every_optimizer_takes_one_cycle(cls):
    opt = cls(parameters(SHAPES))
    momentum = "betas" in opt.defaults or "momentum" in opt.defaults
    scheduler = lr_scheduler.OneCycleLR(opt, 0.1, 8, cycle_momentum=momentum)
    for t in range(6):
        walk(opt, 1, first=t)
        scheduler.step()
    assert all(p.isfinite().all() for p in of(opt))
