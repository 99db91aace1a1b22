"""What workers of tests do: functions that other processes can load."""

import os
import signal
import time
from functools import partial

import torch
from inprocess import backward, model

import ravine
from ravine.parallel.engines.lines import ServerLost
from ravine.parallel.rules import AdaptiveRevision, DelayedNesterov, ElasticCenter
from ravine.parallel.workers import AsyncDiLoCo, AsyncElasticAveraging, Downpour

KINDS = {
    "downpour": (Downpour, {"n_push": 2, "n_fetch": 3}, "adagrad:lr=0.1"),
    "overlap": (Downpour, {"overlap": True}, partial(ravine.Adam, lr=0.05)),
    "revision": (Downpour, {"warm_start": 3}, AdaptiveRevision),
    "elastic": (AsyncElasticAveraging, {"sync_every": 3}, partial(ElasticCenter, alpha=0.3)),
    "diloco": (AsyncDiLoCo, {"sync_every": 4}, partial(DelayedNesterov, every=2)),
}


def train(worker, kind="downpour", steps=30, pause=0.0, dies=None):
    """Steps with dropout, whose random numbers are the worker's own; `dies`: of which rank, and at which step."""
    torch.manual_seed(worker.rank)
    net, (cls, settings, _) = model(seed=worker.rank), KINDS[kind]
    opt = cls(worker.server, ravine.SGD(net.parameters(), lr=0.1), **settings)
    generator = torch.Generator().manual_seed(worker.rank)
    for n in range(steps):
        if dies == (worker.rank, n):
            os.kill(os.getpid(), signal.SIGKILL)
        backward(net, generator)
        for p in net.parameters():
            p.grad.add_(0.01 * torch.randn_like(p))
        opt.step()
        time.sleep(pause)
    opt.close()  # what is still on its way arrives
    return opt.client.acknowledged, opt.client.fenced, opt.client.refused


def leaves(worker):
    """A few steps, and a goodbye."""
    net = model()
    opt = Downpour(worker.server, ravine.SGD(net.parameters(), lr=0.1))
    for n in range(3):
        backward(net, torch.Generator().manual_seed(n))
        opt.step()
    opt.close()
    return worker.number


def raises(worker):
    raise ZeroDivisionError(f"worker {worker.rank} divides by zero")


def returns_a_lambda(worker):
    return lambda: None


def sometimes(worker):
    if worker.rank == 0:
        raises(worker)
    return leaves(worker)


def until_lost(worker, pause=0.0):
    """Steps until the server is lost: what was said then, and how long that took."""
    net, opt = model(), None
    while True:
        start = time.monotonic()
        try:
            opt = opt or Downpour(worker.server, ravine.SGD(net.parameters(), lr=0.1))
            backward(net, torch.Generator().manual_seed(0))
            opt.step()
        except ServerLost as error:
            return str(error), time.monotonic() - start
        time.sleep(pause)


def not_a_number(worker):
    """Worker 1 sends NaN."""
    net = model()
    opt = Downpour(worker.server, ravine.SGD(net.parameters(), lr=0.1))
    for n in range(5):
        backward(net, torch.Generator().manual_seed(n))
        if worker.rank == 1:
            net[0].weight.grad.fill_(torch.nan)
        opt.step()
    return opt.client.acknowledged, opt.client.refused
