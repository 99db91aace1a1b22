"""The families by name, for `ravine simulate`: each with a rule, workers and settings that its paper has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from torch.nn import Parameter

from ravine.optim import SGD
from ravine.parallel.rules import AdaptiveRevision, AsyncAdaGrad, DelayedNesterov, ElasticCenter
from ravine.parallel.server.admit import Buffer, Finite, MaxStaleness, StalenessLR
from ravine.parallel.server.handle import Handle
from ravine.parallel.simulate.methods import Asynchronous, Method, Synchronous
from ravine.parallel.workers import AsyncDiLoCo, AsyncElasticAveraging, Downpour
from ravine.parallel.workers.worker import Worker
from ravine.typed import hint, plain

EVERY = 8  # local steps between two exchanges, where a method has such


def sync(lr: float, workers: int) -> Method:
    """Synchronous SGD: the mean of all."""
    return Synchronous(partial(SGD, lr=lr), admit=[Finite()])


def backup(lr: float, workers: int) -> Method:
    """The same, without waiting for the slowest tenth."""
    return Synchronous(partial(SGD, lr=lr), wait_for=max(1, workers - -(-workers // 10)), admit=[Finite()])


def local_sgd(lr: float, workers: int) -> Method:
    """The mean of the parameters after 8 local steps."""
    return Synchronous(partial(SGD, lr=1.0), local=partial(SGD, lr=lr), sync_every=EVERY, admit=[Finite()])


def diloco(lr: float, workers: int) -> Method:
    """Nesterov's momentum on what 8 local steps have moved."""
    outer = partial(SGD, lr=0.7, momentum=0.9, nesterov=True)
    return Synchronous(outer, local=partial(SGD, lr=lr), sync_every=EVERY, admit=[Finite()])


def asgd(lr: float, workers: int) -> Method:
    """Every gradient is a step, however late."""
    return Asynchronous(partial(SGD, lr=lr / workers), admit=[Finite()])


def staleness_lr(lr: float, workers: int) -> Method:
    """The same with lr divided by the staleness."""
    return Asynchronous(partial(SGD, lr=lr), admit=[Finite(), StalenessLR()])


def ringmaster(lr: float, workers: int) -> Method:
    """Gradients that are as stale as there are workers, or more, are refused."""
    return Asynchronous(partial(SGD, lr=lr / workers), admit=[Finite(), MaxStaleness(workers)])


def rennala(lr: float, workers: int) -> Method:
    """The mean of half as many fresh gradients as there are workers is a step; late ones are refused."""
    return Asynchronous(partial(SGD, lr=lr), admit=[Finite(), Buffer(max(1, workers // 2), fresh=True)])


def softsync(lr: float, workers: int) -> Method:
    """The mean of half as many gradients as there are workers is a step, late ones too."""
    return Asynchronous(partial(SGD, lr=lr / 2), admit=[Finite(), Buffer(max(1, workers // 2))])


def downpour(lr: float, workers: int) -> Method:
    """AdaGrad on the server, and four local steps between two exchanges."""

    def hire(server: Handle, params: list[Parameter]) -> Worker:
        return Downpour(server, SGD(params, lr=lr), n_push=4, n_fetch=4)

    return Asynchronous(partial(AsyncAdaGrad, lr=lr), hire, [Finite()])


def adaptive_revision(lr: float, workers: int) -> Method:
    """AdaGrad that revises the steps made meanwhile."""
    return Asynchronous(partial(AdaptiveRevision, lr=lr), admit=[Finite()])


def easgd(lr: float, workers: int) -> Method:
    """Copies on springs; the center is looked at."""

    def hire(server: Handle, params: list[Parameter]) -> Worker:
        return AsyncElasticAveraging(server, SGD(params, lr=lr), sync_every=EVERY)

    return Asynchronous(partial(ElasticCenter, alpha=0.9 / max(2, workers)), hire, [Finite()])


def async_diloco(lr: float, workers: int) -> Method:
    """DiLoCo without waiting: delayed Nesterov, and as many local steps as a worker is fast."""

    def hire(server: Handle, params: list[Parameter]) -> Worker:
        return AsyncDiLoCo(server, SGD(params, lr=lr), sync_every=EVERY, dynamic=True)

    return Asynchronous(partial(DelayedNesterov, lr=0.7, momentum=0.9, every=workers), hire, [Finite()])


FAMILIES: Mapping[str, Callable[[float, int], Method]] = {
    "sync": sync,
    "backup": backup,
    "local-sgd": local_sgd,
    "diloco": diloco,
    "asgd": asgd,
    "staleness-lr": staleness_lr,
    "ringmaster": ringmaster,
    "rennala": rennala,
    "softsync": softsync,
    "downpour": downpour,
    "adaptive-revision": adaptive_revision,
    "easgd": easgd,
    "async-diloco": async_diloco,
}


def family(typed: str, lr: float, workers: int) -> Method:
    """The method that a person named, with a step size of its own after a colon where there is one: asgd:lr=0.3."""
    name, _, rest = typed.partition(":")
    known = {plain(x): x for x in FAMILIES}
    if plain(name) not in known:
        near = hint(name, FAMILIES)
        raise ValueError(f"unknown method '{name}': {near}It is one of {', '.join(FAMILIES)}")
    if rest:
        text = rest.removeprefix("lr=")
        try:
            lr = float(text)
        except ValueError:
            raise ValueError(f"'{typed}': a method takes lr, such as {name}:lr=0.3") from None
    if not 0 < lr < 1e9:
        raise ValueError(f"'{typed}': lr is {lr:g}; it must be above 0")
    return replace(FAMILIES[known[plain(name)]](lr, workers), name=typed)
