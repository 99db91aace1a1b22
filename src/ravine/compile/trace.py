"""Run a rule once on symbols; what comes out is a Program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from ravine.compile.expr import FULL, Expr, leaf, traces


class Rule(Protocol):
    """What the tracer needs of an optimizer class."""

    def init(self, s: Any, p: Any) -> None: ...
    def update(self, s: Any, p: Any, g: Any, t: Any) -> Any: ...


@dataclass(frozen=True)
class Program:
    """A rule as a graph: how each state begins, what a step leaves in it, and the new parameter."""

    name: str
    start: dict[str, Expr]
    next: dict[str, Expr]
    p: Expr
    views: dict[str, Expr] = field(default_factory=dict[str, Expr])  # "eval", "train": other weights to hold

    @property
    def outputs(self) -> dict[str, Expr]:
        """All that a step writes, by the name of the array: `p` and the states."""
        return {"p": self.p, **self.next}


class State:
    """`s` inside a rule: reading gives the value now, assigning records the next one."""

    def __init__(self, now: dict[str, Any], making: bool):
        self.__dict__.update(_now=now, _written=set[str](), _making=making)

    def __getattr__(self, name: str) -> Any:
        if name not in self._now:
            raise AttributeError(f"state '{name}' is used but not made in init()")
        return self._now[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if not self._making and name not in self._now:
            raise AttributeError(f"state '{name}' is assigned but not made in init()")
        self._written.add(name)
        self._now[name] = value


def written(s: State) -> set[str]:
    """The states that a rule has assigned."""
    return s.__dict__["_written"]


def trace(rule: type[Rule], hyper: Mapping[str, Any], asked: dict[str, bool]) -> Program:
    """The Program of `rule` at these hyperparameters.

    Floats become symbols; flags, ints, strings and tuple lengths are fixed. Where the rule asks whether a
    float is zero (`if self.momentum:`), the answer is fixed too and written into `asked`.
    """
    me, p, g, t = symbolic(rule, hyper), leaf("p", "p", FULL), leaf("g", "g", FULL), leaf("t", "t")

    start: dict[str, Any] = {}

    def answer(name: str) -> bool:
        return asked.setdefault(name, bool(number_of(hyper, name)))

    def live() -> State:
        return State({k: state_leaf(k, v) for k, v in start.items()}, making=False)

    traces.stack.append(answer)
    try:
        me.init(State(start, making=True), p)
        for k, x in start.items():
            if not all(isinstance(part, Expr) for part in cast(dict[str, Any], flat({k: x})).values()):
                kind = type(x).__name__
                raise TypeError(
                    f"{rule.__name__}: state {k} begins as {x!r}, a plain {kind}; write zeros(p) or number(…)"
                )
        s = live()
        new_p = me.update(s, p, -g if hyper.get("maximize") else g, t)
        views: dict[str, Expr] = {}
        for view in ("eval", "train"):
            if hasattr(me, f"to_{view}"):
                seen = live()
                views[view] = getattr(me, f"to_{view}")(seen, p)
                if changed := sorted(written(seen)):
                    raise ValueError(
                        f"{rule.__name__}: to_{view}() assigns state {', '.join(changed)}; only update() may"
                    )
    finally:
        traces.stack.pop()
    if idle := sorted(start.keys() - written(s)):
        raise ValueError(f"{rule.__name__}: state {', '.join(idle)} is made in init() but never updated")
    return Program(rule.__name__, flat(start), flat(s.__dict__["_now"]), new_p, views)


def symbolic(rule: type[Rule], hyper: Mapping[str, Any]) -> Any:
    """A stand-in for `self`: floats are symbols, everything else is itself."""
    me = object.__new__(rule)
    for name, value in hyper.items():
        if is_float(value):
            value = leaf("hyper", name)
        elif isinstance(value, tuple):
            parts = cast(tuple[Any, ...], value)
            value = tuple(leaf("hyper", f"{name}.{i}") if is_float(x) else x for i, x in enumerate(parts))
        me.__dict__[name] = value
    return me


def is_float(value: object) -> bool:
    """True for what a kernel takes as a run-time number: a float or a one-element tensor."""
    return isinstance(value, float) or hasattr(value, "item")


def number_of(hyper: Mapping[str, Any], name: str) -> Any:
    """The value of `lr`, or of `betas.1`."""
    key, _, index = name.partition(".")
    return hyper[key][int(index)] if index else hyper[key]


def state_leaf(name: str, start: Any) -> Any:
    """The symbol of a state, or a list of symbols where the state is a list."""
    if isinstance(start, list):
        return [leaf("state", f"{name}.{i}", x.shape) for i, x in enumerate(cast(list[Expr], start))]
    return leaf("state", name, start.shape)


def flat(tree: dict[str, Any]) -> dict[str, Expr]:
    """{"m": [a, b]} -> {"m.0": a, "m.1": b}."""
    out: dict[str, Expr] = {}
    for k, v in tree.items():
        out |= {f"{k}.{i}": x for i, x in enumerate(cast(list[Expr], v))} if isinstance(v, list) else {k: v}
    return out
