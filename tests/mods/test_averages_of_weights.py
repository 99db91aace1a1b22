"""What an average of weights holds: that of the loop one would write, of torch's averaged model, of the path."""

import copy

import pytest
import torch
from modifiers import SHAPES, backends, gradients, near, of, parameters, walk
from torch import nn

import ravine
from ravine.mods import EMA, Averaging, ClipNorm


@backends
def test_clipping_adamw_and_an_average_are_the_loop_one_would_write(backend):
    a, b = parameters(), parameters()
    opt = ravine.AdamW(a, lr=0.01, mods=[ClipNorm(1.0), EMA(0.9)], backend=backend)
    theirs = torch.optim.AdamW(b, lr=0.01)
    average = [p.detach().clone() for p in b]
    for t in range(10):
        walk(opt, 1, first=t)
        for p, g in zip(b, gradients(t, SHAPES), strict=True):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(b, 1.0)
        theirs.step()
        for x, p in zip(average, b, strict=True):
            x.mul_(0.9).add_(p.detach(), alpha=0.1)
        near([p.detach() for p in a], [p.detach() for p in b])
    opt.eval()
    near([p.detach() for p in a], average)


@pytest.mark.parametrize("mean", [False, True])
def test_averages_are_those_of_torchs_averaged_model(mean):
    from torch.optim import swa_utils

    make = nn.Linear(4, 3).double()
    ours, theirs = copy.deepcopy(make), copy.deepcopy(make)
    opt = ravine.SGD(ours.parameters(), lr=0.1, mods=[Averaging(3) if mean else EMA(0.8)])
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(
        theirs, **({} if mean else {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)})
    )
    if not mean:
        averaged.update_parameters(theirs)  # takes the initial weights, which ours begins with
    for t in range(8):
        walk(opt, 1, first=t)
        for p, g in zip(theirs.parameters(), gradients(t, [p.shape for p in theirs.parameters()]), strict=True):
            p.grad = g
        torchs.step()
        if not mean or t >= 3:
            averaged.update_parameters(theirs)
    opt.eval()
    near([p.detach() for p in ours.parameters()], [p.detach() for p in averaged.module.parameters()])


def test_one_model_an_epoch_is_torchs_swa():
    """With its schedule, and the statistics of batch normalization gathered anew."""
    from torch.optim import swa_utils

    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)).double()
    theirs, x = copy.deepcopy(ours), torch.randn(5, 8, 4).double()
    a = ravine.SGD(ours.parameters(), lr=0.1, momentum=0.9, mods=[Averaging(start=5, every=5)])
    b = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    averaged = swa_utils.AveragedModel(theirs)
    schedules = [swa_utils.SWALR(opt, swa_lr=0.05, anneal_epochs=2) for opt in (a, b)]
    for epoch in range(4):
        for batch in x:
            for model, opt in ((ours, a), (theirs, b)):
                opt.zero_grad()
                (model(batch) - batch.sum(1, keepdim=True)).square().mean().backward()
                opt.step()
        if epoch >= 1:
            averaged.update_parameters(theirs)
        for schedule in schedules:
            schedule.step()
    a.eval()
    for model in (ours, averaged):
        swa_utils.update_bn(x, model)
    near([*ours.parameters(), *ours.buffers()], [*averaged.module.parameters(), *averaged.module.buffers()])


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("warmup", [None, "ramp", "unbiased"])
def test_the_average_holds_what_its_warmup_says(decay, warmup):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[EMA(decay, warmup)])
    path, average = [[p.detach().clone() for p in of(opt)]], None
    average = path[0]
    for t in range(1, 16):
        path.append(walk(opt, 1, first=t))
        beta = min(decay, (1 + t) / (10 + t)) if warmup == "ramp" else decay
        average = [beta * a + (1 - beta) * p for a, p in zip(average, path[-1], strict=True)]
    if warmup == "unbiased":
        weights = [decay ** (15 - k) for k in range(1, 16)]
        average = [
            sum(w * x[i] for w, x in zip(weights, path[1:], strict=True)) / sum(weights) for i in range(len(SHAPES))
        ]
    opt.eval()
    near([p.detach() for p in of(opt)], average)


@pytest.mark.parametrize("every", [1, 2, 3, 7])
@pytest.mark.parametrize("start", [0, 1, 4, 20])
@backends
def test_the_tail_average_is_a_mean_of_every_kth(start, every, backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[Averaging(start, every=every)], backend=backend)
    path = [walk(opt, 1, first=t) for t in range(9)]
    opt.eval()
    tail = path[start + every - 1 :: every] or path[-1:]
    near([p.detach() for p in of(opt)], [torch.stack([x[i] for x in tail]).mean(0) for i in range(len(SHAPES))])
