"""What every source does: whose it is, who is due, what is refused, and what several processes are told."""

import gc
import pickle
from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from torch import nn

import ravine
from ravine.rule import processes
from ravine.sources import Hutchinson, KroneckerFactors, Source


class Scaled(ravine.Optimizer):
    inputs = {"h": "r c"}

    def update(self, s, p, g, t, h):
        return p - self.lr * g / h


class Ones(Source):
    gives = ("h",)

    def give(self, wanted):
        return {"h": {p: torch.ones_like(p) for p in wanted["h"]}}


def parameter():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.ones(2)
    return p


def test_a_source_gives_to_one_optimizer_and_may_go_on_to_another_when_that_is_gone():
    source, opt = Ones(), Scaled([parameter()])
    opt.watch(source)
    assert opt.sources == (source,)
    with pytest.raises(ValueError, match="Ones gives to another optimizer already"):
        Scaled([parameter()], sources=[source])
    with pytest.raises(ValueError, match="two sources give h"):
        opt.watch(Hutchinson())
    del opt
    gc.collect()
    Scaled([parameter()], sources=[source]).step()


def test_what_cannot_be_is_refused():
    model = nn.Linear(2, 1)
    for make, why in {
        lambda: Scaled([parameter()], sources=[Ones]): "sources has",
        lambda: Scaled([parameter()], sources=[Ones()], capturable=True): "capturable=True takes no sources",
        lambda: Scaled([{"params": [parameter()], "sources": []}]): "sources is the whole optimizer's",
        lambda: ravine.release(model, Scaled(model.parameters())): "is given h before a step",
        lambda: Ones(every=0): "every is 0; it must be a whole number of steps",
        lambda: KroneckerFactors(nn.ReLU()): "ReLU has no nn.Linear",
    }.items():
        with pytest.raises((TypeError, ValueError), match=why):
            make()
    opt = Scaled([parameter()], sources=[Ones()])
    opt.found_inf = torch.zeros(1)  # as torch's GradScaler leaves it
    with pytest.raises(RuntimeError, match="GradScaler scales the loss, and Ones would give what is scaled too"):
        opt.step()


def test_a_step_that_only_makes_states_to_load_into_needs_no_inputs():
    p = parameter()
    p.grad.zero_()
    opt = Scaled([p], lr=0.0)
    opt.step()  # as torch.distributed.checkpoint does
    assert opt.state[p].keys() == {"h", "step"}


def test_a_copy_of_the_model_is_not_measured_and_the_hooks_can_be_taken_away():
    model = nn.Sequential(nn.Linear(2, 1))
    source = KroneckerFactors(model, loss="mse")
    opt = ravine.KFAC(model.parameters(), sources=[source])
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        copy(torch.ones(3, 2)).sum().backward()
    assert not source.waiting
    source.backward(model(torch.ones(3, 2)))
    assert {x.rows for x in source.seen.values()} == {3} and not deepcopy(source).seen
    assert len(opt.sources) == 1
    source.remove()
    assert not model[0]._forward_hooks


def test_several_processes_must_say_who_trains_one_model(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda group=None: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda x, group: x.mul_(2).add_(4))  # the other has 4 more
    (x,) = values = [torch.ones(2)]
    with pytest.raises(RuntimeError, match=r"2 processes run.*give Ones\(…, group=torch.distributed.group.WORLD\)"):
        processes.average("Ones", values, None)
    processes.average("Ones", values, False)
    assert x.tolist() == [1.0, 1.0]
    processes.average("Ones", values, "world")
    assert x.tolist() == [3.0, 3.0]
