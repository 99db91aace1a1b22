"""Training on a cluster that exists on paper: discrete events, the real shards and workers, and one clock."""

from __future__ import annotations

import math
from typing import Any

from ravine.parallel.simulate.cluster import Cluster
from ravine.parallel.simulate.distributions import Distribution
from ravine.parallel.simulate.methods import Asynchronous, Method, Synchronous
from ravine.parallel.simulate.problems import Problem
from ravine.parallel.simulate.rounds import Rounds
from ravine.parallel.simulate.run import Run
from ravine.parallel.simulate.world import World
from ravine.saved import finite, told, whole

IDLE = 20  # so many times as long as was thought, doubled each time, nothing happens: nothing ever will


def simulate(
    problem: Problem,
    method: Method,
    cluster: Cluster,
    seed: int = 0,
    *,
    until: float | None = None,
    pushes: int | None = None,
    samples: int = 100,
    lanes: int = 32,
    record: bool = False,
) -> Run:
    """Train on a cluster in simulated time, with the shards and workers that train on a real one.

        >>> from ravine.parallel.simulate import Asynchronous, Cluster, Exponential, Quadratic, simulate
        >>> cluster = Cluster(16, compute=Exponential(1.0))
        >>> run = simulate(Quadratic(100, noise=0.1), Asynchronous("sgd:lr=0.05"), cluster, until=100.0)
        >>> round(run.mean_staleness), run.losses[-1] < run.losses[0]
        (15, True)

    problem: what is trained: `Quadratic`, `SparseLogistic`, `digits()`, `Training` for a model, or your own.
    method: `Asynchronous` or `Synchronous`.
    until: simulated seconds. pushes: stop once so many pushes count (on the first shard); give one of both, or both.
    samples: how often the loss is looked at. With pushes alone the distance of time is found on the way.
    lanes: for how many workers to keep what they did when.
    record: keep the order of what counts, and all delays.

    The same arguments give the same bits. Raises ValueError where time would have no end or not go by, and
    RuntimeError where the pushes that were asked for do not come.
    """
    if until is None and pushes is None:
        raise ValueError("simulate: how long? Give until=, in simulated seconds, or pushes=")
    horizon = math.inf if until is None else finite("simulate: until", until, 1e-12, 1e12, where="")
    pushes = None if pushes is None else whole("simulate: pushes", pushes, 1, where="")
    samples, lanes = whole("simulate: samples", samples, 1, where=""), whole("simulate: lanes", lanes, where="")
    if not isinstance(seed, int) or seed < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"simulate: seed is {told(seed)}; it must be a whole number of at least 0")
    moves(cluster)
    options: dict[str, Any] = {"pushes": pushes, "watched": lanes, "record": record}
    if isinstance(method, Synchronous):
        world = Rounds(problem, method, cluster, seed, **options)
    elif isinstance(method, Asynchronous):  # pyright: ignore[reportUnnecessaryIsInstance]
        world = World(problem, method, cluster, seed, **options)
    else:
        raise TypeError(f"simulate: the method is {told(method)}; give an Asynchronous or a Synchronous")
    run = Run(method.name, cluster.workers, seed)
    every = horizon / samples if until is not None else pace(cluster, pushes or 1, samples)
    look(world, problem, run)
    k = idle = 0
    while not world.stopped and world.now < horizon:
        k += 1
        before = world.events
        world.advance(min(every * k, horizon))
        look(world, problem, run)
        idle = 0 if world.events > before else idle + 1
        if until is None:
            ends(world, idle > IDLE * samples, pushes or 0)
        if until is None and k >= 2 * samples:  # it takes longer than was thought: look at it half as often
            every, k = 2 * every, k // 2
            for kept in (run.times, run.versions, run.losses, run.divergence):
                del kept[1::2]
    run.seconds, run.parameters = world.now, world.center
    world.report(run)
    return run


def moves(cluster: Cluster) -> None:
    """Raise where steps take no time, so that no time would ever go by."""
    if cluster.wires.latency.mean or cluster.service.mean:
        return
    shared = isinstance(cluster.compute, Distribution)
    for i in range(1 if shared else cluster.workers):
        if not cluster.computes(i).mean:
            raise ValueError(f"simulate: computing takes worker {i} {cluster.computes(i)!r}, and messages nothing; one "
                             "of both must take time")  # fmt: skip


def ends(world: World | Rounds, idle: bool, pushes: int) -> None:
    """Raise where the pushes that were asked for will not come."""
    if idle or world.events > 1000 * pushes + 100 * world.cluster.workers + 10_000:
        why = "all workers are dead" if idle else f"of {world.events:,} gradients the others were refused or lost"
        raise RuntimeError(
            f"simulate: pushes is {pushes:,}, and after {world.now:.4g} s {world.version:,} count: {why}. Give until=, "
            "in simulated seconds, as well"
        )


def look(world: World | Rounds, problem: Problem, run: Run) -> None:
    """Note how good the parameters are now."""
    run.times.append(world.now)
    run.versions.append(world.version)
    run.losses.append(problem.loss(world.center))
    run.divergence.append(world.divergence)


def pace(cluster: Cluster, pushes: int, samples: int) -> float:
    """Seconds between two looks, if all workers compute all the time."""
    means = [cluster.computes(i).quantile(0.5) for i in range(min(cluster.workers, 100))]
    each = sum(means) / len(means) + 2 * cluster.wires.latency.quantile(0.5)
    return max(each * pushes / cluster.workers / samples, 1e-9)
