"""Several processes on one model: every state is shared, one process is the serial run, and a failure is one error."""

import os
import signal
import time

import pytest
import torch
from torch import nn

import ravine
from ravine.mods import EMA
from ravine.parallel.hogwild import MatrixCompletion, SparseLinear, hogwild, share
from ravine.strategies import SNOO

WIDTH, SAMPLES, TOUCHED = 2000, 1200, 5


def data():
    made = torch.Generator().manual_seed(0)
    x = torch.randint(0, WIDTH, (SAMPLES, TOUCHED), generator=made)
    true = torch.randn(WIDTH, generator=made)
    return x, true[x].sum(1).sign()


class Model(nn.Module):
    """Logistic regression on a bag of words, with a dense part when asked."""

    def __init__(self, dense=False):
        super().__init__()
        self.weight = nn.EmbeddingBag(WIDTH, 1, mode="sum", sparse=True, dtype=torch.float64)
        nn.init.zeros_(self.weight.weight)
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64)) if dense else None

    def forward(self, x):
        z = self.weight(x)[:, 0]
        return z if self.scale is None else z * self.scale


def loss_of(model, x, y):
    return nn.functional.softplus(-y * model(x)).mean()


def train(rank, epoch, model, optimizer, processes):
    """Every processes-th batch of an epoch."""
    x, y = data()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
    for batch in order.view(-1, 10)[rank::processes]:
        optimizer.zero_grad()
        loss_of(model, x[batch], y[batch]).backward()
        optimizer.step()


MAKE = {
    "sgd": lambda p: ravine.SGD(p, lr=2.0),
    "adagrad": lambda p: ravine.Adagrad(p, lr=0.5, lr_decay=0.001),
    "adam": lambda p: ravine.Adam(p, lr=0.05),
    "ema": lambda p: ravine.AdamW(p, lr=0.05, mods=[EMA(0.9)]),
}


def run(name, processes, epochs=2, dense=False, **more):
    model = Model(dense)
    optimizer = MAKE[name](model.parameters())
    hogwild(train, model, optimizer, processes=processes, epochs=epochs, args=(processes,), timeout=120, **more)
    return model, optimizer


@pytest.mark.ci
@pytest.mark.parametrize("name", list(MAKE))
def test_one_process_is_the_serial_run_bit_for_bit(name):
    model, optimizer = run(name, 1, dense=True, backoff=0.5)
    twin = Model(dense=True)
    serial = MAKE[name](twin.parameters())
    for epoch in range(2):
        train(0, epoch, twin, serial, 1)
        serial.param_groups[0]["lr"] *= 0.5
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)
        assert optimizer.state[p].keys() == serial.state[q].keys()
        for k, x in serial.state[q].items():
            assert torch.equal(optimizer.state[p][k], x), k
    assert optimizer.param_groups[0]["lr"] == serial.param_groups[0]["lr"]


@pytest.mark.ci
@pytest.mark.parametrize("locked", [False, True])
def test_two_processes_reach_the_serial_loss_and_share_every_state(locked):
    x, y = data()
    serial = Model()
    opt = MAKE["adam"](serial.parameters())
    for epoch in range(4):
        train(0, epoch, serial, opt, 1)
    wanted = float(loss_of(serial, x, y).detach())
    model, optimizer = run("adam", 2, epochs=4, locked=locked)
    found = float(loss_of(model, x, y).detach())
    assert wanted < 0.2 and abs(found - wanted) < 0.05, (wanted, found)
    (state,) = optimizer.state.values()
    steps = 4 * SAMPLES // 10
    assert (steps if locked else 0.98 * steps) <= state["step"] <= steps  # of both; a moment of both at once loses one
    touched = model.weight.weight.detach() != 0
    assert torch.equal(state["exp_avg"] != 0, touched), "moments of rows that only the other process touched"
    assert all(x.is_shared() for x in (model.weight.weight, *state.values()))


@pytest.mark.ci
def test_training_goes_on_in_the_caller_and_in_processes_again():
    model, optimizer = run("adam", 2, epochs=1)
    (state,) = optimizer.state.values()
    before = float(state["step"])
    train(0, 0, model, optimizer, 1)
    assert state["step"] == before + SAMPLES // 10
    saved = optimizer.state_dict()["state"][0]["step"]
    assert float(saved) == before + SAMPLES // 10
    hogwild(train, model, optimizer, processes=1, args=(1,), timeout=120)
    (state,) = optimizer.state.values()
    assert state["step"] == before + 2 * (SAMPLES // 10)


def alternate(rank, epoch, model, optimizer):
    """In process 0 the first parameter moves, in process 1 the second, then both move in both."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    params[rank].grad = torch.ones_like(params[rank])
    for _ in range(5):
        optimizer.step()
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()


@pytest.mark.ci
def test_each_parameter_has_its_own_count_of_all_processes():
    params = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimizer = ravine.Adam(params)
    hogwild(alternate, params, optimizer, processes=2, timeout=120)
    assert all(6 <= optimizer.state[p]["step"] <= 7 for p in params)


def fail(rank, epoch, model, optimizer, how):
    if rank == 1:
        if how == "raise":
            raise ValueError("this batch is broken")
        if how == "exit":
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    while True:  # the other works on; the caller ends it
        time.sleep(0.01)


FAILURES = {
    "raise": "process 1 of 2 raised ValueError: this batch is broken",
    "exit": "process 1 of 2 ended with exit code 3",
    "kill": "process 1 of 2 was ended by SIGKILL",
}


@pytest.mark.faults
@pytest.mark.parametrize(("how", "locked"), [("raise", False), ("exit", False), ("kill", False), ("raise", True)])
def test_a_process_that_fails_is_one_error(how, locked):
    model = Model()
    optimizer = MAKE["sgd"](model.parameters())
    with pytest.raises(RuntimeError, match=f"hogwild: {FAILURES[how]}"):
        hogwild(fail, model, optimizer, processes=2, args=(how,), locked=locked, timeout=120)
    assert optimizer.param_groups[0]["lr"] == 2.0
    train(0, 0, model, optimizer, 1)  # the caller goes on
    assert not torch.multiprocessing.active_children()


@pytest.mark.faults
def test_a_process_that_dies_with_the_lock_is_one_error():
    model = Model()
    optimizer = MAKE["sgd"](model.parameters())
    with pytest.raises(RuntimeError, match="hogwild: process 1 of 2 was ended by SIGKILL"):
        hogwild(die_within, model, optimizer, processes=2, locked=True, timeout=120)


def die_within(rank, epoch, model, optimizer):
    def closure():
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    while True:
        optimizer.step(closure)


@pytest.mark.faults
def test_time_is_up():
    model = Model()
    with pytest.raises(TimeoutError, match=r"after 4 s process 0, 1 of 2 was still at work"):
        hogwild(fail, model, MAKE["sgd"](model.parameters()), processes=2, args=("",), timeout=4)
    assert not torch.multiprocessing.active_children()


# problems in processes


def linear(opt):
    x, y = data()
    starts = torch.arange(0, SAMPLES * TOUCHED + 1, TOUCHED)
    return SparseLinear((starts, x.flatten(), torch.ones(x.numel())), y, opt)


@pytest.mark.ci
@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_a_problem_in_one_process_is_the_walk_of_the_caller(name):
    p, q = (nn.Parameter(torch.zeros(WIDTH, dtype=torch.float64)) for _ in range(2))
    mine, other = MAKE[name]([p]), MAKE[name]([q])
    linear(mine).fit(3, backoff=0.9, processes=1, timeout=120)
    linear(other).fit(3, backoff=0.9)
    assert torch.equal(p, q)
    assert mine.param_groups[0]["lr"] == other.param_groups[0]["lr"]
    for k, x in other.state[q].items():
        assert torch.equal(mine.state[p][k], x)


@pytest.mark.ci
@pytest.mark.parametrize("adds", ["plain", "atomic", "locked"])
def test_a_problem_in_two_processes_reaches_the_loss_of_one(adds):
    losses = []
    for processes in (0, 2):
        p = nn.Parameter(torch.zeros(WIDTH))
        opt = MAKE["adagrad"]([p])
        problem = linear(opt)
        problem.fit(8, processes=processes, adds=adds, timeout=120)
        losses.append(problem.loss())
        assert float(opt.state[p]["step"]) == 8 * SAMPLES, "exact: the place of a sample is its t"
        problem.fit(1)
        assert float(opt.state[p]["step"]) == 9 * SAMPLES and problem.epochs == 9
    assert losses[0] < 0.2 and abs(losses[0] - losses[1]) < 0.02, losses


@pytest.mark.ci
def test_completion_in_two_processes():
    made = torch.Generator().manual_seed(0)
    whole = torch.randn(60, 2, generator=made) @ torch.randn(2, 50, generator=made)
    at = torch.randperm(3000, generator=made)[:1500]
    params = [nn.Parameter(0.3 * torch.randn(n, 2, generator=made)) for n in (60, 50)]
    problem = MatrixCompletion(at // 50, at % 50, whole.flatten()[at], ravine.SGD(params, lr=0.05))
    problem.fit(100, processes=2, backoff=0.99, timeout=120)
    assert problem.loss() < 1e-4


# what is shared, and what is refused


def test_share_moves_all_in_place():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = ravine.NAdam(model.parameters(), lr=0.1)
    share(optimizer)
    states = [optimizer.state[p] for p in model.parameters()]
    assert all(p.is_shared() for p in model.parameters())
    assert all(x.is_shared() for state in states for x in state.values())
    assert len({id(state["step"]) for state in states}) == 4
    rate = optimizer.param_groups[0]["lr"]
    assert rate.is_shared() and rate == 0.1
    kept = [dict(state) for state in states]
    for _ in range(2):
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
    share(optimizer)
    for state, before in zip(states, kept, strict=True):
        assert all(state[k] is x for k, x in before.items()), "each stays where it is"
        assert state["step"] == 2


def test_the_shared_optimizer_steps_as_the_plain_one():
    params = [nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(4)]
    mine, plain = ravine.Prodigy(params[:2]), ravine.Prodigy(params[2:])
    share(mine)
    for t in range(4):
        for i, p in enumerate(params):
            p.grad = torch.full_like(p, 0.1 * (i % 2 + 1)) if t != 2 or i % 2 else None
        mine.step()
        plain.step()
    for p, q in zip(params[:2], params[2:], strict=True):
        assert torch.equal(p, q)
        for k, x in plain.state[q].items():
            assert torch.equal(mine.state[p][k], x), k


def test_bad_input():
    model = nn.Linear(300, 300)
    good = ravine.Adam(model.parameters())
    for opt in (torch.optim.Adam(model.parameters()), SNOO(good), None):
        with pytest.raises(TypeError, match="must be one of ravine's"):
            hogwild(train, model, opt, processes=1)
    with pytest.raises(ValueError, match='storage="int8"'):
        share(ravine.Adam(model.parameters(), storage="int8"))
    with pytest.raises(ValueError, match="is on meta"):
        share(ravine.Adam([nn.Parameter(torch.zeros(3, device="meta"))]))
    released = ravine.Adam(model.parameters())
    handle = ravine.release(model, released)
    with pytest.raises(ValueError, match=r"was released"):
        share(released)
    handle.remove()
    for work in (lambda *_: None, 3):
        with pytest.raises(TypeError, match="hogwild: work is"):
            hogwild(work, model, good, processes=1)
    for given in ({"processes": 0}, {"epochs": -1}, {"backoff": 2.0}, {"timeout": -1.0}):
        with pytest.raises(ValueError, match=f"hogwild: {next(iter(given))} is"):
            hogwild(train, model, good, **{"processes": 1} | given)
    assert not any(p.is_shared() for p in model.parameters()), "nothing has changed"
