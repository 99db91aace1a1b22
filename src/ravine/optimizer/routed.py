"""One optimizer with several rules: each group has the rule that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.compile.trace import inputs
from ravine.optimizer.optimizer import Optimizer, checked_backend
from ravine.optimizer.routes import Route, Routes
from ravine.rule.hyper import check_params, constants, fields, settle
from ravine.rule.rule import Rule
from ravine.rule.source import Source

WHOLE = ("nonfinite", "measured", "capturable")  # of the whole optimizer: no group may have another


class Routed(Optimizer, rule=False):
    """One optimizer in which some parameters go by one rule and the rest by another.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "hidden": nn.Linear(4, 4), "head": nn.Linear(4, 9)})
        >>> hidden, rest = ravine.groups.split(model)
        >>> opt = ravine.Routed(
        ...     {
        ...         ravine.Lion: {"params": hidden, "lr": 1e-4},
        ...         ravine.AdamW: {"params": rest, "lr": 1e-3, "weight_decay": 0.1},
        ...     },
        ...     mods=[ravine.mods.ClipNorm(1.0)],
        ... )
        >>> print(opt.routes())
        name           shape  rule   group  why
        hidden.weight  4×4    Lion   0      matrix
        embed.weight   9×4    AdamW  1      embedding
        hidden.bias    4      AdamW  1      bias
        head.weight    9×4    AdamW  1      head
        head.bias      9      AdamW  1      head
        <BLANKLINE>
        Lion: 1 parameter, 16 elements
        AdamW: 4 parameters, 85 elements

    It is used as any optimizer: one `step()`, one `state_dict()`, one scheduler over all groups, one GradScaler. Each
    dict of `param_groups` has the hyperparameters of its rule, and the rule's name under "rule". Every parameter moves
    as it would in an optimizer of its rule alone, bit for bit; groups of one rule share their launches. What looks at
    all parameters looks at those of all rules: a `ClipNorm` that all groups wear clips one norm, `nonfinite="skip"`
    moves no route where any gradient is not finite, `metrics()` is of all. Sums that are a rule's own (Prodigy,
    D-Adaptation, DoG) go over the parameters of this rule.

    `load_state_dict` takes a state of the same groups, and with strict=False what fits, by name: also from an optimizer
    of one rule, and that one from here.

    routes: {rule: its parameters}. A rule is a class, such as ravine.Lion or your own; its parameters are what its
        constructor would take: tensors, (name, tensor) pairs, or groups; or one dict with these under "params", and
        hyperparameters for all of them.
    lr: of groups that have none; None takes each rule's own default.
    backend, sources, process_group: as for any optimizer.
    hyper: hyperparameters of groups that say nothing else. Every rule must have them, as all have mods, maximize,
        storage, master_bits and seed. nonfinite, measured and capturable are given here, for all.

    Raises TypeError or ValueError where a rule is none, where a route is empty, where a rule has no such
    hyperparameter, and where a parameter stands in two routes.
    """

    def __init__(
        self,
        routes: Mapping[type[Rule], Any],
        lr: Any = None,
        *,
        backend: str | None = None,
        sources: Sequence[Source] = (),
        process_group: Any = None,
        **hyper: Any,
    ) -> None:
        owner = type(self).__name__
        if not isinstance(routes, Mapping) or not routes:
            raise TypeError(
                f"{owner}: routes is {type(routes).__name__ if routes else 'empty'}; it must be a dict of rules and "
                f"their parameters, such as {owner}({{ravine.Lion: hidden, ravine.AdamW: rest}})"
            )
        self._begin()
        self.backend, self.process_group = checked_backend(backend), process_group
        self._rules: dict[str, type[Rule]] = {}
        self._why: dict[Tensor, str] = {}
        given = hyper if lr is None else {"lr": lr, **hyper}
        whole = {k: fields(Optimizer)[k][1] for k in WHOLE}
        for common in ({}, whole | given):  # all are met first: what one lacks another may have
            for rule in routes:
                self._meet(rule, common)
        self._common = tuple(whole | given)  # the names of what is given for all
        first = next(iter(self._rules.values()))
        groups = [group for rule, params in routes.items() for group in self._groups(rule, params)]
        torch.optim.Optimizer.__init__(self, groups, self._of_all(first) | whole | settle(first, given))
        for source in sources:
            self.watch(source)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__(rule=False)

    # which rule

    def _meet(self, rule: Any, common: Mapping[str, Any]) -> None:
        """Take a class among the rules; raises where it is none, and where it has not what is given to all."""
        owner = type(self).__name__
        if not isinstance(rule, type) or not issubclass(rule, Rule) or rule.several:
            what = f"the class {rule.__module__}.{rule.__name__}" if isinstance(rule, type) else f"{rule!r}"
            raise TypeError(f"{owner}: a rule is a class of ravine, such as ravine.AdamW, or one derived from "
                            f"ravine.Optimizer; given was {what}")  # fmt: skip
        if self._rules.setdefault(rule.__name__, rule) is not rule:
            raise ValueError(f"{owner}: two rules have the name {rule.__name__}; groups are told apart by it")
        for name in (k for k in common if k not in fields(rule)):
            if others := self._having(name):
                where = f"give it to {' and '.join(others)} alone, as {{{others[0]}: {{'params': …, '{name}': …}}}}"
                raise TypeError(f"{owner}: {rule.__name__} has no '{name}'; {where}")
            settle(rule, {name: common[name]})  # which says what it has
        self._take_all()

    def _take_all(self) -> None:
        """Find what the updates of all rules take; raises where two call different things so."""
        takes: dict[str, Any] = {}
        for rule in self.rules:
            for name, shape in inputs(rule).items():
                if takes.setdefault(name, shape) != shape:
                    raise ValueError(f"{type(self).__name__}: two rules take '{name}', one as a number or in another "
                                     "shape than the other; rename it in one")  # fmt: skip
        self._takes = takes

    def _of_all(self, rule: type[Rule]) -> dict[str, Any]:
        """The defaults of a rule for what all rules have: `defaults` has them for others to find, as torch's OneCycleLR
        looks there for betas; a group takes none of them but what was given for all."""
        return {k: x for k, (_, x) in fields(rule).items() if len(self._having(k)) == len(self._rules)}

    def _having(self, name: str) -> list[str]:
        """The rules that have a hyperparameter of this name."""
        return [k for k, rule in self._rules.items() if name in fields(rule)]

    @property
    def rules(self) -> tuple[type[Rule], ...]:
        """The rules of all groups, each once."""
        return tuple(self._rules.values())

    def rule_of(self, group: Mapping[str, Any]) -> type[Rule]:
        """The rule of a group: the class that has the name under "rule"."""
        try:
            return self._rules[group["rule"]]
        except (KeyError, TypeError):
            owner, here = type(self).__name__, ", ".join(map(repr, self._rules))
            given = "has no 'rule'" if group.get("rule") is None else f"has the rule {group['rule']!r}"
            raise ValueError(
                f"{owner}: a group {given}; it must be one of {here}, or a class where a group is added"
            ) from None

    def defaults_of(self, rule: type[Rule]) -> dict[str, Any]:
        """The hyperparameters of a group of this rule that says nothing: the rule's, then what was given for all."""
        mine = {k: self.defaults[k] for k in self._common}
        return {k: x for k, (_, x) in fields(rule).items()} | settle(rule, mine) | constants(rule)

    def flags(self, group: Mapping[str, Any]) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the program of a group is made for."""
        return group["rule"], *self.rule_of(group).flags(group)

    @classmethod
    def key(cls, state: str) -> str:
        """Raises TypeError: the key of a state depends on the rule."""
        raise TypeError(f"{cls.__name__}: each rule has its own keys; ask opt.rule_of(group).key({state!r})")

    @classmethod
    def equations(cls, **hyper: Any) -> str:
        """Raises TypeError: each rule has its own."""
        raise TypeError(f"{cls.__name__} has several rules; ask each for its own, such as ravine.AdamW.equations()")

    # which parameters

    def _groups(self, rule: type[Rule], given: Any) -> list[dict[str, Any]]:
        """The groups of a route: parameters, one dict of them, or several; each names the rule."""
        who = f"{type(self).__name__}: {rule.__name__}"
        check_params(who, given)
        own = dict(given) if isinstance(given, Mapping) else {"params": given}
        if "params" not in own:
            raise ValueError(f"{who}: a dict needs 'params'; this one has {', '.join(map(str, own)) or 'nothing'}")
        params = own.pop("params")
        check_params(who, params)
        if not isinstance(params, Iterable):
            raise TypeError(f"{who}: its parameters are {type(params).__name__}; give tensors, such as a list of them")
        why: Mapping[str, str] = getattr(params, "why", {})
        listed = params if isinstance(params, Tensor | set) else list(params)
        if not isinstance(listed, Tensor) and not listed:
            raise ValueError(f"{who} has no parameters; leave it out, or look at what chose them")
        for name, p in (x for x in listed if isinstance(x, tuple) and len(x) == 2) if why else ():
            self._why[p] = why.get(name, "")
        nested = isinstance(listed, list) and all(isinstance(x, Mapping) for x in listed)
        groups: Any = listed if nested else [{"params": listed}]
        return [{**own, **group, "rule": rule} for group in groups]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: {"params": …, "rule": …} and hyperparameters. A rule is a class, or the name of one that other
        groups have."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            return super().add_param_group(param_group)  # which says what is wrong
        before = dict(self._rules), dict(self.defaults)
        try:
            super().add_param_group(self._routed(param_group))
        except Exception:
            for kept, was in zip((self._rules, self.defaults), before, strict=True):  # in place: wrappers share them
                kept.clear()
                kept.update(was)
            self._take_all()
            raise

    def _routed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A group with the name of its rule, which is met where it is new; raises for what is not this rule's."""
        owner, named = type(self).__name__, given.get("rule")
        if not isinstance(named, str | None):
            self._meet(named, {k: self.defaults[k] for k in self._common})
            named = named.__name__
            for k in self.defaults.keys() - {*self._common, *self._of_all(self._rules[named])}:
                del self.defaults[k]
        rule = self.rule_of({"rule": named})
        for name in (k for k in WHOLE if given.get(k, self.defaults[k]) != self.defaults[k]):
            raise TypeError(f"{owner}: {name} is the whole optimizer's, not a route's; give it to {owner}(…)")
        for name in given.keys() - {"params", "rule", *fields(rule), *constants(rule)}:
            if others := self._having(name):
                raise TypeError(f"{owner}: {named} has no '{name}', which {' and '.join(others)} has; "
                                f"{named} takes {', '.join(fields(rule))}")  # fmt: skip
        params = given["params"]
        check_params(f"{owner}: {named}", params)
        group = {**given, "rule": named, "params": params if isinstance(params, Tensor | set) else list(params)}
        self._apart(group)
        return group

    def _apart(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError where another route has a parameter of this one."""
        params = [group["params"]] if isinstance(group["params"], Tensor) else group["params"]
        here = {id(p): other["rule"] for other in self.param_groups for p in other["params"]}
        for i, x in enumerate(params):
            named = isinstance(x, tuple) and len(x) == 2
            name, p = (repr(x[0]), x[1]) if named else (f"parameter {i} of {group['rule']}", x)
            if id(p) in here:
                both = " and ".join(dict.fromkeys([here[id(p)], group["rule"]]))
                said = f"in two routes, {both}" if both != group["rule"] else f"in two groups of {both}"
                raise ValueError(f"{type(self).__name__}: {name} of shape {tuple(p.shape)} is {said}; each "
                                 "parameter moves by one rule")  # fmt: skip

    # to look inside

    def routes(self) -> Routes:
        """Where each parameter goes and why, in the order of the groups: a list that prints as a table."""
        made, place = Routes(), 0
        for i, group in enumerate(self.param_groups):
            names = group.get("param_names") or [f"parameter {place + j}" for j in range(len(group["params"]))]
            for name, p in zip(names, group["params"], strict=False):
                why = [x for x in (self._why.get(p, ""), "" if p.requires_grad else "frozen") if x]
                made.append(Route(name, tuple(p.shape), group["rule"], i, ", ".join(why)))
            place += len(group["params"])
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__} (\n{self.routes()}\n)"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._take_all()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {k: vars(self)[k] for k in ("_rules", "_why", "_common")}
