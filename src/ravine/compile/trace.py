"""Run a rule once on symbols; what comes out is a Program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Protocol, cast

from ravine.compile.expr import COL, FULL, HOST, ROW, Expr, Shape, leaf, node, traces, walk
from ravine.compile.path import number_of
from ravine.compile.rate import rate
from ravine.compile.watch import cut, guarded, measured, unscaled


class Rule(Protocol):
    """The part of an optimizer class that the tracer needs."""

    def init(self, s: Any, p: Any) -> None: ...
    def update(self, s: Any, p: Any, g: Any, t: Any) -> Any: ...  # and its inputs


@dataclass(frozen=True)
class Program:
    """A rule as a graph: how each state begins, what a step leaves in it, and the new parameter.

    An input that is an array lies in memory as a state does, and a step only reads it: `start` has it, `next` does not.
    """

    name: str
    start: dict[str, Expr]
    next: dict[str, Expr]
    p: Expr
    shown: Expr | None = None  # the weights to evaluate with, where they are others
    measures: dict[str, Expr] = field(default_factory=dict[str, Expr])  # sums of each tensor that are only looked at
    guard: Expr | None = None  # a sum over all tensors that is not finite where a gradient is not
    inputs: Mapping[str, Shape] = field(default_factory=dict[str, Shape])  # that it reads

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


class Scope:
    """`s` inside a modifier: its states carry its name, so that they meet no other's."""

    def __init__(self, s: State, prefix: str):
        self.__dict__.update(_s=s, _prefix=prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s, self._prefix + name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._s, self._prefix + name, value)


class Questions:
    """What a rule asks while it is traced, with the answers: a program is made for them."""

    def __init__(self, hyper: Mapping[str, Any], facts: Mapping[str, Any]):
        self.hyper, self.facts = hyper, facts
        self.asked: dict[str, bool] = {}  # of floats: is it zero?
        self.known: dict[str, Any] = {}  # of the tensor: is it a vector? how fine is its type?
        self.asking = ""  # the rule or the modifier, as the prefix of its marks
        self.everys: Counter[str] = Counter()

    def nonzero(self, name: str) -> bool:
        """Is this float other than zero?"""
        return self.asked.setdefault(name, bool(number_of(self.hyper, name)))

    def fact(self, name: str) -> Any:
        """A fact about the tensor."""
        return self.known.setdefault(name, self.facts[name])

    def mark(self) -> str:
        """The next name of a sum over all tensors: the same in programs of other groups, with other modifiers.

        A rule's own has its name: what another rule in the optimizer sums does not meet it. A modifier's has not, and
        goes over the parameters of all rules.
        """
        self.everys[self.asking] += 1
        return f"{self.asking}{self.everys[self.asking]}"


def trace(rule: type[Rule], hyper: Mapping[str, Any], questions: Questions) -> Program:
    """The Program of `rule` at these hyperparameters.

    Floats become symbols; flags, ints, strings and tuple lengths are fixed. Where the rule asks whether a
    float is zero (`if self.momentum:`) or what a tensor is, the answer is fixed too and kept in `questions`.
    """
    me, p, g, t = symbolic(rule, hyper), leaf("p", "p", FULL), leaf("g", "g", FULL), leaf("t", "t")
    mods = modifiers(hyper)
    start: dict[str, Any] = {}
    own_marks = questions.asking = f"{rule.__name__}_"

    def live() -> State:
        return State({k: state_leaf(k, v) for k, v in start.items()}, making=False)

    traces.stack.append(questions)
    try:
        making = State(start, making=True)
        me.init(making, p)
        for prefix, mod in mods:
            mod.init(Scope(making, prefix), p)
        for k, x in start.items():
            if not all(isinstance(part, Expr) for part in cast(dict[str, Any], flat({k: x})).values()):
                kind = type(x).__name__
                raise TypeError(
                    f"{rule.__name__}: state {k} begins as {x!r}, a plain {kind}; write zeros(p) or number(…)"
                )
        s = live()
        g = raw = unscaled(hyper, g)
        g = -g if hyper.get("maximize") else g
        clipped = None
        for prefix, mod in mods:
            questions.asking = prefix
            given, g = g, mod.gradient(Scope(s, prefix), p, g, t)
            clipped = cut(given, g, clipped) if mod.clips else clipped
        questions.asking = own_marks
        more = {k: leaf("input", k, shape) for k, shape in inputs(rule).items()}
        new_p = made = me.update(s, p, g, t, **more)
        for prefix, mod in mods:
            questions.asking = prefix
            own = {"rate": rate(made, g, flat(start))} if "rate" in signature(mod.update).parameters else {}
            new_p = mod.update(Scope(s, prefix), p, g, t, new_p, me.lr, **own)
        seen, shown = live(), p
        for prefix, x in [("", me), *mods]:
            if hasattr(x, "to_eval"):
                shown = x.to_eval(Scope(seen, prefix), shown)
    finally:
        traces.stack.pop()
    if idle := sorted(start.keys() - written(s)):
        raise ValueError(f"{rule.__name__}: state {', '.join(idle)} is made in init() but never updated")
    if changed := sorted(written(seen)):
        raise ValueError(f"{rule.__name__}: to_eval() changes state {', '.join(changed)}; it may only read")
    begins, ends = flat(start), flat(s.__dict__["_now"])
    if twice := sorted(begins.keys() & more.keys()):
        raise ValueError(f"{rule.__name__}: {twice[0]} is a state and an input of update(); rename one")
    order = walk(x for x in (new_p, *ends.values()) if isinstance(x, Expr))  # check() says what the others are
    read = {str(x.arg): x.shape for x in order if x.op == "input"}
    return Program(
        rule.__name__,
        begins | {k: node("fill", 0.0, arg="input", shape=shape) for k, shape in read.items() if shape is not HOST},
        ends,
        new_p,
        None if shown is p else shown,
        measured(hyper, raw, clipped, p, new_p),
        guarded(hyper, raw),
        read,
    )


FRESH = "fresh"  # what update() names to be told 1.0 in a step that is given arrays, and 0.0 in one that keeps the last
KINDS: Mapping[str, Shape] = {  # of inputs
    "number": HOST,
    "r c": FULL,
    "r": ROW,
    "c": COL,
    "r r": ("r", "r"),
    "c c": ("c", "c"),
}


def inputs(rule: type[Rule]) -> dict[str, Shape]:
    """What `update` takes beside s, p, g and t, in order: numbers of the host, or what the class says in `inputs`."""
    taken = [
        x
        for x in list(signature(rule.update).parameters.values())[5:]
        if x.kind not in (x.VAR_KEYWORD, x.VAR_POSITIONAL)
    ]
    said: Mapping[str, str] = getattr(rule, "inputs", {})
    if other := [k for k in said if k not in (x.name for x in taken)]:
        raise TypeError(f"{rule.__name__}: inputs has '{other[0]}', which update() does not take; name it after t")
    if wrong := [k for k, kind in said.items() if kind not in KINDS]:
        known = ", ".join(map(repr, KINDS))
        raise ValueError(f"{rule.__name__}: inputs['{wrong[0]}'] is {said[wrong[0]]!r}; it must be one of {known}")
    names = [x.name for x in taken if x.default is x.empty or x.name in said]
    if same := [k for k in names if hasattr(rule, k)]:
        raise TypeError(f"{rule.__name__}: update() takes '{same[0]}', which is an attribute of the class; rename one")
    return {k: KINDS[said.get(k, "number")] for k in names}


def modifiers(hyper: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The modifiers of a rule as symbols, each with the prefix of its states."""
    out: list[tuple[str, Any]] = []
    for i, mod in enumerate(hyper.get("mods", ())):
        me = copy(mod)
        me.__dict__.update({name: leaf("hyper", f"mods.{i}.{name}") for name in mod.numbers})
        name = type(mod).__name__.lower()
        same = sum(type(other).__name__.lower() == name for other in hyper["mods"][:i])
        out.append((f"{name}{same or ''}_", me))
    return out


def symbolic(rule: type[Rule], hyper: Mapping[str, Any]) -> Any:
    """A stand-in for `self`: floats and the seed are symbols, everything else is itself."""
    me = object.__new__(rule)
    for name, value in hyper.items():
        if is_float(value) or name == "seed":
            value = leaf("hyper", name)
        elif isinstance(value, tuple):
            parts = cast(tuple[Any, ...], value)
            value = tuple(leaf("hyper", f"{name}.{i}") if is_float(x) else x for i, x in enumerate(parts))
        me.__dict__[name] = value
    return me


def is_float(value: object) -> bool:
    """True for what a kernel takes as a run-time number: a float or a one-element tensor."""
    return isinstance(value, float) or hasattr(value, "item")


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
