"""One worker alone, without torch.distributed: what its group may be, how steps are counted, and what is saved."""

import copy as copying
import pickle

import numpy as np
import pytest
import torch
from roads import start, values
from walks import copy, equal, near, through_a_file, walk

import ravine
from ravine.parallel.sync.diloco import DiLoCo
from ravine.parallel.sync.elastic_averaging import ElasticAveraging
from ravine.parallel.sync.local_sgd import LocalSGD

METHODS = [
    pytest.param(lambda x, **how: LocalSGD(x, sync_every=3, **how), id="LocalSGD"),
    pytest.param(lambda x, **how: DiLoCo(x, sync_every=3, **how), id="DiLoCo"),
    pytest.param(lambda x, **how: ElasticAveraging(x, sync_every=3, **how), id="ElasticAveraging"),
]
methods = pytest.mark.parametrize("make", METHODS)


def test_the_mean_of_one_is_itself():
    params, alone = start(), start()
    opt = LocalSGD(ravine.Adam(params, lr=0.05), sync_every=2, warmup=3)
    equal(walk(opt, params, 9), walk(ravine.Adam(alone, lr=0.05), alone, 9))
    assert opt.sent_bytes == 0


def test_elastic_averaging_of_one():
    params, x, c = start(), values(start()), values(start())
    opt = ElasticAveraging(ravine.SGD(params, lr=0.1), sync_every=2, beta=0.3)
    for t in range(9):
        walk(opt, params, 1, t)
        g = [0.1 * (torch.cos(3 * p + 0.7 * t) + 0.5 * p) for p in x]
        d = [0.3 * (p - q) if t % 2 == 0 else torch.zeros_like(p) for p, q in zip(x, c, strict=True)]
        x = [p - a - b for p, a, b in zip(x, g, d, strict=True)]
        c = [q + b for q, b in zip(c, d, strict=True)]
        near(params, x)
        near([opt.state[p]["elasticaveraging.center"] for p in params], c)


@pytest.mark.parametrize("eta", [0.2, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("side", [-0.02, 0.02])
def test_one_worker_is_stable_where_the_paper_says(eta, side):
    """On x² / 2 and with one worker: where 0 ≤ α ≤ (4 − 2η) / (4 − η)."""
    alpha = (4 - 2 * eta) / (4 - eta) + side
    x = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    opt = ElasticAveraging(ravine.SGD([x], lr=eta), sync_every=1, beta=alpha)
    walk(opt, [x], 1)
    x.data.fill_(1.0)
    opt.state[x]["elasticaveraging.center"].fill_(-1.0)
    for _ in range(1000):
        x.grad = x.detach().clone()
        opt.step()
    assert (abs(float(x.detach())) < 0.1) == (side < 0)


@pytest.mark.parametrize("workers", [3, 4, 8])
def test_the_round_robin_is_stable_where_the_paper_says(workers):
    """The exchange of one worker after the other, on x² / 2: the spectral radius of a whole round."""

    def radius(eta, alpha):
        whole = np.eye(workers + 1)
        for i in range(workers):
            one = np.eye(workers + 1)
            one[i, i], one[i, -1] = 1 - eta - alpha, alpha
            one[-1, i], one[-1, -1] = alpha, 1 - alpha
            whole = one @ whole
        return max(abs(np.linalg.eigvals(whole)))

    for eta in np.linspace(0.1, 1.9, 10):
        bound = (4 - 2 * eta) / (4 - eta)
        assert radius(eta, bound - 0.02) <= 1 < radius(eta, bound + 0.02)


@methods
def test_a_checkpoint_anywhere_continues_bit_for_bit(make):
    params = start()
    opt = make(ravine.NAG(params, lr=0.05, momentum=0.8))
    for t in range(5):
        walk(opt, params, 1, t)
        others = start()
        other = make(ravine.NAG(others, lr=0.5, momentum=0.1))
        copy(others, params)
        other.load_state_dict(through_a_file(opt.state_dict()))
        twin, third = copying.deepcopy(opt), pickle.loads(pickle.dumps(opt))
        ends = [walk(x, x.params, 5, t + 1) for x in (other, twin, third)]
        kept = values(params)
        state = copying.deepcopy(opt.state_dict())
        for end in ends:
            equal(walk(opt, params, 5, t + 1), end)
            copy(params, kept)
            opt.load_state_dict(copying.deepcopy(state))


@methods
def test_a_state_of_another_is_refused(make):
    params = start()
    opt = make(ravine.SGD(params, lr=0.1))
    walk(opt, params, 4)
    for state in (ravine.SGD(start(), lr=0.1).state_dict(), ravine.strategies.SNOO(ravine.SGD(start())).state_dict()):
        with pytest.raises(ValueError, match="this is not a state_dict of"):
            opt.load_state_dict(state)
    broken = copying.deepcopy(opt.state_dict())
    broken["param_groups"][0][type(opt).__name__]["count"] = -1
    with pytest.raises(ValueError, match="count is -1"):
        opt.load_state_dict(broken)
    assert opt.count == 4


@methods
def test_a_strategy_inside_and_a_schedule_outside(make):
    params = start()
    opt = make(ravine.strategies.Lookahead(ravine.Adam(params, lr=0.05), k=2))
    schedule = torch.optim.lr_scheduler.StepLR(opt, 2)
    for t in range(4):
        walk(opt, params, 1, t)
        schedule.step()
    assert opt.count == 4 and opt.param_groups[0]["lr"] == pytest.approx(0.05 * 0.01)
    assert {"lookahead.slow"} <= set(opt.state[params[0]])


@methods
def test_a_step_that_only_makes_states_does_not_count(make):
    """As torch.distributed.checkpoint makes it: gradients of zeros and a rate of zero."""
    params = start()
    opt = make(ravine.Adam(params, lr=0.0))
    for p in params:
        p.grad = torch.zeros_like(p)
    opt.step()
    assert opt.count == 0
    equal(params, start())


@methods
def test_torchrun_without_a_group_is_an_error(make, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"WORLD_SIZE=2\) and no process group .*init_process_group\(\) before"):
        make(ravine.SGD(start(), lr=0.1))
    params, alone = start(), start()
    opt = make(ravine.SGD(params, lr=0.1), process_group=False)
    if isinstance(opt, LocalSGD):
        near(walk(opt, params, 4), walk(ravine.SGD(alone, lr=0.1), alone, 4))


@methods
def test_what_is_refused(make):
    for group in ("gloo", 3, object()):
        with pytest.raises(TypeError, match=r"process_group is .*; it must be a ProcessGroup"):
            make(ravine.SGD(start(), lr=0.1), process_group=group)
    with pytest.raises(TypeError, match="drives an optimizer"):
        make(start())
    with pytest.raises(TypeError, match="released"):
        model = torch.nn.Linear(2, 2)
        opt = ravine.SGD(model.parameters(), lr=0.1)
        ravine.release(model, opt)
        make(opt)


def test_settings_that_are_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for cls, how in (
        (LocalSGD, {"sync_every": 0}),
        (LocalSGD, {"warmup": -1, "sync_every": 2}),
        (LocalSGD, {"average_state": 1, "sync_every": 2}),
        (ElasticAveraging, {"sync_every": 1.5}),
        (ElasticAveraging, {"beta": 1.1}),
        (ElasticAveraging, {"beta": float("nan")}),
    ):
        with pytest.raises((ValueError, TypeError), match=f"{cls.__name__}: {next(iter(how))} is"):
            cls(opt, **how)
    with pytest.raises(ValueError, match="8-bit codes"):
        LocalSGD(ravine.Adam(start(), storage="int8"), sync_every=2, average_state=True)
