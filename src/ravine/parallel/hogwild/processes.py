"""Processes that train one model in shared memory, each at its own pace."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from ravine.optimizer import Optimizer
from ravine.parallel.hogwild.share import share
from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, told, whole

Work = Callable[..., object]


def hogwild(
    work: Work,
    model: Any,
    optimizer: Optimizer,
    *,
    processes: int,
    epochs: int = 1,
    backoff: float = 1.0,
    args: tuple[Any, ...] = (),
    locked: bool = False,
    timeout: float | None = None,
) -> None:
    """Train one model in several processes at once: all read and write the same weights, and none waits for another.

        each process, again and again:   sample e;  read x_e;  g = ∇f_e(x_e);  for v in e:  x_v ← x_v − γ g_v

    Use it when a sample touches few coordinates (an embedding with sparse=True). Two processes then seldom write the
    same one, and what is lost when they do costs less than waiting. When each step writes all weights, use DDP. For
    linear models and matrix completion, `SparseLinear` and `MatrixCompletion` are much faster: there a sample costs no
    call of Python.

        def work(rank, epoch, model, optimizer, data):
            for x, y in data.part(rank, epoch):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()

        if __name__ == "__main__":
            hogwild(work, model, optimizer, processes=2, epochs=20, backoff=0.9, args=(data,))

    work: a function work(rank, epoch, model, optimizer, *args) that each process calls once per epoch. It must be at
        the top of a module, since new processes import it (spawn). Each process has one thread of torch.
    model: a module, tensors, or any object that can be pickled; parameters and buffers are shared, all else is copied.
    optimizer: one of ravine's, over parameters of the model; `share` says what of it is shared and what t means.
    epochs, backoff: after each epoch all processes wait for each other, and the rate of every group is multiplied by
        `backoff`. 1.0 does not change it.
    args: further arguments of `work`; tensors among them are shared too.
    locked: for comparison: each `optimizer.step()` holds a lock that all processes share. With `step(closure)` it is
        held from reading the weights to writing them.
    timeout: seconds after which the processes are ended and TimeoutError is raised; None waits as long as they work.

    Afterwards the caller's model and optimizer hold the result; lr is a number again, if it was one.
    If a process raises or dies, the others are ended and RuntimeError says which one and why; the weights are then as
    the processes left them.

    Niu, Recht, Ré & Wright 2011    https://arxiv.org/abs/1106.5730
    """
    count, epochs = (
        whole("hogwild: processes", integer("hogwild: processes", processes), 1, ""),
        integer("hogwild: epochs", epochs),
    )
    whole("hogwild: epochs", epochs, 0, "")
    backoff = finite("hogwild: backoff", value_of("hogwild: backoff", float, backoff), 0.0, 1.0, "")
    limit = None if timeout is None else finite("hogwild: timeout", timeout, 0.0, sys.float_info.max, "")
    importable(work)
    if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"hogwild: the optimizer is {told(optimizer)}; it must be one of ravine's: others make states at the first "
            "step, each process its own"
        )
    rates = [group["lr"] for group in optimizer.param_groups]
    share(optimizer)
    share_model(model)
    context = multiprocessing.get_context("spawn")
    barrier, lock = context.Barrier(count), context.RLock() if locked else None
    given = (work, model, optimizer, epochs, backoff, args, barrier, lock)
    try:
        join(start_processes(entry, given, nprocs=count, join=False, start_method="spawn"), count, limit)
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            if not isinstance(rate, Tensor):
                group["lr"] = float(group["lr"])


def entry(
    rank: int,
    work: Work,
    model: Any,
    optimizer: Optimizer,
    epochs: int,
    backoff: float,
    args: tuple[Any, ...],
    barrier: Any,
    lock: Any,
) -> None:
    """What a process does."""
    torch.set_num_threads(1)
    if lock is not None:
        optimizer.step = behind(lock, optimizer.step)
    for epoch in range(epochs):
        work(rank, epoch, model, optimizer, *args)
        if barrier.wait() == 0 and backoff != 1.0:
            for group in optimizer.param_groups:
                group["lr"].mul_(backoff)
        barrier.wait()


def behind(lock: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """The same steps, each while it holds the lock."""

    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return step(*args, **kwargs)

    return locked


def join(crew: Any, count: int, limit: float | None) -> None:
    """Wait for all processes; raise one error, with all of them ended, where one fails or time is up."""
    end = None if limit is None else time.monotonic() + limit
    try:
        while not crew.join(None if end is None else max(0.0, end - time.monotonic())):
            if end is not None and time.monotonic() >= end:
                late = [str(i) for i, process in enumerate(crew.processes) if process.is_alive()]
                raise TimeoutError(f"hogwild: after {limit:g} s process {', '.join(late)} of {count} was still at work")
    except ProcessRaisedException as error:
        *_, reason = str(error).strip().splitlines()
        raise RuntimeError(f"hogwild: process {error.error_index} of {count} raised {reason}\n{error}") from None
    except ProcessExitedException as error:
        how = f"was ended by {error.signal_name}" if error.signal_name else f"ended with exit code {error.exit_code}"
        hint = "" if error.signal_name else '; does the script call hogwild under if __name__ == "__main__"?'
        raise RuntimeError(f"hogwild: process {error.error_index} of {count} {how}{hint}") from None
    finally:
        for process in crew.processes:
            if process.is_alive():
                process.kill()
            process.join()


def importable(work: object) -> None:
    """Raise TypeError for what another process could not import."""
    try:
        ForkingPickler.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"hogwild: work is {told(work)}, which another process cannot import ({error}); give a function that is "
            "defined at the top of a module"
        ) from None
    if not callable(work):
        raise TypeError(f"hogwild: work is {told(work)}; it must be a function work(rank, epoch, model, optimizer, …)")


def share_model(model: Any) -> None:
    """Move what a model consists of into shared memory."""
    if isinstance(model, torch.nn.Module):
        for x in (*model.parameters(), *model.buffers()):  # not gradients: each process has its own
            share_model(x)
    elif isinstance(model, Tensor):
        model.data.share_memory_()
    elif isinstance(model, list | tuple | dict):
        parts: Iterable[Any] = model.values() if isinstance(model, dict) else model  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        for x in parts:
            share_model(x)
