"""Scheduler: what it sets, in which optimizers, and what it says to mistakes."""

import copy
import pickle

import pytest
import torch
from torch.optim import lr_scheduler

import ravine
from ravine.mods import ClipNorm, GradientNoise
from ravine.schedules import Cosine, Linear, Plateau, Scheduler, Step, Warmup
from ravine.strategies import Lookahead


def parameter(value=1.0):
    p = torch.nn.Parameter(torch.full((3,), value))
    p.grad = torch.ones_like(p)
    return p


def step(scheduler, times=1):
    for _ in range(times):
        scheduler.optimizer.step()
        scheduler.step()
    return scheduler.optimizer.param_groups


def test_the_first_step_is_made_with_s_of_0():
    opt = torch.optim.SGD([parameter()], lr=2.0)
    scheduler = Scheduler(opt, lambda t: 1 / (t + 1))
    assert scheduler.last_epoch == 0 and opt.param_groups[0]["lr"] == 2.0
    step(scheduler, 3)
    assert scheduler.last_epoch == 3 and scheduler.get_last_lr() == [0.5] == scheduler.get_lr()


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("make", [ravine.AdamW, torch.optim.AdamW])
def test_a_tensor_is_filled_in_place(make, shape):
    lr = torch.full(shape, 0.5)
    opt = make([parameter()], lr=lr, foreach=False)
    scheduler = Scheduler(opt, Linear(4))
    assert step(scheduler, 2)[0]["lr"] is lr and lr.item() == 0.25 and lr.shape == shape
    (last,) = scheduler.get_last_lr()
    last.fill_(7.0)
    assert lr.item() == 0.25 and scheduler.base_lrs[0].item() == 0.5


def test_each_group_has_its_own_base_and_may_have_its_own_schedule():
    groups = [{"params": [parameter()], "lr": 1.0}, {"params": [parameter()]}, {"params": [parameter()], "lr": 3.0}]
    opt = ravine.AdamW(groups, lr=2.0, weight_decay=0.5)
    scheduler = Scheduler(opt, lr=[Linear(4), None, Step(1)], betas=[(None, Linear(4)), None, None])
    seen = step(scheduler, 2)
    assert [g["lr"] for g in seen] == pytest.approx([0.5, 2.0, 0.03])
    assert [g["betas"] for g in seen] == [(0.9, 0.999 / 2), (0.9, 0.999), (0.9, 0.999)]
    opt.add_param_group({"params": [parameter()], "lr": 5.0})
    with pytest.raises(ValueError, match="lr has schedules for 3 groups, and there are 4"):
        step(scheduler)


def test_a_group_that_joins_late_takes_part():
    opt = ravine.SGD([parameter()], lr=1.0, momentum=0.8)
    scheduler = Scheduler(opt, lr=Linear(10), momentum=Linear(10))
    step(scheduler, 4)
    opt.add_param_group({"params": [parameter()], "lr": 10.0})
    seen = step(scheduler)
    assert [g["lr"] for g in seen] == [0.5, 5.0] and [g["momentum"] for g in seen] == [0.4, 0.4]
    assert scheduler.base_lrs == [1.0, 10.0] and scheduler.get_last_lr() == [0.5, 5.0]


def test_places_of_tuples_and_numbers_of_modifiers():
    mods = [ClipNorm(1.0), GradientNoise(0.5)]
    opt = ravine.AdEMAMix([parameter()], lr=1.0, mods=mods)
    hyper = {"betas.2": Linear(4).between(0.5, 0.9), "mods.1.eta": Linear(4), "alpha": Linear(4).between(0.0, 8.0)}
    (group,) = step(Scheduler(opt, **hyper), 2)
    assert group["betas"] == (*opt.defaults["betas"][:2], 0.7) and group["alpha"] == 4.0 and group["lr"] == 1.0
    assert group["mods"][1].eta == 0.25 and group["mods"][0].max_norm == 1.0 and mods[1].eta == 0.5
    with pytest.raises(ValueError, match="must lie in"):
        step(Scheduler(opt, **{"mods.0.max_norm": Linear(4).between(1.0, -1.0)}), 4)


@pytest.mark.parametrize("make", [list, tuple])
def test_lists_stay_lists(make):
    opt = torch.optim.Adam([parameter()], lr=1.0, betas=(0.9, 0.99))
    opt.param_groups[0]["betas"] = make((0.8, 0.99))
    (group,) = step(Scheduler(opt, betas=(Linear(4), None)), 2)
    assert group["betas"] == make((0.4, 0.99))


def test_the_steps_are_those_of_hyperparameters_set_by_hand():
    ends = []
    for by_hand in (True, False):
        p = parameter()
        opt = ravine.AdamW([p], lr=0.1, mods=[GradientNoise(0.5)])
        cosine, beta = Cosine(10), Linear(10).between(0.9, 0.99)
        if not by_hand:
            scheduler = Scheduler(opt, lr=cosine, betas=(None, beta), weight_decay=cosine, **{"mods.0.eta": cosine})
        for t in range(10):
            if by_hand:
                group = opt.param_groups[0]
                group |= {"lr": 0.1 * cosine(t), "weight_decay": 0.01 * cosine(t), "betas": (0.9, beta(t))}
                group["mods"][0].eta = 0.5 * cosine(t)
            opt.step()
            if not by_hand:
                scheduler.step()
        ends.append(p.detach())
    assert torch.equal(*ends)


def test_zero_is_kept_off_all_but_lr():
    opt = ravine.SGD([parameter()], lr=1.0, momentum=0.9)
    (group,) = step(Scheduler(opt, lr=Linear(2), momentum=Linear(2), weight_decay=Linear(2)), 2)
    assert group["lr"] == 0.0 < group["momentum"] < 1e-300
    assert group["weight_decay"] == 0.0  # began at zero: a decay is not what this program is made for


def test_a_strategy_and_what_torch_chains():
    opt = Lookahead(ravine.SGD([parameter()], lr=1.0))
    assert step(Scheduler(opt, Linear(4)), 1)[0]["lr"] == 0.75

    opt = ravine.SGD([parameter()], lr=1.0, momentum=0.8)
    parts = [Scheduler(opt, lr=Warmup(2), momentum=Warmup(2)), Scheduler(opt, lr=Linear(4), momentum=Linear(4))]
    scheduler, seen = lr_scheduler.SequentialLR(opt, parts, [2]), []
    for _ in range(5):
        seen.append((opt.param_groups[0]["lr"], opt.param_groups[0]["momentum"]))
        opt.step()
        scheduler.step()
    assert seen == [(0.5, 0.4), (1.0, 0.8), (1.0, 0.8), (0.75, pytest.approx(0.6)), (0.5, 0.4)]


def test_going_on_at_an_epoch():
    opt = ravine.SGD([parameter()], lr=1.0, momentum=0.8)
    first = Scheduler(opt, lr=Linear(10), momentum=Linear(10))
    step(first, 3)
    again = ravine.SGD([parameter()], lr=9.0)
    with pytest.raises(KeyError, match="load the optimizer's state_dict"):
        Scheduler(again, lr=Linear(10), last_epoch=2)
    again.load_state_dict(opt.state_dict())
    assert Scheduler(again, lr=Linear(10), momentum=Linear(10), last_epoch=2).last_epoch == 3  # steps made, as torch's
    assert torch.optim.lr_scheduler.LambdaLR(again, lambda t: 1 - t / 10, last_epoch=2).last_epoch == 3
    (group,) = step(Scheduler(again, lr=Linear(10), momentum=Linear(10), last_epoch=2), 1)
    assert (group["lr"], group["momentum"]) == pytest.approx((0.6, 0.48))


def test_loading_sets_the_hyperparameters_at_once():
    first, other = (torch.optim.SGD([parameter()], lr=1.0, momentum=0.8) for _ in range(2))
    saved, again = (Scheduler(opt, lr=Linear(10), momentum=Linear(10)) for opt in (first, other))
    step(saved, 5)
    again.load_state_dict(saved.state_dict())
    assert (other.param_groups[0]["lr"], other.param_groups[0]["momentum"]) == (0.5, 0.4)
    assert again.get_last_lr() == [0.5] and again.last_epoch == 5


def test_copies_go_on_alone():
    opt = torch.optim.SGD([parameter()], lr=1.0)
    scheduler = Scheduler(opt, Plateau(factor=0.5, patience=0) * Linear(10))
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        other.report(1.0)
        other.report(1.0)
        assert other.optimizer.param_groups[0]["lr"] == 0.5 and opt.param_groups[0]["lr"] == 1.0


def test_a_plateau_that_two_hyperparameters_share_is_told_once():
    plateau = Plateau(factor=0.5, patience=1)
    opt = torch.optim.SGD([parameter()], lr=1.0, momentum=0.8)
    scheduler = Scheduler(opt, lr=plateau, momentum=Warmup(1) * plateau)
    for _ in range(3):
        scheduler.report(torch.tensor(2.0))
    assert (opt.param_groups[0]["lr"], opt.param_groups[0]["momentum"]) == (0.5, 0.4)
    assert len(scheduler.state_dict()["plateaus"]) == 1


@pytest.mark.parametrize(
    ("hyper", "error", "words"),
    [
        ({"lr": 0.1}, TypeError, "lr is 0.1; give a schedule, such as Cosine"),
        ({"betas": (None, 0.9)}, TypeError, r"betas.1 is 0.9; give a schedule"),
        ({"momentm": Linear(3)}, ValueError, "no 'momentm'.*It has lr, betas, eps, weight_decay"),
        ({"weight_dcay": Linear(3)}, ValueError, "did you mean weight_decay"),
        ({"betas": (None, None, Linear(3))}, ValueError, "no 'betas.2'"),
        ({"mods.1.eta": Linear(3)}, ValueError, "no 'mods.1.eta'"),
        ({"mods.0.etta": Linear(3)}, ValueError, "no 'mods.0.etta'"),
        ({"amsgrad": Linear(3)}, TypeError, "amsgrad is False, and only numbers"),
        ({"seed": Linear(3)}, TypeError, "seed is 0, and only numbers with a fraction"),
        ({"betas": Linear(3)}, TypeError, r"betas is \(0.9, 0.999\), and only numbers"),
        ({"lr": [Linear(3), Linear(3)]}, ValueError, "lr has schedules for 2 groups, and there are 1"),
    ],
)
def test_mistakes(hyper, error, words):
    opt = ravine.Adam([parameter()], mods=[GradientNoise(0.5)])
    before = dict(opt.param_groups[0])
    with pytest.raises(error, match=words):
        Scheduler(opt, **hyper)
    assert opt.param_groups[0] == before


def test_mistakes_of_other_kinds():
    with pytest.raises(TypeError, match="is not an Optimizer"):
        Scheduler([parameter()], Linear(3))  # pyright: ignore[reportArgumentType]
    opt = torch.optim.SGD([parameter()], lr=1.0)
    scheduler = Scheduler(opt, Linear(3))
    with pytest.raises(ValueError, match="there is none"):
        scheduler.report(1.0)
    with pytest.raises(ValueError, match="not a state_dict of Scheduler"):
        scheduler.load_state_dict(lr_scheduler.StepLR(opt, 3).state_dict())
    with pytest.raises(ValueError, match="of 1 plateaus, and here are 0"):
        scheduler.load_state_dict(Scheduler(opt, Plateau()).state_dict())
