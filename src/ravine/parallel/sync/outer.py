"""The outer optimizer of DiLoCo: made over the anchors, and loaded where these stand in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.optim.sgd import SGD
from ravine.saved import entries, told


def made(outer: Any, anchors: Sequence[Tensor]) -> torch.optim.Optimizer:
    """The outer optimizer over these anchors, or an error."""
    if outer is None:
        return SGD(list(anchors), lr=0.7, momentum=0.9, nesterov=True)
    if isinstance(outer, torch.optim.Optimizer) or not callable(outer):
        raise TypeError(
            f"DiLoCo: outer is {told(outer)}; it must be a function or a class that makes an optimizer of the anchors, "
            "such as lambda params: ravine.SGD(params, lr=0.7, momentum=0.9, nesterov=True)"
        )
    out = outer(list(anchors))
    if not isinstance(out, torch.optim.Optimizer):
        raise TypeError(f"DiLoCo: outer has made {told(out)}; it must return an optimizer of the anchors it is given")
    over = {id(p) for group in out.param_groups for p in group["params"]}
    if over != {id(x) for x in anchors}:
        raise ValueError(
            "DiLoCo: outer has made an optimizer of other tensors; make it of the anchors, the list that outer is given"
        )
    return out


def reordered(saved: Any, params: Sequence[Any], opt: torch.optim.Optimizer, order: Sequence[Any]) -> dict[str, Any]:
    """A state_dict of an optimizer over the anchors of these parameters, as one for `opt`, in this order:
    a group of `opt` has the hyperparameters that its first tensor had."""
    saved = entries("the outer optimizer", saved, ("state", "param_groups"))
    listed = [(j, group) for group in saved["param_groups"] for j in group["params"]]
    if len(listed) != len(params):
        raise ValueError(f"DiLoCo: the outer optimizer has {len(listed)} tensors in the state_dict, not {len(params)}")
    there: Mapping[Any, Any] = dict(zip(params, listed, strict=True))
    groups, state, at = list[dict[str, Any]](), dict[int, Any](), 0
    for now in opt.param_groups:
        mine = order[at : at + len(now["params"])]
        numbers = list(range(at, at + len(mine)))
        at += len(mine)
        groups.append({**there[mine[0]][1], "params": numbers})
        for n, p in zip(numbers, mine, strict=True):
            if (j := there[p][0]) in saved["state"]:
                state[n] = saved["state"][j]
    return {**saved, "state": state, "param_groups": groups}
