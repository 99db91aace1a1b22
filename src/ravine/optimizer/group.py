"""A parameter group as it is given: one clear error, or a group that the optimizer can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.rule.hyper import check_params, constants, fields, settle
from ravine.typed import hint, nearest

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.rule.rule import Rule


def checked(opt: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
    """A group of {"params": …} and hyperparameters, these in the form that their fields have; raises TypeError or
    ValueError."""
    owner = type(opt).__name__
    if not isinstance(given, dict):
        raise TypeError(f"{owner}: a parameter group is a dict with 'params', not {type(given).__name__}")
    if "params" not in given:
        raise ValueError(f"{owner}: a parameter group has no 'params'; it has {', '.join(given) or 'nothing'}")
    rule = opt.rule_of(given)
    base, known, always = opt.defaults_of(rule), fields(rule), constants(rule)
    for name in given.keys() - known.keys() - {"params"}:
        # others may put notes of their own into a group; a near miss is a typing error
        if name in ("backend", "sources", "process_group"):
            raise TypeError(f"{owner}: {name} is the whole optimizer's, not a group's; give it to {owner}(…)")
        if name in always and given[name] != always[name]:
            raise TypeError(f"{rule.__name__}: {name} is always {always[name]!r}")
        if nearest(name, known, least=0.8):
            raise TypeError(f"{rule.__name__} has no '{name}': {hint(name, known)}It takes {', '.join(known)}")
    group = given | settle(rule, {k: x for k, x in given.items() if k in known})
    rule.validate(base | group)
    if group.get("nonfinite", base["nonfinite"]) != base["nonfinite"]:
        raise ValueError(f"{owner}: nonfinite is the whole optimizer's, not a group's: no group moves without others")
    params = group["params"]
    check_params(owner, params)
    group["params"] = params = (
        [params] if isinstance(params, Tensor) else params if isinstance(params, set) else list(params)
    )
    tensors = [p[1] if isinstance(p, tuple) else p for p in params]
    for i, p in enumerate(tensors):
        check_parameter(rule, f"{owner}: parameter {i}", p, base | group)
    if len({id(p) for p in tensors}) < len(tensors):
        raise ValueError(f"{owner}: a parameter stands twice in one group; give each tensor once")
    return group | {k: x for k, x in base.items() if k not in group}


def check_parameter(rule: type[Rule], who: str, p: Any, group: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError for what this rule cannot step."""
    if not isinstance(p, Tensor):
        raise TypeError(f"{who} is {type(p).__name__}; optimizers take tensors, such as model.parameters()")
    if not p.is_leaf:
        raise ValueError(f"{who} of shape {tuple(p.shape)} is the result of a computation; give the leaf tensor itself")
    if p.is_complex() and group["storage"] in ("bf16", "int8"):
        raise ValueError(f"{who} is complex, and storage={group['storage']!r} is for real ones; use None")
    if p.dtype == torch.float16 and group["master_bits"] is not None:
        raise ValueError(f"{who} is float16, and master_bits are for bfloat16 (float32 needs none); leave it None")
    if p.is_complex() and (rule.twin is None or rule.real_only):
        raise ValueError(f"{who} is complex; {rule.__name__} is defined for real ones. Use torch.view_as_real")
