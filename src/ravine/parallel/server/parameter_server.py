"""ParameterServer."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from ravine.catalog.names import find
from ravine.compile.launch.rows import separable
from ravine.optimizer import Optimizer
from ravine.parallel.placement import How, Placement, place
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.handle import Handle
from ravine.parallel.server.plan import Ask, Plan
from ravine.parallel.server.shard import Rule, Shard
from ravine.parallel.server.talk import Call, Talk, received, talk
from ravine.rule.hyper import integer
from ravine.saved import told


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


class Named:
    """A rule by its name and settings, which other processes can make."""

    def __init__(self, typed: str):
        find(typed)
        self.typed = typed

    def __call__(self, params: list[nn.Parameter]) -> torch.optim.Optimizer:
        cls, settings = find(self.typed)
        return cls(params, **settings)


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
    engine: "local", processes of this machine; or "ray", actors on a cluster (extra `ray`).
    checkpoint: a folder in which each shard saves itself after `checkpoint_every` accepted pushes. A shard that dies
        goes on from there, and `metrics()["lost"]` says how many pushes died with it. A server that is made on such a
        folder goes on, too.
    restarts: how often a shard may be started again.
    patience: seconds after which a request that nobody answers is an error.
    record: note the order of all requests, for `trace()`.

    Dean et al. 2012    https://papers.nips.cc/paper/4687-large-scale-distributed-deep-networks
    Li et al. 2014      https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu
    """

    def __init__(
        self,
        params: nn.Module | Iterable[tuple[str, Tensor]] | Iterable[Tensor],
        rule: str | type[torch.optim.Optimizer] | Callable[[list[nn.Parameter]], torch.optim.Optimizer] = "adagrad",
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
    ):
        tensors = named(params)
        shards = integer("ParameterServer: shards", shards)
        make: Rule = Named(rule) if isinstance(rule, str) else cast(Rule, rule)
        one = Shard(list(tensors.values()), make, admit)  # raises where the rule and the policies do not fit
        split = alone(one.opt) if split is None else split
        placed = place(tensors.items(), shards, placement, split=split)
        if empty := [i for i in range(shards) if not placed.at(i)]:
            raise ValueError(f"ParameterServer: shard {empty[0]} of {shards} has no parameter; give fewer shards")
        folder = None if checkpoint is None else Path(checkpoint)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.plan = Plan(tensors, placed, make, admit, folder, integer("checkpoint_every", checkpoint_every), record)
        self.rule = type(one.opt).__name__
        self.hyper = {k: float(x) for k, x in one.opt.param_groups[0].items() if isinstance(x, int | float)}
        self.measured = any(x.needs_square for x in admit)
        self.count = 0
        self.engine = started(engine, self.plan, patience, integer("restarts", restarts))
        self.lines = self.engine.connect()(-1)

    @property
    def placement(self) -> Placement:
        """Which parameter is on which shard; it prints as a table."""
        return self.plan.placement

    # workers

    def handle(self) -> Handle:
        """How one more worker reaches the shards; it can be sent to another process."""
        number, self.count = self.count, self.count + 1
        return Handle(number, self.placement, self.rule, self.hyper, self.engine.connect(), self.measured)

    def hire(self, work: Callable[..., Any], workers: int = 1, args: Sequence[Any] = ()) -> list[Any]:
        """Start workers that run `work(worker, *args)`, and go on: each has wait() and kill()."""
        workers = integer("ParameterServer: workers", workers)
        try:
            pickle.dumps((work, args))
        except Exception as error:
            raise TypeError(
                f"ParameterServer: {told(work)} and its args must be of a kind that other processes can load: a "
                f"function at the top of a module ({error})"
            ) from None
        contexts = [Context(handle := self.handle(), handle.number, rank, workers) for rank in range(workers)]
        return [self.engine.hire(work, context, *args) for context in contexts]

    def run(self, work: Callable[..., Any], workers: int = 1, args: Sequence[Any] = ()) -> list[Outcome]:
        """Start workers and wait for all. Those that die are told of; RuntimeError where none came to its end."""
        made = [x.wait() for x in self.hire(work, workers, args)]
        outcomes = [Outcome(rank, value, error) for rank, (value, error) in enumerate(made)]
        if all(x.error is not None for x in outcomes):
            raise RuntimeError(f"ParameterServer: no worker came to its end. The first: {outcomes[0].error}")
        return outcomes

    # the parameters

    def parameters(self) -> dict[str, Tensor]:
        """The parameters as they are now, by name."""
        return talk(self._read(), self.lines)

    def _read(self) -> Talk:
        client = Handle(-1, self.placement, self.rule, self.hyper, self.engine.connect()).client()
        return client.whole((yield Call(client.pull())))

    @torch.no_grad()
    def copy_to(self, model: nn.Module | Iterable[tuple[str, Tensor]] | Iterable[Tensor]) -> None:
        """Write the parameters into a model, or into parameters, of the same names and shapes."""
        mine, theirs = self.parameters(), named(model)
        if (a := {k: tuple(x.shape) for k, x in mine.items()}) != (b := {k: tuple(x.shape) for k, x in theirs.items()}):
            raise ValueError(f"copy_to: the server has {a}, and the model {b}")
        for k, x in mine.items():
            theirs[k].copy_(x)

    # what is known

    def ask(self, what: str) -> list[Any]:
        """What each shard says about itself."""
        shards = range(len(self.placement.places))
        made = received({i: self.lines.post(i, Ask(what)) for i in shards})  # pyright: ignore[reportArgumentType]
        return [made[i] for i in shards]

    def metrics(self) -> dict[str, Any]:
        """How far the shards are. For each: "version" (steps of the rule), "accepted" pushes, "lost" ones (accepted,
        and then lost with a shard that died), "refused" with worker and reason, "staleness" as a histogram."""
        each = self.ask("metrics")
        return {k: [x[k] for x in each] for k in each[0]}

    def trace(self) -> list[list[tuple[str, int, int]]]:
        """For each shard, the order of what it answered: (request, worker, number of the push)."""
        if not self.plan.record:
            raise RuntimeError("trace() needs ParameterServer(…, record=True)")
        return self.ask("trace")

    def state_dict(self) -> dict[str, Any]:
        """The state of each shard, with its version."""
        return {"shards": self.ask("state")}

    # its end

    def close(self) -> None:
        """End all processes of it."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def named(params: Any) -> dict[str, Tensor]:
    """Parameters by name."""
    if isinstance(params, nn.Module):
        params = params.named_parameters()
    listed = list(params)
    pairs = [x if isinstance(x, tuple) else (str(i), x) for i, x in enumerate(listed)]
    if not pairs or any(not isinstance(x, Tensor) for _, x in pairs):
        raise TypeError(f"ParameterServer: params is {told(listed)}; give a model, or its named_parameters()")
    return {k: x.detach() for k, x in pairs}


def alone(opt: torch.optim.Optimizer) -> bool:
    """True if what becomes of an element depends on no other."""
    return isinstance(opt, Optimizer) and all(
        separable(opt.compiled(group, p).plan) for group in opt.param_groups for p in group["params"]
    )


def started(engine: str, plan: Plan, patience: float, restarts: int) -> Any:
    """The engine of this name, with all shards."""
    if engine == "local":
        from ravine.parallel.engines.local import Local

        return Local(plan, patience, restarts)
    if engine == "ray":
        from ravine.parallel.engines.ray import Ray

        return Ray(plan, patience, restarts)
    raise ValueError(f"ParameterServer: engine is {engine!r}; it must be 'local' or 'ray'")
