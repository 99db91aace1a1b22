"""How a space is searched: scrambled Sobol points, each a pure function of (space, search, number)."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch.quasirandom import SobolEngine

from ..errors import LabError
from ..find import find
from .curvature import SOURCES
from .given_spaces import finetuned, instead
from .named import named
from .routing import beside
from .spaces import REST, UNSCHEDULED, Range, Space, arguments, default_lr, method, ours, shared, space_of

DEFAULT = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adam", "nadam", "radam")
# The experiment of the literature: its optimizers at the values its article used.
CLASSIC = (
    ("sgd", {"lr": 0.01}),
    ("nadam", {"lr": 1e-3, "eps": 1e-7}),
    ("rmsprop", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7}),
)

SELF_TUNING = (  # methods that are meant to be used at their defaults
    *("schedulefreesgd", "schedulefreeadamw", "schedulefreeradam", "schedulefreeplus", "prodigy", "dadaptsgd"),
    *("dadaptadam", "dog", "ldog", "dowg", "momo", "momoadam", "adadelta"),
)


@dataclass(frozen=True)
class Entry:
    """One optimizer in a comparison: its class, and what it is built with whatever is searched."""

    name: str
    cls: type
    hyper: tuple[tuple[str, Any], ...] = ()
    shared: bool = False  # its class does not say which it is: another has that name, or it has settings
    schedule: str | None = None  # its own, whatever that of the others is
    given: tuple[tuple[str, Range], ...] = ()  # ranges in the place of published ones, or beside them
    finetune: bool = False  # its rates are those of weights that are trained already

    @property
    def label(self) -> str:
        """What it is called wherever results are shown: the paper's name of the method, while that is clear."""
        return self.name if self.shared else self.cls.__name__

    @property
    def ours(self) -> str:
        """The method's name in our registry, or what was typed."""
        return ours(self.cls) or self.name

    @property
    def scheduled(self) -> str | None:
        """Its schedule, where that is not the one of the comparison: some methods need none."""
        return "constant" if self.schedule is None and method(self.cls) in UNSCHEDULED else self.schedule

    @property
    def space(self) -> Space:
        """What is searched: the published space, or a given one, without what the entry's settings say."""
        said = dict(self.hyper).keys()
        space = space_of(self.cls)
        space = instead(finetuned(space, self.cls) if self.finetune else space, dict(self.given))
        if shared(self.cls, dict(self.hyper)):
            space = {k: ends for k, ends in space.items() if k != REST}
        return {k: ends for k, ends in space.items() if said.isdisjoint(arguments(self.cls, {k: ends[0]}))}

    def corner(self, end: int) -> dict[str, float]:
        """A point of the space where all is lowest, or with 1 highest."""
        return {k: x for k, x in self.hyper if k == "lr"} | {k: ends[end] for k, ends in self.space.items()}

    def built(self, at: Mapping[str, float]) -> tuple[tuple[str, Any], ...]:
        """What a point of the space is built with."""
        return tuple(beside(self.cls, arguments(self.cls, at, self.hyper) | dict(self.hyper)).items())

    @property
    def defaults(self) -> tuple[tuple[str, Any], ...] | None:
        """What it is built with when nothing is tuned; None where lr has no default."""
        said, lr = dict(self.hyper), default_lr(self.cls)
        return None if lr is None and "lr" not in said else tuple(({"lr": lr} | said).items())


@dataclass(frozen=True)
class Point:
    """One setting that is tried: what the space calls it, its rate in any case, and what the constructor takes."""

    at: tuple[tuple[str, float], ...]
    hyper: tuple[tuple[str, Any], ...]


DIMENSIONS = 32  # of the sequence: of each space the first ones, so that these are the same for all


def points(entry: Entry, space: Space, n: int, number: int = 0) -> list[Point]:
    """The first `n` of a scrambled Sobol sequence, on a log scale; numbers of 3 digits so that they can be typed.

    The i-th point lies at the same place of each space: what two methods have in common, as the range of lr, they meet
    at the same values and with the same seed, and their difference owes less to the search. Another `number` is another
    scramble. Where there is nothing to search it is one setting n times.
    """
    out: list[Point] = []
    for cube in SobolEngine(DIMENSIONS, scramble=True, seed=number).draw(n).tolist():
        at = {
            name: float(f"{low * (high / low) ** u:.3g}")
            for u, (name, (low, high)) in zip(cube, space.items(), strict=False)
        }
        built = entry.built(at)
        out.append(Point(tuple((at | {k: x for k, x in built if k == "lr"}).items()), built))
    return out


def edges(at: dict[str, float], tried: Sequence[dict[str, float]], names: Iterable[str]) -> dict[str, str]:
    """Those of the hyperparameters that were tried no lower, or no higher, than at the best point: better ones may lie
    beyond."""
    if len(tried) < 3:
        return {}
    ends = {name: (min(t[name] for t in tried), max(t[name] for t in tried)) for name in names}
    return {name: "lowest" if at[name] == low else "highest" for name, (low, high) in ends.items()
            if low < high and at[name] in (low, high)}  # fmt: skip


def entries(typed: Sequence[str], served: Collection[str] = SOURCES, schedules: bool = True) -> list[Entry]:
    """The optimizers that are typed so, perhaps with settings: adam:eps=1e-4. What these say is not searched.

    schedules: whether one may have a schedule of its own here.
    """
    found = [named(name, served) for name in typed]
    count = Counter(x.cls.__name__ for x in found)
    out = [Entry(x.name, x.cls, tuple(x.hyper.items()), count[x.cls.__name__] > 1 or x.set, x.schedule) for x in found]
    if twice := [name for name, n in Counter(entry.name for entry in out).items() if n > 1]:
        raise LabError(f"--optimizers {','.join(typed)}: {twice[0]} is named twice")
    for entry in out:
        if entry.schedule and not schedules:
            raise LabError(f"optimizer '{entry.name}': this command sets the rates itself; leave out the schedule")
    return out


def self_tuning(typed: Sequence[str] | None) -> list[Entry]:
    """The methods of the self-tuning track, each at its one setting: the defaults, or what was said. All others need a
    rate that is said.

    The track is AlgoPerf's: https://github.com/mlcommons/algorithmic-efficiency, "Self-Tuning Ruleset" in its rules
    """
    out: list[Entry] = []
    for entry in entries(typed or SELF_TUNING):
        if method(entry.cls) not in SELF_TUNING and "lr" not in dict(entry.hyper):
            raise LabError(
                f"--preset self-tuning: {entry.name} has a rate that must be tuned: say one, as in "
                f"{entry.name}:lr=0.001, or leave it out; at their defaults go {', '.join(SELF_TUNING)}"
            )
        out.append(replace(entry, hyper=entry.defaults or entry.hyper))
    return out


def classic(names: Sequence[str] | None) -> list[Entry]:
    """Those of the classic experiment that are in `names`, each at its one setting."""
    known = {name: Entry(name, optimizer_class(name), tuple(hyper.items())) for name, hyper in CLASSIC}
    typed = [named(name).name for name in names or known]
    return [find(name, known, "optimizer of the classic preset") for name in typed]


def optimizer_class(typed: str) -> type:
    """The class of an optimizer as a trial names it."""
    return named(typed).cls
