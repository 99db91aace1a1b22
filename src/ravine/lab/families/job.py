"""One run of a family: what decides it, what a worker does in it, and what it leaves."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..protocol.named import named
from ..protocol.passes import advance, switch
from ..seeding import seed_all
from ..tasks import Data, Task, called, load_task
from .families import FAMILIES

POINTS = 20  # times that the weights are looked at


@dataclass(frozen=True)
class Job:
    """All that decides a run, but for the machine."""

    task: str
    data: Path | None
    family: str
    optimizer: str
    lr: float
    seed: int
    workers: int
    gradients: int  # of all workers together, each of a batch
    batch: int
    every: int  # local steps of a round

    @property
    def make(self) -> Callable[[list[Any]], torch.optim.Optimizer]:
        """The optimizer that was asked for, at this rate, of parameters."""
        asked = named(self.optimizer)
        return partial(asked.cls, **{**asked.hyper, "lr": self.lr})

    def model(self, task: Task) -> nn.Module:
        """The weights that all begin with."""
        seed_all(self.seed)
        return task.model()


@dataclass
class Look:
    """The weights at one moment, to be evaluated when all is over."""

    at: float  # of the monotonic clock
    gradients: int
    weights: dict[str, Tensor]
    apart: float | None = None  # of a server: how far the workers' copies are from its parameters, the mean


@dataclass
class Done:
    """What a worker says at its end."""

    began: float
    ended: float
    gradients: int
    bytes: int  # that it sent and read
    looks: list[Look] = field(default_factory=list[Look])


@dataclass
class Track:
    """What a run measured: the loss of the validation data against three clocks; `waited`, of the processes' start,
    is in none of them."""

    seconds: list[float] = field(default_factory=list[float])
    gradients: list[int] = field(default_factory=list[int])
    bytes: list[float] = field(default_factory=list[float])
    loss: list[float] = field(default_factory=list[float])
    metric: list[float] = field(default_factory=list[float])
    apart: list[float] = field(default_factory=list[float])  # of a server: the mean ‖copy − parameters‖ of its workers
    staleness: float | None = None  # of a server: the mean over pushes
    test: float | None = None


def batches(job: Job, data: Data, rank: int, workers: int) -> Any:
    """A worker's batches without end: each epoch is shuffled in one way for all, and everyone has a part of it."""
    epoch = 0
    while True:
        order = torch.randperm(data.rows, generator=torch.Generator().manual_seed(1000 * job.seed + epoch))
        mine = order[rank::workers]
        for rows in mine.split(job.batch):
            if len(rows) == job.batch or len(mine) < job.batch:
                yield rows
        epoch += 1


def work(job: Job, rank: int, server: Any = None, group: bool = False) -> Done:
    """What a worker does: its part of the gradients. The first of a group looks at the weights now and then; where
    there is a server, the server is looked at."""
    task = load_task(job.task, job.data)
    data, family = task.load(), FAMILIES[job.family]
    model = job.model(task)
    wrapped: Any = model
    if job.family == "sync" and job.workers > 1:
        wrapped = nn.parallel.DistributedDataParallel(model)
    steps, workers = job.gradients // job.workers, job.workers
    opt = family.worker(job.make(trained(model)), job.every, server)
    mine, looks = batches(job, data, rank, workers), list[Look]()
    marks = set(range(0, steps + 1, _spacing(steps, job.every if family.local else 1))) | {steps}

    def look(step: int) -> None:
        if server is None and rank == 0 and step in marks:
            switch("eval", opt)
            weights = {k: x.detach().clone() for k, x in model.state_dict().items()}
            switch("train", opt)
            looks.append(Look(time.monotonic(), step * workers, weights))

    if group:
        torch.distributed.barrier()
    seed_all(job.seed + rank)  # dropout
    began = time.monotonic()
    look(0)
    for step in range(1, steps + 1):
        loss = task.gradients(model, task.drawn(data, next(mine)), partial(called, wrapped))
        advance(opt, loss)
        opt.zero_grad()
        look(step)
    ended = time.monotonic()
    return Done(began, ended, steps, _bytes(job, opt, model, steps), looks)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Its weights but for those that are frozen."""
    return [p for p in model.parameters() if p.requires_grad]


def _spacing(steps: int, every: int) -> int:
    """Steps between two looks: whole rounds."""
    return max(1, round(steps / POINTS / every)) * every


def _bytes(job: Job, opt: Any, model: nn.Module, steps: int) -> int:
    """What a worker has sent and read: of a server, both ways; of a group, what it handed to collectives."""
    if hasattr(opt, "client"):
        return opt.client.sent_bytes + opt.client.received_bytes
    if hasattr(opt, "sent_bytes"):
        return opt.sent_bytes
    return steps * sum(p.numel() * p.element_size() for p in trained(model)) if job.workers > 1 else 0
