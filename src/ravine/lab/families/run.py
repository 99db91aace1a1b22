"""Run a job: start its workers, look at the weights while they train, and evaluate them when all is over."""

import math
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ravine.parallel import ParameterServer
from ravine.parallel.engines.local import LocalWorker

from ..errors import LabError
from ..protocol.evaluation import evaluated
from ..tasks import Data, Task, called
from ..threads import one_thread
from .families import FAMILIES
from .job import POINTS, Done, Job, Look, Track, work

LIMIT = 3600.0  # seconds that a run may take


def run(job: Job, task: Task, data: Data) -> Track:
    """What a job measures. Raises LabError where a worker fails."""
    family = FAMILIES[job.family]
    if job.family == "serial":
        with one_thread():
            done = [work(job, 0)]
        return tracked(job, task, data, done, done[0].looks)
    if family.rule is None:
        with tempfile.TemporaryDirectory(prefix="ravine-") as folder:
            workers = [LocalWorker(grouped, (job, rank, str(Path(folder, "meet")))) for rank in range(job.workers)]
            done = results(workers, job)
        return tracked(job, task, data, done, done[0].looks)
    model = job.model(task)
    if held := [k for k, x in model.named_buffers() if x.is_floating_point()]:
        raise LabError(f"--parallel {job.family}: the model has buffers ({held[0]} …), as batch norm has, and a server "
                       "keeps parameters only; leave this family out")  # fmt: skip
    with ParameterServer(model, family.rule(job.make, job.workers)) as server:
        workers = server.hire(served, job.workers, (job,))
        looks = watched(server, workers, job)
        done = results(workers, job)
        looks.append(seen(server, job))
        stale = sum(map(Counter, server.metrics()["staleness"]), Counter[int]())
    track = tracked(job, task, data, done, looks)
    track.staleness = sum(k * n for k, n in stale.items()) / max(1, stale.total())
    return track


def grouped(job: Job, rank: int, meet: str) -> Done:
    """A worker of a process group."""
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=job.workers)
    try:
        return work(job, rank, group=True)
    finally:
        dist.barrier()
        dist.destroy_process_group()


def served(worker: Any, job: Job) -> Done:
    """A worker of a server."""
    return work(job, worker.rank, worker.server)


def results(workers: list[Any], job: Job) -> list[Done]:
    """What all say at their end."""
    made = list[Done]()
    for rank, worker in enumerate(workers):
        value, error = worker.wait(LIMIT)
        if error is not None:
            for other in workers:
                other.kill()
            raise LabError(f"--parallel {job.family}: worker {rank} failed: {error.strip().splitlines()[-1]}")
        made.append(value)
    return made


def seen(server: ParameterServer, job: Job) -> Look:
    """The server's parameters now."""
    now = server.metrics()
    steps = sum(now["accepted"]) / len(server.placement.places)
    per = job.every if FAMILIES[job.family].local else 1
    apart = [math.hypot(*(part.get(worker, 0.0) for part in now["divergence"])) for worker in now["divergence"][0]]
    looked = time.monotonic(), min(job.gradients, round(steps * per)), server.parameters()
    return Look(*looked, sum(apart) / max(1, len(apart)))


def watched(server: ParameterServer, workers: list[Any], job: Job) -> list[Look]:
    """Look whenever so many more gradients have come, until the workers are at their end."""
    looks, wanted = [seen(server, job)], 0.0
    while any(worker.running for worker in workers):
        time.sleep(0.02)
        now = seen(server, job)
        if now.gradients >= wanted + job.gradients / POINTS:
            looks.append(now)
            wanted = now.gradients
    return looks


def tracked(job: Job, task: Task, data: Data, done: list[Done], looks: list[Look]) -> Track:
    """The losses at all looks."""
    began, sent = min(x.began for x in done), sum(x.bytes for x in done)
    model, track = job.model(task).eval(), Track()
    names, forward = [k for k, p in model.named_parameters() if p.requires_grad], partial(called, model)
    for look in looks:
        weights = look.weights if names[0] in look.weights else dict(zip(names, look.weights.values(), strict=True))
        model.load_state_dict(weights, strict=False)
        now = evaluated(task, forward, data.x_valid, data.y_valid)
        track.seconds.append(max(0.0, look.at - began))
        track.gradients.append(look.gradients)
        track.bytes.append(sent * look.gradients / job.gradients)
        track.loss.append(now.loss)
        track.metric.append(now.metric)
        if look.apart is not None:
            track.apart.append(look.apart)
    if data.tested:
        track.test = evaluated(task, forward, data.x_test, data.y_test).loss
    return track
