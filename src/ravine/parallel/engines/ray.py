"""Shards and workers as actors of a Ray cluster, on one machine or on many.

Ray starts an actor again that has died, with what its constructor makes: the snapshot. It delivers a call at most once,
so lines ask again, and a request counts once.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import torch

from ravine.parallel.engines.cluster import join, nodes, parcel, ray
from ravine.parallel.engines.lines import Ended, Gone, Line, Lines
from ravine.parallel.server.plan import Plan, open_shard
from ravine.parallel.server.wire import packed, unpacked

START = 300.0  # seconds in which a cluster must have started an actor


class Ray:
    """Actors of the cluster of this process, of RAY_ADDRESS, or of one that is started here.

    resources: what each worker takes, as Ray's options of an actor: {"num_gpus": 1}.
    """

    def __init__(self, plan: Plan, patience: float, restarts: int, resources: Mapping[str, Any] | None = None):
        self.plan, self.patience = plan, patience
        self.resources = {"num_cpus": 0, **(resources or {})}
        self.workers: list[RayWorker] = []
        self.shards: list[Any] = []
        self.closed, self.ours = False, join()
        try:
            have = ray.cluster_resources()
            for name, kind in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
                if self.resources.get(name, 0) > have.get(kind, 0):
                    raise ValueError(
                        f"ParameterServer: a worker is to take {self.resources[name]:g} {kind}s, and the Ray cluster "
                        f"has {have.get(kind, 0):g}"
                    )
            again = restarts if plan.folder is not None else 0
            # some: Ray puts an actor that takes nothing on any node, whatever node is asked for
            made: Any = ray.remote(num_cpus=0.001, max_restarts=again)(ShardActor)
            path, at = [os.getcwd(), *sys.path], cycle(nodes())
            self.shards = [made.options(scheduling_strategy=next(at)).remote(path, parcel(plan.part(i)), i)
                           for i in plan.placement.places]  # fmt: skip
            for i, shard in enumerate(self.shards):
                if why := told(shard.ready.remote()):
                    raise RuntimeError(f"ParameterServer: shard {i} does not start: {why}")
        except BaseException:
            self.close()
            raise

    def connect(self) -> Callable[[int], Lines]:
        """Makes lines to all shards, in whatever process of the cluster."""
        return Connect(self.shards, [self.plan.dtypes(i) for i in self.plan.placement.places], self.patience)

    def hire(self, work: Callable[..., Any], *args: Any) -> RayWorker:
        """An actor that runs a function, where the cluster has room."""
        worker = RayWorker(work, args, self.resources)
        self.workers.append(worker)
        return worker

    def kill_shard(self, i: int) -> None:
        """End a shard without a word, as a crash would."""
        ray.kill(self.shards[i], no_restart=False)

    def close(self) -> None:
        """End all actors that were started here, and the cluster too if it was. It may be called twice."""
        if not self.closed:
            self.closed = True
            if not ray.is_initialized():  # it was ended meanwhile, and all actors with it
                return
            for actor in [*self.shards, *(x.actor for x in self.workers)]:
                ray.kill(actor)
            if self.ours:
                ray.shutdown()


class ShardActor:
    """The actor of a shard: one request at a time."""

    def __init__(self, path: Sequence[str], parts: bytes, i: int):
        begin(path)
        self.shard, self.dtypes, self.why = None, list[torch.dtype](), ""
        try:
            plan: Plan = pickle.loads(parts)
            self.shard, self.dtypes = open_shard(plan, i), plan.dtypes(i)
        except Exception as error:  # said by ready(): an actor whose constructor raises would be started again
            self.why = f"{type(error).__name__}: {error}"

    def ready(self) -> str:
        """Nothing if it serves, else why not."""
        return self.why

    def answer(self, message: Any) -> Any:
        """The reply, for the wire."""
        if self.shard is None:
            raise RuntimeError(f"it does not start again: {self.why}")
        return packed(self.shard.answer(unpacked(message, self.dtypes)))


class WorkerActor:
    """The actor of a worker. Threads: one works, another says who it is."""

    def __init__(self, path: Sequence[str]):
        begin(path)

    def pid(self) -> tuple[str, int]:
        """Its node and its process."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def do(self, parts: bytes) -> tuple[Any, str | None]:
        """(what the function returned, None), or (None, why there is nothing)."""
        try:
            work, args = pickle.loads(parts)
            outcome = work(*args), None
            parcel(outcome)
            return outcome
        except BaseException:
            return None, traceback.format_exc()


class RayWorker:
    """An actor that runs a function, and what came of it."""

    def __init__(self, work: Callable[..., Any], args: Sequence[Any], resources: Mapping[str, Any]):
        take: dict[str, Any] = {"max_restarts": 0, "max_concurrency": 2, "scheduling_strategy": "SPREAD", **resources}
        self.actor: Any = ray.remote(**take)(WorkerActor).remote([os.getcwd(), *sys.path])
        self.said = self.actor.do.remote(parcel((work, args)))

    @property
    def pid(self) -> int:
        """Of its process, on the node where it runs."""
        return ray.get(self.actor.pid.remote(), timeout=START)[1]

    def wait(self, timeout: float | None = None) -> tuple[Any, str | None]:
        """(what the function returned, None), or (None, why there is nothing). TimeoutError if it still runs then."""
        try:
            return ray.get(self.said, timeout=timeout)
        except ray.exceptions.GetTimeoutError:
            raise TimeoutError(f"the worker still runs after {timeout} s") from None
        except ray.exceptions.RayError as error:
            return None, f"its actor ended: {first(error)}"

    def kill(self) -> None:
        """End it without a word."""
        ray.kill(self.actor)


class RayLine(Line):
    """A line to the actor of a shard."""

    def __init__(self, i: int, actor: Any, dtypes: Sequence[torch.dtype], patience: float):
        self.actor = actor
        super().__init__(i, dtypes, patience)

    def attempt(self, message: Any, seconds: float) -> Any:
        try:
            return ray.get(self.actor.answer.remote(message), timeout=seconds)
        except ray.exceptions.ActorDiedError as error:  # for good: it has no restarts left
            raise Ended(first(error)) from None
        except ray.exceptions.RayTaskError as error:
            raise Ended(str(error.cause)) from None
        except (ray.exceptions.RayError, ConnectionError):
            raise Gone from None


class Connect:
    """Makes lines to shards; it can be sent to another process of the cluster."""

    def __init__(self, actors: Sequence[Any], dtypes: Sequence[Sequence[torch.dtype]], patience: float):
        self.about = (actors, dtypes, patience)

    def __call__(self, number: int) -> Lines:
        actors, dtypes, patience = self.about
        return Lines([RayLine(i, x, dtypes[i], patience) for i, x in enumerate(actors)])


def begin(path: Sequence[str]) -> None:
    """What every actor does first: one thread, and modules are found where the caller finds them."""
    torch.set_num_threads(1)
    sys.path += [folder for folder in path if folder not in sys.path]


def told(said: Any) -> str:
    """What an actor says once it runs, or why it does not."""
    try:
        return ray.get(said, timeout=START)
    except ray.exceptions.GetTimeoutError:
        return f"the cluster has not started its actor in {START:g} s"
    except ray.exceptions.RayError as error:
        return first(error)


def first(error: Exception) -> str:
    """The beginning of what Ray says, which goes on for a page."""
    return " ".join(str(error).split("\n\n")[0].split())[:300]
