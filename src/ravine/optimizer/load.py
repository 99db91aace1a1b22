"""Loading a state: all is checked and all that is new is made before anything changes."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from ravine.compile.block import Block
from ravine.compile.expr import FULL, is_matrix
from ravine.compile.geometry import local, placing
from ravine.compile.storage import CODED
from ravine.optimizer import programs
from ravine.optimizer.clock import count, is_number, number
from ravine.optimizer.state import (
    BITS,
    SUMS,
    TYPES,
    as_numbers,
    misfit,
    movable,
    numbers_of,
    scale_of,
    shape_of,
    stored,
    type_of,
)
from ravine.rule.hyper import constants, fields, settle
from ravine.rule.modifier import Modifier
from ravine.rule.programs import TRAIN
from ravine.saved import entries, has_memory, in_short, python_number, told

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.rule.rule import Rule


# taken from this optimizer, not from the state dict
OWN = ("storage", "master_bits", "nonfinite", "measured", "capturable")
PARTS = ("state", "param_groups")
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # parts of names that are torch's


@dataclass
class Loaded:
    """What `load_state_dict(…, strict=False)` took over and what it left, by the names of parameters or their places.

    loaded: these have a state from the state_dict.
    missing: these are here, and the state_dict has no state for them; they stay as they are.
    unexpected: the state_dict has a state for these, and they are not here.
    unfit: {name: why} of those in both whose state is another's, for example of another shape; they stay as they are.
    """

    loaded: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    unfit: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        parts = [f"loaded the states of {len(self.loaded)} parameter{'s' * (len(self.loaded) != 1)}"]
        for word, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{word}: {', '.join(names)}")
        return "; ".join([*parts, *(f"unfit: {why}" for why in self.unfit.values())])


def load(
    opt: torch.optim.Optimizer, state_dict: Mapping[str, Any], take: Callable[[dict[str, Any]], Loaded | None]
) -> Loaded | None:
    """Check the form of a state_dict and let `take` take it over; torch's hooks are called as torch calls them."""
    owner = type(opt).__name__
    given = entries(owner, state_dict, PARTS)
    for hook in list(opt._optimizer_load_state_dict_pre_hooks.values()):
        made = hook(opt, given)
        given = given if made is None else made
    report = take(checked(owner, given))
    for hook in list(opt._optimizer_load_state_dict_post_hooks.values()):
        hook(opt)
    return report


def load_all(opt: Optimizer, given: dict[str, Any]) -> None:
    """Take over all of a state_dict."""
    final = groups(opt, given["param_groups"])
    states: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
    came = {i: group.get("storage") for group in given["param_groups"] for i in group["params"]}
    for saved, group in zip(final, opt.param_groups, strict=True):
        for i, p in zip(saved["params"], group["params"], strict=True):
            if i in given["state"]:
                states[p] = fit(opt, saved, p, given["state"][i], came[i], f"parameter {i}")
        saved["params"] = group["params"]
        if "param_names" in group:
            saved.setdefault("param_names", group["param_names"])
    for key, note in given["state"].items():
        if key not in came:
            states[key] = note
    opt.__setstate__({"state": states, "param_groups": final})


def load_what_fits(opt: Optimizer, given: dict[str, Any]) -> Loaded:
    """Take over the states that fit; everything else, hyperparameters too, stays as it is."""
    report, states = Loaded(), dict[Tensor, dict[str, Any]]()
    for name, i, came, group, p in matched(given["param_groups"], opt.param_groups):
        saved = given["state"].get(i)
        if p is None:
            report.unexpected += [name] if saved else []
        elif not saved:
            report.missing += [name] if movable(p) else []
        else:
            try:
                same_mode(opt, group, p, came, name)
                states[p] = fit(opt, group, p, saved, came.get("storage"), name)
                report.loaded.append(name)
            except ValueError as error:
                report.unfit[name] = str(error)
    opt.state.update(states)
    opt._arranged = None
    return report


def same_mode(opt: Optimizer, group: Mapping[str, Any], p: Tensor, came: Mapping[str, Any], who: str) -> None:
    """Raise where a state was saved with other weights in the model than are there now: after eval(), or before it."""
    there, here = (x.get("mode") == "eval" for x in (came, group))
    if there != here:
        shows = opt.compiled(group, p).program.shown is not None
        raise ValueError(other_mode(f"{type(opt).__name__}: the state of {who}", there, shows))


def other_mode(what: str, there: bool, shows: bool = True) -> str:
    """What to say of a state that was saved in another mode than that here: there, True is eval(). shows: eval() does
    something here."""
    if there:
        return f"{what} was saved after eval(); {'call eval() here first, or ' if shows else ''}save after train()"
    return (
        f"{what} was saved in training, and eval() has been called here; call train() here first, or save after eval()"
    )


# what a state_dict is


def checked(owner: str, given: Any) -> dict[str, Any]:
    """A state_dict that has the form of one; what stands in it is looked at later."""
    given = entries(owner, given, PARTS)
    who, found, listed = f"this is not a state_dict of {owner}", given["state"], given["param_groups"]
    if not isinstance(found, Mapping):
        raise ValueError(f"{who}: 'state' is {told(found)}; it must be a dict")
    if not isinstance(listed, list | tuple):
        raise ValueError(f"{who}: 'param_groups' is {told(listed)}; it must be a list of dicts")
    ids: set[Hashable] = set()
    for n, group in enumerate(listed):
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), list | tuple):
            raise ValueError(f"{who}: group {n} is {told(group)}; it must be a dict in which 'params' is a list")
        for i in group["params"]:
            if not isinstance(i, int | str) or i in ids:
                raise ValueError(
                    f"{who}: group {n} has the parameter {told(i)}; "
                    "each must be a number or a name, and may appear once"
                )
            ids.add(i)
        names = group.get("param_names", ())
        if not isinstance(names, list | tuple) or not all(isinstance(x, str) for x in names):
            raise ValueError(f"{who}: group {n} has the param_names {told(names)}; they must be a list of texts")
        if "param_names" in group and (len(set(names)) < len(names) or len(names) != len(group["params"])):
            raise ValueError(f"{who}: group {n} has {len(group['params'])} parameters and {len(set(names))} names")
    for i, state in found.items():
        if i not in ids:
            # as in torch, others may keep notes in `state`; but a state must not be passed over in silence
            note = isinstance(i, str) and isinstance(state, dict)
            if not note or any(isinstance(x, Tensor) for x in state.values()):
                raise ValueError(f"{who}: it has a state for parameter {told(i)}, which is in no group")
        elif not isinstance(state, Mapping) or not all(isinstance(k, str) for k in state):
            raise ValueError(f"{who}: the state of parameter {told(i)} is {told(state)}; it must be a dict of tensors")
    return given


# the groups


def groups(opt: Optimizer, saved: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The saved groups in the order of this optimizer's names, with what this version has beyond theirs."""
    owner = type(opt).__name__
    if len(saved) != len(opt.param_groups):
        raise ValueError(
            f"{owner}: the state_dict has {len(saved)} parameter groups, this optimizer {len(opt.param_groups)}"
        )
    out = []
    for i, (old, now) in enumerate(zip(saved, opt.param_groups, strict=True)):
        who, rule = f"{owner}: group {i}", opt.rule_of(now)
        known = fields(rule)
        twins = inspect.signature(rule.twin).parameters if rule.twin else known
        always = {k for k, (_, default) in known.items() if isinstance(default, float | tuple) and k in twins}
        named = routed(opt, who, old, now)
        if len(old["params"]) != len(now["params"]):
            raise ValueError(f"{who} has {len(old['params'])} parameters in the state_dict, {len(now['params'])} here")
        if missing := always - old.keys():
            raise ValueError(f"this is not a state_dict of {owner}: group {i} has no {', '.join(sorted(missing))}")
        if not sums(old.get(SUMS, {})):
            raise ValueError(f"{who} has the {SUMS} {told(old[SUMS])} in the state_dict; they are a dict of numbers")
        old = {**old, "mods": worn(who, old.get("mods"), now["mods"]), **shaped(who, old, now), **named}
        old.pop("grad_scale", None)  # of a step that was under way
        mine = {k: now[k] for k in known if k not in old}
        try:
            mine |= settle(rule, {k: old[k] for k in known if k in old})
            old = deepcopy(old)
        except (TypeError, RuntimeError) as error:  # a tensor may have no number, or no copy
            raise ValueError(f"this is not a state_dict of {owner}: group {i}: {error}") from error
        rule.validate(mine)
        mine |= {k: now[k] for k in OWN}
        out.append(old | mine | constants(rule) | by_name(who, old, now))
        if not opt.several and "rule" not in now:
            out[-1].pop("rule", None)  # of an optimizer with several
    return out


def routed(opt: Optimizer, who: str, old: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The rule of a group, of an optimizer with several; a state_dict of an optimizer with one does not name it."""
    if not opt.several:
        return {}
    if (there := old.get("rule", now["rule"])) != now["rule"]:
        raise ValueError(
            f"{who} is of the rule {told(there)} in the state_dict and {now['rule']} here; "
            "load_state_dict(…, strict=False) takes over what fits"
        )
    return {"rule": now["rule"]}


def sums(x: Any) -> bool:
    """True for what a released optimizer keeps in its first group: sums of the last step, by their marks."""
    return isinstance(x, Mapping) and all(isinstance(k, str) and isinstance(v, float | int) for k, v in x.items())


def worn(who: str, saved: Any, now: tuple[Modifier, ...]) -> tuple[Modifier, ...]:
    """This optimizer's modifiers with the saved numbers; a state_dict of torch has none."""
    if saved is None:
        return now
    if not isinstance(saved, list | tuple) or not all(isinstance(x, Mapping) and "mod" in x for x in saved):
        raise ValueError(f"{who} has mods {told(saved)} in the state_dict; they are a list of dicts, each with 'mod'")
    names = [x["mod"] for x in saved], [type(x).__name__ for x in now]
    if names[0] != names[1]:
        raise ValueError(
            f"{who} has mods {told(names[0])} in the state_dict and {names[1]} here; "
            "make the optimizer with the same ones"
        )
    try:
        return tuple(mod.like(x) for mod, x in zip(now, saved, strict=True))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{who}: of its mods in the state_dict {error}") from error


def shaped(who: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """This optimizer's blocks, which a state_dict has in words; ValueError where they are others."""
    mine = {k: x for k, x in now.items() if isinstance(x, Block) or (k == "blocks" and x is None)}
    for k, x in mine.items():
        given = saved.get(k, x)
        words = in_short(str(given)) if isinstance(given, str | Block | None) else told(given)
        if words != in_short(str(x)):
            raise ValueError(f"{who} has {k}={words} in the state_dict and {k}={x} here; give the same")
    return mine


# which saved parameter is which


def without_wrappers(names: Sequence[str]) -> list[str]:
    """Names without what torch.compile, DDP, FSDP and checkpoint wrappers put into them; as they are if that makes two
    of them one."""
    out: list[str] = []
    for name in names:
        steps = [x for x in name.split(".") if x not in WRAPPERS]
        while steps[:1] == ["module"] and len(steps) > 1:
            del steps[0]
        out.append(".".join(steps))
    return out if len(set(out)) == len(out) else list(names)


def by_name(who: str, old: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The saved parameters in the order of this group's, where both have names; else they go by place."""
    if "param_names" not in old or "param_names" not in now:
        return {}
    place = dict(zip(without_wrappers(old["param_names"]), old["params"], strict=True))
    here = without_wrappers(now["param_names"])
    if other := place.keys() ^ set(here):
        side = {True: "only in the state_dict", False: "only here"}
        raise ValueError(
            f"{who} has other names: {', '.join(f'{in_short(k)} {side[k in place]}' for k in sorted(other)[:5])}; "
            "load_state_dict(…, strict=False) takes over what fits"
        )
    return {"params": [place[k] for k in here], "param_names": list(now["param_names"])}


def matched(
    saved: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Any, Mapping[str, Any], Mapping[str, Any], Tensor | None]]:
    """(name, saved number, saved group, group here, parameter here) of all parameters of both sides: by name over all
    groups where both have names, else by place. What is missing on a side is None there, and its group empty."""
    theirs = [(i, group) for group in saved for i in group["params"]]
    ours = [(p, group) for group in now for p in group["params"]]
    names, own = names_of(saved), names_of(now)
    if names is None or own is None:
        names, own = [f"parameter {i}" for i in range(len(theirs))], [f"parameter {i}" for i in range(len(ours))]
    there, here = (
        dict(zip(without_wrappers(names), theirs, strict=True)),
        dict(zip(without_wrappers(own), ours, strict=True)),
    )
    for name in dict.fromkeys([*here, *there]):
        i, came = there.get(name, (None, {}))
        p, group = here.get(name, (None, {}))
        yield name, i, came, group, p


def names_of(listed: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The names of all parameters, each another; a state_dict may have them as numbers. None where there are none."""
    names = [x for group in listed for x in group.get("param_names", group["params"])]
    return names if all(isinstance(x, str) for x in names) and len(set(names)) == len(names) else None


# the state of one parameter


def fit(
    opt: Optimizer, group: Mapping[str, Any], p: Tensor, saved: Mapping[str, Any], came: Any, who: str
) -> dict[str, Any]:
    """A new state for a parameter of this group from a saved one, which came in this storage; ValueError where it has
    not the names, the shapes and the types of this optimizer's."""
    rule = opt.rule_of(group)
    owner = rule.__name__ if opt.several else type(opt).__name__
    found = {k: python_number(x) for k, x in saved.items() if x is not None}
    if not movable(p):
        if found:
            raise ValueError(f"{owner}: {who} is {p.dtype}, which never moves, and has a state in the state_dict")
        return {}
    compiled = opt.compiled(group, p)
    expected = {rule.key(k): x for k, x in compiled.program.start.items()}
    defaults = {k: default for k, (_, default) in fields(rule).items()}
    always = {rule.key(k) for k in programs.compiled(rule, defaults, p).program.start}  # other flags may bring more
    coded = {k for k, x in expected.items() if x.shape == FULL and k in found and scale_of(k) in found}
    for k in [k for k in coded if placing(found[k]) != placing(p)]:  # blocks that are cut elsewhere than here
        found[k] = as_numbers(found, k)
        del found[scale_of(k)]
        coded.remove(k)
    kept = {k for source in opt.sources for k in source.keeps}
    known = {*expected, *rule.names.values(), *opt.state.get(p, {}), *kept, "step", TRAIN, BITS, *map(scale_of, coded)}
    if (unknown := found.keys() - known) and (unknown := unknown - once(rule, group, p, unknown)):
        raise ValueError(
            f"this is not a state_dict of {owner}: {who} has {told(sorted(unknown))}, "
            f"and {owner} keeps {', '.join(expected) or 'nothing'}"
        )
    if found and (missing := expected.keys() & always - found.keys()):
        raise ValueError(f"this is not a state_dict of {owner}: {who} has no {', '.join(sorted(missing))}")
    if found and group.get("mode") == "eval" and compiled.program.shown is not None and TRAIN not in found:
        raise ValueError(
            f"{owner}: the state_dict was made after eval(), and {who} has no {TRAIN} in it: the weights to train with "
            "are lost. Save again after train(), or save a state_dict that is not flattened"
        )
    host, state = set(numbers_of(compiled)), dict[str, Any]()
    for k, x in found.items():
        what = f"{owner}: {k} of {who}"
        if k == "step" or k in host:
            made = (count if k == "step" else number)(what, x, "the state_dict")
            kept = x.detach() if isinstance(x, Tensor) else torch.tensor(made, dtype=torch.float64)
            state[k] = kept.to("cpu", copy=True).reshape(())
            continue
        if k == BITS or (k.endswith("_scale") and k in map(scale_of, coded)):
            if wrong := misfit(k, found, p):
                raise ValueError(f"{owner}: of {who} in the state_dict {wrong}")
        elif k in expected or k == TRAIN:
            shape = list(p.shape) if k == TRAIN else shape_of(expected[k], p, compiled.plan.view)
            full = k == TRAIN or expected[k].shape == FULL
            fits(what, x, p, shape, tuple(CODED.values()) if k in coded else TYPES, complex=p.is_complex() and full)
            if k in expected and came == "int8" and type_of(expected[k], {**group, "storage": came}, p) != x.dtype:
                decoded(what, x)
        elif not (isinstance(x, Tensor) and x.dtype in (*TYPES, *CODED.values())) and not is_number(x):
            raise ValueError(f"{what} is {told(x)} in the state_dict; it must be a tensor")
        state[k] = own(what, x, p, factor=k in expected and is_matrix(expected[k]))
    try:
        other = came != group["storage"] and any(x in ("bf16", "int8") for x in (came, group["storage"]))
        return stored(rule, compiled, group, p, state, other)
    except RuntimeError as error:
        raise ValueError(f"{owner}: the state of {who} cannot be taken over: {error}") from error


def fits(what: str, x: Any, p: Tensor, shape: list[int], types: Sequence[torch.dtype], complex: bool) -> None:
    """Raise unless a saved value is of this shape and of one of these types."""
    kind = x.dtype in types and x.is_complex() == complex if isinstance(x, Tensor) else is_number(x)
    if not kind:
        raise ValueError(f"{what} is {told(x)} in the state_dict; it must be a tensor as {p.dtype} has it")
    given = list(x.shape) if isinstance(x, Tensor) else []
    if given != shape:
        raise ValueError(
            f"{what} has shape {tuple(given)} in the state_dict; for a parameter of shape {tuple(p.shape)} it must "
            f"have {tuple(shape)}"
        )


def decoded(what: str, x: Any) -> None:
    """Raise where a state that was saved in codes is numbers now, and the numbers are the codes."""
    x = local(x.detach())
    if x.is_floating_point() and x.numel() and has_memory(x) and bool((x == x.round()).all() and x.abs().max() > 1):
        raise ValueError(
            f"{what} was saved in 8-bit codes, and they have been read as numbers, as torch.distributed.checkpoint "
            'reads into an optimizer without codes: load with storage="int8", or save state_dict(decoded=True)'
        )


def own(what: str, x: Any, p: Tensor, factor: bool = False) -> Tensor:
    """A copy of a loaded state beside its parameter, in its order of memory and placed as it is where it has its shape;
    a factor is whole in every process, also one that happens to have that shape."""
    if not isinstance(x, Tensor):
        return torch.tensor(float(x), device=p.device)
    if not has_memory(x) and not local(p).is_meta:
        raise ValueError(
            f"{what} is {told(x)} without memory of its own in the state_dict: it is sparse, meta, or freed"
        )
    try:
        if x.shape == p.shape and not factor:
            return torch.empty_like(p, dtype=x.dtype, requires_grad=False).copy_(x)
        return x.detach().to(p.device, copy=True)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # a subclass of Tensor that does not go together with the parameter's
        raise ValueError(f"{what} is {told(x)} in the state_dict and cannot be copied: {error}") from error


def once(rule: type[Rule], hyper: Mapping[str, Any], p: Tensor, names: set[str]) -> set[str]:
    """Those of the names that a modifier keeps, or this rule with another flag: no longer used, but not another's."""
    worn = "|".join(f"{cls.__name__.lower()}\\d*_" for cls in kinds(Modifier))
    out = {k for k in names if re.match(worn, k)}
    for name, (kind, _) in fields(rule).items():
        others = get_args(kind) if get_origin(kind) is Literal else (False, True) if kind is bool else ()
        for other in (0.0, 0.1) if kind is float else others:
            try:
                program = programs.compiled(rule, {**hyper, name: other}, p).program
            except (TypeError, ValueError):  # what does not go together
                continue
            out |= names & {rule.key(k) for k in program.start}
    return out


def kinds(cls: type) -> list[type]:
    """All classes derived from this one."""
    return [x for sub in cls.__subclasses__() for x in (sub, *kinds(sub))]
