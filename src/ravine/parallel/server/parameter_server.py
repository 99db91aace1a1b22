"""ParameterServer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ravine.parallel.engines.lines import ServerLost
from ravine.parallel.placement import How, Placement
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.handle import Handle
from ravine.parallel.server.message import Leave
from ravine.parallel.server.plan import Ask, Plan
from ravine.parallel.server.planned import Params, Ruled, named, planned, sendable
from ravine.parallel.server.snapshot import read, write
from ravine.parallel.server.talk import Call, Talk, received, talk
from ravine.parallel.server.trace import Trace
from ravine.saved import finite, told, whole


@dataclass(frozen=True)
class Context:
    """What a worker's function is given.

    server: for `Downpour(worker.server, …)` and its kin. number: no other worker has it, not one that came before
    either. rank: which of the workers of this run it is, from 0. workers: how many this run has.
    """

    server: Handle
    number: int
    rank: int
    workers: int


@dataclass(frozen=True)
class Outcome:
    """What became of a worker: what its function returned, or why there is nothing."""

    rank: int
    value: Any = None
    error: str | None = None


class ParameterServer:
    """Parameters that several workers train at once, each at its own pace.

        def train(worker):
            model = build()
            opt = ravine.parallel.Downpour(worker.server, ravine.SGD(model.parameters(), lr=0.1))
            for x, y in batches(worker.rank, worker.workers):
                loss(model(x), y).backward()
                opt.step()
                opt.zero_grad()

        with ravine.parallel.ParameterServer(model, "adagrad:lr=0.1", shards=2) as server:
            server.run(train, workers=4)
            server.copy_to(model)

    Each shard answers one request after another, and alone: a worker may find one shard further than another. A push
    counts once, however often it is delivered. A worker may come and go, or be killed, at any time.

    params: a model, its `named_parameters()`, or parameters; where they are now is where training begins.
    rule: what a shard does with what arrives: the name of an optimizer with settings, a class, or a callable that makes
        an optimizer of a list of parameters, such as functools.partial(ravine.SGD, lr=0.1). AdaGrad by default.
    shards: how many, and `placement` says which parameter is where: see `ravine.parallel.place`.
    split: cut parameters that are larger than a shard's share, by rows; None: where the rule looks at single elements.
    admit: what is asked before a push is applied: Finite(), MaxStaleness(…), StalenessLR(), ClipNorm(…), Buffer(…).
    engine: "local", processes of this machine; or "ray", actors on a cluster (extra `ray`): that of this process, of
        RAY_ADDRESS, or one that is started, for this machine alone.
    checkpoint: a folder in which each shard saves itself after `checkpoint_every` accepted pushes, and when `run` ends.
        A shard that dies goes on from there, and `metrics()["lost"]` says how many pushes died with it. A server that
        is made on such a folder goes on, too. On several machines it must be one that all of them see.
    restarts: how often a shard may be started again.
    patience: seconds after which a request that nobody answers is an error.
    record: note the order of all requests, for `trace()`.
    resources: what each worker takes of a Ray cluster, as options of its actor: {"num_gpus": 1}.

    Raises TypeError for a rule that other processes cannot load, such as a lambda; ValueError for numbers out of their
    range, and for more shards than there are parameters; RuntimeError where a shard does not start, as on a checkpoint
    of another model. In workers and here, ServerLost where a shard has not answered for so long, or has died for good,
    and ServerFailed where its rule raised an error.

    Dean et al. 2012    https://papers.nips.cc/paper/4687-large-scale-distributed-deep-networks
    Li et al. 2014      https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu
    """

    def __init__(
        self,
        params: Params,
        rule: Ruled = "adagrad",
        *,
        shards: int = 1,
        placement: How = "greedy",
        split: bool | None = None,
        admit: Sequence[Policy] = (),
        engine: Literal["local", "ray"] = "local",
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 100,
        restarts: int = 10,
        patience: float = 60.0,
        record: bool = False,
        resources: Mapping[str, Any] | None = None,
    ):
        patience = finite("ParameterServer: patience", patience, 1e-3, sys.float_info.max, where="")
        restarts = whole("ParameterServer: restarts", restarts, where="")
        every = whole("ParameterServer: checkpoint_every", checkpoint_every, 1, where="")
        if engine not in ("local", "ray"):
            raise ValueError(f"ParameterServer: engine is {engine!r}; it must be 'local' or 'ray'")
        if resources and engine == "local":
            raise ValueError("ParameterServer: resources are for engine='ray'; local workers share this machine")
        if not isinstance(rule, str):
            sendable("rule", rule, "a name, an optimizer's class, or functools.partial of it with its settings")
        sendable("admit", admit, "policies whose classes are at the top of a module")
        made = planned(params, rule, shards=shards, placement=placement, split=split, admit=admit)
        self.rule, self.made = made.rule, made
        folder = None if checkpoint is None else Path(checkpoint).absolute()
        self.plan = replace(made.plan, folder=folder, every=every, record=record)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            saved = [i for i in range(shards) if (folder / f"shard-{i}.pt").exists()]
            if saved and len(saved) < shards:
                raise ValueError(f"ParameterServer: {folder} has snapshots of shards {saved}, and there are {shards}")
        self.closed = False
        self.engine = started(engine, self.plan, patience, restarts, resources)
        self.lines = self.engine.connect()(-1)
        try:
            self.client = made.handle(-1, self.engine.connect()).client()
            self.count = max(self.metrics()["workers"])  # on a checkpoint, numbers go on: pushes count once
        except BaseException:
            self.close()
            raise

    @property
    def placement(self) -> Placement:
        """Which parameter is on which shard; it prints as a table."""
        return self.plan.placement

    # workers

    def handle(self) -> Handle:
        """How one more worker reaches the shards; it can be sent to another process."""
        self.open()
        number, self.count = self.count, self.count + 1
        return self.made.handle(number, self.engine.connect())

    def hire(self, work: Callable[..., Any], workers: int = 1, args: Sequence[Any] = ()) -> list[Any]:
        """Start workers that run `work(worker, *args)`, and go on: each has wait() and kill()."""
        workers = whole("ParameterServer: workers", workers, 1, where="")
        if not callable(work):  # pyright: ignore[reportUnnecessaryComparison]
            raise TypeError(f"ParameterServer: work is {told(work)}; give a function, which is called with a worker")
        sendable("work", work, "a function at the top of a module")
        sendable("args", args, "what pickle can save")
        contexts = [Context(handle := self.handle(), handle.number, rank, workers) for rank in range(workers)]
        return [self.engine.hire(work, context, *args) for context in contexts]

    def run(self, work: Callable[..., Any], workers: int = 1, args: Sequence[Any] = ()) -> list[Outcome]:
        """Start workers and wait for all; then every shard saves itself, if there is a checkpoint.

        Workers that die are told of in their outcome. Raises RuntimeError where none came to its end.
        """
        first, hired = self.count, self.hire(work, workers, args)
        made = [x.wait() for x in hired]
        outcomes = [Outcome(rank, value, error) for rank, (value, error) in enumerate(made)]
        if all(x.error is not None for x in outcomes):
            raise RuntimeError(f"ParameterServer: no worker came to its end. The first: {outcomes[0].error}")
        with suppress(ServerLost):  # which the next who asks is told; what workers returned is not lost with it
            for number in range(first, first + workers):  # also for those that could not say goodbye
                received({i: self.lines.post(i, Leave(number)) for i in range(len(self.placement.places))})
            self.ask("save")
        return outcomes

    # the parameters

    def parameters(self) -> dict[str, Tensor]:
        """The parameters as they are now, by name."""
        self.open()
        return talk(self._read(), self.lines)

    def _read(self) -> Talk:
        replies = yield Call(self.client.pull())
        self.client.take(replies)
        return self.client.whole(replies)

    @torch.no_grad()
    def copy_to(self, model: Params) -> None:
        """Write the parameters into a model, or into parameters, of the same names and shapes."""
        mine, theirs = self.parameters(), named(model)
        if (a := {k: tuple(x.shape) for k, x in mine.items()}) != (b := {k: tuple(x.shape) for k, x in theirs.items()}):
            raise ValueError(f"copy_to: the server has {a}, and the model {b}")
        for k, x in mine.items():
            theirs[k].copy_(x)

    # what is known

    def ask(self, what: str, states: Sequence[Mapping[str, Any]] | None = None) -> list[Any]:
        """What each shard says about itself, or that it has done this."""
        self.open()
        shards = range(len(self.placement.places))
        asked = [Ask(what, states[i] if states is not None else None) for i in shards]
        made = received({i: self.lines.post(i, asked[i]) for i in shards})  # pyright: ignore[reportArgumentType]
        return [made[i] for i in shards]

    def metrics(self) -> dict[str, Any]:
        """How far the shards are, a list with an entry for each of them.

        "version": steps of the rule. "accepted": pushes that were applied, or wait in a Buffer. "incarnation": 1, and
        one more for each restart. "lost": pushes that had been acknowledged and died with a shard, of those that a
        worker has told it of. "refused": {"worker 3: not finite": count}. "staleness": {τ: count}. "recent": (version,
        worker, τ) of the last 100,000 pushes. "divergence": {worker: ‖x − x̃‖}, how far the shard's part of a copy x was
        from the parameters x̃ when the worker read them last. "workers": the largest number of one that has pushed, and
        one. "refused", "staleness", "recent" and "divergence" begin anew with each incarnation.
        """
        each = self.ask("metrics")
        return {k: [x[k] for x in each] for k in each[0]}

    def trace(self) -> Trace:
        """The order in which each shard answered requests, for `replay`."""
        if not self.plan.record:
            raise RuntimeError("ParameterServer: there is no trace; make it with record=True")
        if again := [i for i, x in enumerate(self.metrics()["incarnation"]) if x > 1]:
            raise RuntimeError(
                f"ParameterServer: shard {again[0]} went on from a snapshot; a trace begins with the beginning"
            )
        return Trace(tuple(tuple(x) for x in self.ask("trace")))

    # to be saved

    def state_dict(self) -> dict[str, Any]:
        """The state of each shard, with its version. Shards answer one after another: each is whole in itself."""
        return {"shards": self.ask("state")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from there. Workers that run read anew; what they computed before is not applied.

        Raises ValueError, and changes nothing, where it is of another model, rule, or number of shards.
        """
        states = state_dict.get("shards")
        if not isinstance(states, Sequence) or len(states) != len(self.placement.places):
            raise ValueError(
                f"ParameterServer: this is no state_dict of a server with {len(self.placement.places)} shards: "
                f"{told(dict(state_dict))}"
            )
        for i, state in enumerate(states):
            wanted = {**self.plan.about(i), "rule": self.rule}
            if not isinstance(state, Mapping) or any(state.get(k) != x for k, x in wanted.items()):
                raise ValueError(
                    f"ParameterServer: shard {i} in the state_dict is of another model, rule, or number of shards; "
                    f"here it is {told(wanted)}"
                )
        self.ask("load", states)

    def save(self, path: str | Path) -> None:
        """Write the `state_dict()` to a file, whole or not at all."""
        write(Path(path), self.state_dict())

    def load(self, path: str | Path) -> None:
        """Go on from a file that `save` wrote."""
        try:
            self.load_state_dict(read(Path(path)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    # its end

    def close(self) -> None:
        """End all processes of it, workers that still run too. It may be called twice."""
        self.closed = True
        self.engine.close()
        self.lines.close()

    def open(self) -> None:
        """Raise RuntimeError where it is closed."""
        if self.closed:
            raise RuntimeError("ParameterServer: it is closed; ask it before its `with` block ends")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def started(engine: str, plan: Plan, patience: float, restarts: int, resources: Mapping[str, Any] | None) -> Any:
    """The engine of this name, with all shards."""
    if engine == "ray":
        from ravine.parallel.engines.ray import Ray

        return Ray(plan, patience, restarts, resources)
    from ravine.parallel.engines.local import Local

    return Local(plan, patience, restarts)
