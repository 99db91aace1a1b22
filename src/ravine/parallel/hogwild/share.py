"""Put parameters and every state of an optimizer where several processes reach them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.optimizer.clock import in_common
from ravine.optimizer.release import is_released
from ravine.optimizer.state import begin, movable, numbers_of
from ravine.saved import told


def share(optimizer: Optimizer) -> None:
    """Move the parameters, every state and the learning rates of an optimizer into shared memory, in place.

        >>> import torch, ravine
        >>> from ravine.parallel import share
        >>> p = torch.nn.Parameter(torch.zeros(3))
        >>> opt = ravine.Adam([p], lr=0.1)
        >>> share(opt)
        >>> p.is_shared(), {k: x.is_shared() for k, x in opt.state[p].items()}
        (True, {'exp_avg': True, 'exp_avg_sq': True, 'step': True})

    Processes that get the optimizer through `torch.multiprocessing` then step the same weights with the same states.
    States that do not exist yet are made now; otherwise each process would make its own. `hogwild` calls this; call it
    yourself if you start the processes.

    The step count of a parameter counts the steps of all processes. A step reads it when it begins, for bias
    corrections and all else that depends on t, and adds one when it ends. The addition is not atomic: when two
    processes add at the same moment, one of the two counts is lost, which is rare. Other numbers of the whole rule (a
    product of momenta) are read when a step begins and written when it ends: the last process to write wins.

    The learning rate of each group becomes a shared 0-d float64 tensor: `group["lr"].mul_(0.9)` in one process holds
    for all.

    Raises TypeError if it is not an optimizer of ravine. Raises ValueError for weights that are not on the CPU, for an
    optimizer that was released, and for `storage="int8"`: a code means nothing without the scale of its block, and
    another process may change one between the two.
    """
    check(optimizer)
    common, seen = dict[Any, Tensor](), set[int]()
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.data.share_memory_()
            if movable(p):
                optimizer.state[p].update(shared(optimizer, group, p, common, seen))
        rate = group["lr"] if isinstance(group["lr"], Tensor) else torch.tensor(group["lr"], dtype=torch.float64)
        group["lr"] = rate.detach().share_memory_()


def prepare(optimizer: Optimizer) -> None:
    """Make the states that are missing, as the first step does."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if movable(p):
                optimizer.state[p].update(begin(optimizer, optimizer.compiled(group, p), group, p))


def check(optimizer: Any) -> None:
    """Raise unless several processes can step this optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"share: the optimizer is {told(optimizer)}; it must be one of ravine's: others make states at the first "
            "step, each process its own"
        )
    name = type(optimizer).__name__
    if is_released(optimizer):
        raise ValueError(f"share: {name} was released (ravine.release): call remove() first")
    for i, (group, p) in enumerate((x, p) for x in optimizer.param_groups for p in x["params"]):
        who = f"share: parameter {i} of {name}, of shape {tuple(p.shape)},"
        if p.device.type != "cpu" or type(p.data) is not Tensor:
            kind = p.device if type(p.data) is Tensor else type(p.data).__name__
            raise ValueError(f"{who} is on {kind}; processes share memory of the CPU: give plain tensors there")
        if group["storage"] == "int8":
            raise ValueError(f'{who} has storage="int8": codes and their scales cannot be changed at once; use another')


def shared(
    optimizer: Optimizer, group: Mapping[str, Any], p: Tensor, common: dict[Any, Tensor], seen: set[int]
) -> dict[str, Tensor]:
    """The state of a parameter in shared memory, with numbers of its own: a parameter may be stepped without others.

    common: the numbers that all parameters of a rule have together. seen: the numbers that a parameter already has.
    """
    compiled, rule = optimizer.compiled(group, p), optimizer.rule_of(group)
    state = begin(optimizer, compiled, group, p)
    hosted = ["step", *numbers_of(compiled)]
    for k, x in state.items():
        if k not in hosted:
            x.share_memory_()
        elif k != "step" and compiled.program.start[k].arg == "shared":
            state[k] = common.setdefault((rule, k), x if in_common(x) else own(x))
        elif not in_common(x) or id(x) in seen:
            state[k] = own(x)
        seen.add(id(state[k]))
    return state


def own(x: Any) -> Tensor:
    """A number in shared memory of its own."""
    return torch.tensor(float(x), dtype=torch.float64, device="cpu").share_memory_()
