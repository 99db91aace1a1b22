"""The programs of rules, each compiled once in a process: for the flags of a group, and what it asks of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, get_args, get_origin

from ravine.compile import Compiled, compile_rule
from ravine.compile.expr import HOST
from ravine.rule.hyper import fields

if TYPE_CHECKING:
    from ravine.rule.rule import Rule

TRAIN = "train_weights"  # the key of the weights that are put aside in opt.state[p] while the model holds others


def fixed(known: Mapping[str, tuple[Any, Any]]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What a program is made for, of a group's hyperparameters: all but floats, and how long the tuples are."""
    names = [k for k, (_, default) in known.items() if not isinstance(default, float | tuple) and k != "seed"]
    plain = itemgetter(*names)
    tuples = [k for k, (kind, _) in known.items() if get_origin(kind) is tuple and set(get_args(kind)) != {float}]
    return staticmethod(
        lambda group: (*plain(group), "grad_scale" in group, *[tuple(map(part, group[k])) for k in tuples])
    )


def part(x: Any) -> Any:
    """A part of a tuple as a program sees it: floats are alike, and None is none of them."""
    return float if isinstance(x, float) else x


def typed(value: Any, default: Any) -> Any:
    """A hyperparameter as its field has it: others may have put 1 into a group for 1.0, or a list for a tuple."""
    if isinstance(default, tuple):
        floats = any(isinstance(x, float) for x in default)  # or None in its place
        return tuple(typed(x, 0.0) if floats else x for x in value)
    return float(value) if isinstance(default, float) and type(value) is int else value


_programs: dict[tuple[type, tuple[Any, ...]], list[Compiled]] = {}


def compiled(rule: type[Rule], flags: tuple[Any, ...], hyper: Mapping[str, Any], facts: Mapping[str, Any]) -> Compiled:
    """The program of a rule for these flags, for which of its floats are zero, and for what it asks of a tensor."""
    made = _programs.setdefault((rule, flags), [])
    for program in made:
        if program.fits(hyper) and program.suits(facts):
            return program
    known = {k: typed(hyper[k], default) for k, (_, default) in fields(rule).items()}
    program = compile_rule(rule, known | {"grad_scale": hyper.get("grad_scale")}, facts)
    named(rule, program)
    made.append(program)
    return program


def named(rule: type[Rule], program: Compiled) -> None:
    """Raise where a state would have a key in opt.state[p] that it cannot have."""
    for k, x in program.program.start.items():
        if (key := rule.key(k)) in (taken := {"step": "the count of steps", TRAIN: "what eval() puts aside"}):
            raise ValueError(f"{rule.__name__}: state {k} would be kept as '{key}', which is {taken[key]}; rename it")
        if k in rule.names and x.shape is HOST:
            raise ValueError(f"{rule.__name__}: state {k} is a number(), which keeps its name; take it out of `names`")
