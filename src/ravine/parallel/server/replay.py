"""A run of a parameter server once more, from its trace: the same parameters, bit for bit.

The workers' function runs in threads of this process, one of them at a time, each with random numbers of its own. A
request waits for its turn in the recorded order of its shard, and is answered as often as it was.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.parallel.engines.lines import failed
from ravine.parallel.server.message import Failed, Leave, Reply, Request
from ravine.parallel.server.parameter_server import Context
from ravine.parallel.server.plan import Event, Kept, noted
from ravine.parallel.server.planned import Params, Planned, Ruled, planned
from ravine.parallel.server.trace import Trace
from ravine.parallel.server.wire import packed, unpacked
from ravine.saved import whole

Key = tuple[str, int, int]  # of an event: request, worker, number


class Diverged(RuntimeError):
    """What is replayed is not what was recorded."""


class Dead(BaseException):
    """The recorded worker died here; so does the thread that plays it. Not an Exception: nobody catches it."""


def replay(
    trace: Trace,
    params: Params,
    rule: Ruled = "adagrad",
    *,
    work: Callable[..., Any],
    workers: int = 1,
    args: Sequence[Any] = (),
    **options: Any,
) -> dict[str, Tensor]:
    """Make a recorded run again, in this process, and return the parameters at its end.

        with ParameterServer(model, "adagrad:lr=0.1", shards=2, record=True) as server:
            server.run(train, workers=4)
            trace, found = server.trace(), server.parameters()
        again = replay(trace, model, "adagrad:lr=0.1", shards=2, work=train, workers=4)

    trace: `ParameterServer.trace()`, or `Trace.load(path)`.
    params, rule: and shards, placement, split, admit in `options`: as the server was made. params are those that it
        began with.
    work, workers, args: as in `ParameterServer.run`. Where workers were hired in several goes, `workers` is that of one
        go: worker number n has rank n % workers.

    Every push is compared with the recorded one. Bit for bit holds where `work` computes the same each time: from its
    arguments and seeded random numbers (torch, numpy and random have a state for each worker), on as many threads
    (one, as workers have), and not from clocks: `AsyncDiLoCo(dynamic=True)` measures its speed. A worker that died is
    played as far as it came; what it did only for itself is not.

    Raises Diverged where a push is another than the recorded one, or a recorded request is not made.
    """
    workers = whole("replay: workers", workers, 1, where="")
    made = planned(params, rule, **options)
    if len(trace.shards) != len(made.plan.placement.places):
        raise ValueError(f"replay: the trace is of {len(trace.shards)} shards, and there are "
                         f"{len(made.plan.placement.places)}; give shards={len(trace.shards)}")  # fmt: skip
    playback = Playback(trace, made)
    contexts = [Context(made.handle(n, playback.lines), n, n % workers, workers) for n in trace.workers]
    return playback.run(work, contexts, args)


class Playback:
    """The shards, what each is still to answer, and who waits for it."""

    def __init__(self, trace: Trace, made: Planned):
        self.made, plan = made, made.plan
        self.shards = [Kept(plan.shard(i), None, 1, False, plan.about(i)) for i in plan.placement.places]
        self.events = [[x for x in events if x[1] >= 0] for events in trace.shards]
        self.next = [0] * len(self.events)
        self.left = [Counter(key(x) for x in events) for events in self.events]  # how often each is to be answered
        self.posted: list[dict[Key, tuple[Request, Turn]]] = [{} for _ in self.events]
        self.turn = threading.Lock()  # held by the one thread that runs
        self.running: set[int] = set()
        self.waiting: dict[int, Turn] = {}
        self.wrong: Diverged | None = None
        self.raised: Exception | None = None

    def lines(self, number: int) -> Playback:
        """What a worker is connected to."""
        return self

    def close(self) -> None:
        """Nothing is to be closed."""

    def post(self, shard: int, request: Request) -> Future[Reply]:
        """Take a request, which is answered in its turn."""
        event, turn = noted(request), Turn(self, request.worker)
        if key(event) in self.left[shard]:
            self.posted[shard][key(event)] = request, turn
            self.go_on(shard)
        else:
            turn.set_exception(Dead())
        return turn

    def go_on(self, shard: int) -> None:
        """Answer whatever a shard can, in order."""
        events, posted = self.events[shard], self.posted[shard]
        while self.next[shard] < len(events):
            event = events[self.next[shard]]
            if event[0] == "leave" and event[2] == 0:  # the owner said goodbye for it
                self.shards[shard].answer(Leave(event[1]))
                self.next[shard] += 1
                continue
            if key(event) not in posted:
                return
            request, turn = posted[key(event)]
            if event[3] != noted(request)[3]:
                return self.fail(
                    f"push {event[2]} of worker {event[1]} to shard {shard} has other numbers than the recorded one: "
                    "`work` computes something else, or not the same each time"
                )
            reply = self.shards[shard].answer(unpacked(packed(request), self.made.plan.dtypes(shard)))
            self.next[shard] += 1
            self.left[shard][key(event)] -= 1
            if not self.left[shard][key(event)]:
                del posted[key(event)]
                if isinstance(reply, Failed):
                    turn.set_exception(failed(shard, reply))
                else:
                    turn.set_result(reply)

    def fail(self, why: str) -> None:
        """End the replay, and all who wait in it."""
        if self.wrong is None:
            self.wrong = Diverged(f"replay: {why}")
            for posted in self.posted:
                for _, turn in posted.values():
                    turn.set_exception(Dead())
                posted.clear()
            self.left = [Counter() for _ in self.left]

    def stuck(self) -> None:
        """Fail if everybody waits for what nobody will do."""
        if self.running and self.running == set(self.waiting) and not any(x.done() for x in self.waiting.values()):
            self.fail(self.expected())

    def expected(self) -> str:
        """What should have come next."""
        for i, events in enumerate(self.events):
            if self.next[i] < len(events):
                request, worker, number, _ = events[self.next[i]]
                return f"worker {worker} does not make {request} {number} to shard {i}, which was recorded"
        return "nobody can go on"

    def run(self, work: Callable[..., Any], contexts: Sequence[Context], args: Sequence[Any]) -> dict[str, Tensor]:
        """All workers to their end, and the parameters then."""
        threads, before = torch.get_num_threads(), states()
        self.running = {x.number for x in contexts}
        players = [threading.Thread(target=self.player, args=(work, x, args), daemon=True) for x in contexts]
        try:
            for player in players:
                player.start()
            for player in players:
                player.join()
        finally:
            torch.set_num_threads(threads)
            restore(before)
        for shard in range(len(self.events)):
            self.go_on(shard)
        if self.wrong is None and any(n < len(events) for n, events in zip(self.next, self.events, strict=True)):
            self.fail(self.expected())
        if self.wrong is not None:
            raise self.wrong from self.raised
        client = self.made.handle(-1, self.lines).client()
        replies = {i: self.shards[i].shard.answer(request) for i, request in client.pull()}
        return client.whole(replies)

    def player(self, work: Callable[..., Any], context: Context, args: Sequence[Any]) -> None:
        """The thread of a worker."""
        with self.turn:
            torch.set_num_threads(1)
            restore(fresh())
            try:
                work(context, *args)
            except Dead:
                pass
            except Exception as error:  # as in the recorded run, where the outcome said so; else a request is missing
                self.raised = error
            self.running.discard(context.number)
            for shard in range(len(self.events)):
                self.go_on(shard)
            self.stuck()


class Turn(Future[Reply]):
    """The reply to a request. Who waits for it lets others run meanwhile."""

    def __init__(self, playback: Playback, worker: int):
        super().__init__()
        self.playback, self.worker = playback, worker

    def result(self, timeout: float | None = None) -> Reply:
        if not self.done():
            playback, mine = self.playback, states()
            playback.waiting[self.worker] = self
            playback.stuck()
            playback.turn.release()
            try:
                super().exception()  # waits
            finally:
                playback.turn.acquire()
                del playback.waiting[self.worker]
                restore(mine)
        return super().result()


def key(event: Event) -> Key:
    """What tells a request from others; one that is sent again has the same."""
    return event[0], event[1], event[2]


States = tuple[Tensor, Any, Any]


def states() -> States:
    """Of the random numbers of torch, numpy and Python."""
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def restore(given: States) -> None:
    """Go on with these."""
    torch.set_rng_state(given[0])
    np.random.set_state(given[1])
    random.setstate(given[2])


@cache
def fresh() -> States:
    """Those of a process that has just begun."""
    return torch.Generator().get_state(), np.random.RandomState(0).get_state(), random.Random(0).getstate()
