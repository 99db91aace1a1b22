"""What a modifier is: a change that any rule can wear, traced into the same pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, dataclass_transform, get_type_hints

from ravine.rule.hyper import value_of, within


@dataclass_transform(eq_default=False)
class Modifier:
    """A change to any rule, given as `mods=[ClipNorm(1.0), EMA(0.999)]`; several act in the order of the list.

    Subclass it as those in `ravine.mods` do: annotated fields, and any of `init`, `gradient` (what the rule is given
    in place of g), `update` (what becomes of its new parameter), and `to_eval`. Floats, and an int called
    `seed`, are run-time numbers: `opt.param_groups[0]["mods"][0].max_norm = 0.5` counts from the next step on. Every
    group has copies of its own.
    """

    ranges: ClassVar[Mapping[str, str]] = {}  # of floats that may lie outside [0, inf)
    clips: ClassVar[bool] = False  # its gradient() makes gradients shorter that are too long

    def __init_subclass__(cls) -> None:
        dataclass(eq=False)(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Take over a field's value, or raise TypeError or ValueError and change nothing."""
        owner, hints = type(self).__name__, get_type_hints(type(self))
        if name not in hints:
            raise AttributeError(f"{owner} has no '{name}'; it has {', '.join(f.name for f in fields(self))}")  # pyright: ignore[reportArgumentType]
        value = value_of(f"{owner}: {name}", hints[name], value)
        within(owner, name, self.ranges.get(name, "[0, inf)"), value)
        if name in self.__dict__ and name not in self.numbers and value != self.__dict__[name]:
            raise AttributeError(
                f"{owner}: {name} is a flag, and programs are compiled for it; set group['mods'] = ({owner}(…), …)"
            )
        self.__dict__[name] = value

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the fields that are run-time numbers."""
        return tuple(k for k, x in vars(self).items() if isinstance(x, float) or k == "seed")

    def _fixed(self) -> tuple[Any, ...]:
        return (type(self), *((k, x) for k, x in vars(self).items() if k not in self.numbers))

    def __eq__(self, other: object) -> bool:
        """Equal if one program serves both: of one class, with the same flags."""
        return isinstance(other, Modifier) and self._fixed() == other._fixed()

    def __hash__(self) -> int:
        return hash(self._fixed())

    def as_dict(self) -> dict[str, Any]:
        """Its name and fields, as a state_dict keeps them."""
        return {"mod": type(self).__name__, **vars(self)}

    def like(self, saved: Mapping[str, Any]) -> Self:
        """A copy with the saved fields."""
        return type(self)(**{k: x for k, x in saved.items() if k != "mod"})

    # what a subclass writes

    def init(self, s: Any, p: Any) -> None:
        """Make states of its own; other states of the optimizer are out of reach."""

    def gradient(self, s: Any, p: Any, g: Any, t: Any) -> Any:
        """The gradient that the rule sees."""
        return g

    def update(self, s: Any, p: Any, g: Any, t: Any, new: Any, lr: Any) -> Any:
        """The new parameter, from the old one p, the gradient that the rule saw, and what the rule made: new.

        One that also names `rate` is given how far the rule moves each weight for a direction of 1: lr, or under
        adaptive rules lr / (√v̂ + ε) and its like, as it is found in the rule's graph (compile/rate.py).
        """
        return new
