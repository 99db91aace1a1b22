"""Models, optimizers and random numbers as they were: for a test run that nobody may notice afterwards."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import Tensor, nn


@contextmanager
def kept(*things: Any) -> Iterator[Callable[[], None]]:
    """Inside, things may change; afterwards they are as before, also after an error. The function that is given makes
    them so at any time between. All random numbers are kept too.

    In place: tensors, dicts and lists are the same objects with their old contents, so schedulers, hooks and tied
    weights still hold. Looked into are modules, optimizers (with those they drive), tensors with their gradients,
    dicts, lists and tuples; other objects are not.
    """
    undo = [_chance(), *_contents(things)]

    def back() -> None:
        with torch.no_grad():
            for put in undo:
                put()

    try:
        yield back
    finally:
        back()


def _contents(things: Any) -> list[Callable[[], Any]]:
    """What puts everything back that can be reached from here."""
    undo: list[Callable[[], Any]] = []
    seen: dict[int, Any] = {}

    def look(x: Any) -> None:
        if id(x) in seen:
            return
        seen[id(x)] = x
        if isinstance(x, nn.Module | torch.optim.Optimizer):
            look(vars(x))
        elif isinstance(x, Tensor):
            look(_tensor(x, undo))
        elif isinstance(x, dict | list):
            now = x.copy()
            undo.append(lambda: (x.clear(), x.update(now) if isinstance(x, dict) else x.extend(now)))
            for inside in now.values() if isinstance(now, dict) else now:
                look(inside)
        elif isinstance(x, tuple):
            for inside in x:
                look(inside)
        elif isinstance(x, torch.Generator):
            state = x.get_state()
            undo.append(lambda: x.set_state(state))

    look(things)
    return undo


def _tensor(x: Tensor, undo: list[Callable[[], Any]]) -> Tensor | None:
    """Keeps its numbers, and which gradient it has; returns that."""
    value, grad = x.detach().clone(), x.grad if x.is_leaf else None
    undo.append(lambda: x.copy_(value))
    if x.is_leaf:
        undo.append(lambda: setattr(x, "grad", grad))
    return grad


def _chance() -> Callable[[], None]:
    """Keeps the random numbers of Python, numpy and torch."""
    own, theirs, cpu = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def back() -> None:
        random.setstate(own)
        numpy.random.set_state(theirs)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    return back
