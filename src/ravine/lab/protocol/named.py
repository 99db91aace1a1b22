"""What a person types of an optimizer in the lab: a method, a class, function or partial of somebody's own, settings.

    adam    nesterov    adam:eps=1e-4    torch.optim:AdamW    my_module:function    my_module:function:lr=0.1

Beside the settings of its constructor there are three that the lab knows of any: `schedule=warmup=500*cosine`, in the
place of --schedule; `mods=[ClipNorm(1.0)]`, for classes of ours; `rest_lr=0.003`, AdamW's rate beside a method for
matrices.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ravine.catalog import names
from ravine.schedules.written import written
from ravine.typed import divided

from ..errors import LabError
from .curvature import SOURCES
from .recipe import modified, open_ended, somebodys
from .spaces import REST, for_matrices

BESIDE = ("schedule", "mods", REST)


@dataclass(frozen=True)
class Named:
    """What was meant."""

    name: str  # in its one form, as trials have it
    cls: type
    hyper: dict[str, Any]
    schedule: str | None = None
    set: bool = False  # something was said beside the name


def named(typed: str, served: Collection[str] = SOURCES) -> Named:
    """The optimizer that is typed so; Mistake where there is none."""
    parts = divided(typed, ":")
    said = {x.partition("=")[0]: x.partition("=")[2] for x in parts if x.partition("=")[0] in BESIDE}
    plain = ":".join(x for x in parts if x.partition("=")[0] not in BESIDE)
    cls, hyper = _found(plain, served)
    if REST in said:
        hyper |= {REST: _rate(typed, cls, said[REST])}
    name = names.written(plain, cls, hyper)
    if names.is_own(plain) and REST in said:
        name += f":{REST}={said[REST]}"
    if "mods" in said:
        cls, mods = modified(cls, said["mods"], typed)
        name += f":mods={mods}"
    schedule = _schedule(typed, said["schedule"]) if "schedule" in said else None
    name += f":schedule={schedule}" if schedule else ""
    return Named(name, cls, hyper, schedule, bool(hyper or said))


def _found(plain: str, served: Collection[str]) -> tuple[type, dict[str, Any]]:
    """The class, or what stands in its place, and the settings of its constructor."""
    if names.is_own(plain):
        module, name, *rest = plain.split(":")
        if found := somebodys(f"{module}:{name}"):
            cls, settings = found
            return cls, settings | names.settings(cls, {}, rest, plain, open_ended(cls))
    return names.find_to_train(plain, served)


def _rate(typed: str, cls: type, text: str) -> float:
    if not for_matrices(cls):
        raise LabError(f"optimizer '{typed}': {REST} is the rate of AdamW beside a method for matrices; "
                       f"{cls.__name__} has all weights itself")  # fmt: skip
    try:
        return float(text)
    except ValueError:
        raise LabError(f"optimizer '{typed}': {REST}={text} is no rate, such as {REST}=0.003") from None


def _schedule(typed: str, text: str) -> str:
    try:
        return written(text)
    except (ValueError, TypeError) as error:
        raise LabError(f"optimizer '{typed}': {error}") from error
