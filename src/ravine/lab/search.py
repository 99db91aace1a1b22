"""How a space is searched: scrambled Sobol points, each a pure function of (space, seed, number)."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.quasirandom import SobolEngine

from .errors import LabError
from .find import find
from .spaces import Space, arguments, default_lr, ours

DEFAULT = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adam", "nadam", "radam")
# The experiment of the literature: its optimizers at the values its article used.
CLASSIC = (
    ("sgd", {"lr": 0.01}),
    ("nadam", {"lr": 1e-3, "eps": 1e-7}),
    ("rmsprop", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7}),
)


@dataclass(frozen=True)
class Entry:
    """One optimizer in a comparison: its class, and what it is built with where nothing is searched."""

    name: str
    cls: type
    hyper: tuple[tuple[str, Any], ...] = ()
    shared: bool = False  # another in the comparison has a class of the same name

    @property
    def label(self) -> str:
        """What it is called wherever results are shown: the paper's name of the method, while that is clear."""
        return self.name if self.shared else self.cls.__name__

    @property
    def ours(self) -> str:
        """The method's name in our registry, or what was typed."""
        return ours(self.cls) or self.name

    @property
    def defaults(self) -> tuple[tuple[str, Any], ...] | None:
        """What it is built with when nothing is tuned; None where lr has no default."""
        lr = default_lr(self.cls)
        return None if lr is None else (("lr", lr), *self.hyper)


@dataclass(frozen=True)
class Point:
    """One setting that is tried: what the space calls it, and what the constructor takes."""

    at: tuple[tuple[str, float], ...]
    hyper: tuple[tuple[str, Any], ...]


def points(entry: Entry, space: Space, n: int, seed: int) -> list[Point]:
    """The first `n` of a scrambled Sobol sequence, on a log scale; numbers of 3 digits so that they can be typed."""
    if not space:
        return [Point((), entry.hyper)]
    name = f"{seed} {sorted(space.items())}"
    scramble = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    out: list[Point] = []
    for cube in SobolEngine(len(space), scramble=True, seed=scramble).draw(n).tolist():
        at = {
            name: float(f"{low * (high / low) ** u:.3g}")
            for u, (name, (low, high)) in zip(cube, space.items(), strict=True)
        }
        out.append(Point(tuple(at.items()), (*arguments(entry.cls, at).items(), *entry.hyper)))
    return out


def edges(at: dict[str, float], tried: Sequence[dict[str, float]]) -> dict[str, str]:
    """The hyperparameters of the best point that were tried no lower, or no higher: better ones may lie beyond."""
    if len(tried) < 3:
        return {}
    ends = {name: (min(t[name] for t in tried), max(t[name] for t in tried)) for name in at}
    return {name: "lowest" if x == ends[name][0] else "highest" for name, x in at.items() if x in ends[name]}


def entries(names: Sequence[str]) -> list[Entry]:
    """The optimizers called `names`."""
    classes = [optimizer_class(name) for name in names]
    count = Counter(cls.__name__ for cls in classes)
    return [Entry(name, cls, shared=count[cls.__name__] > 1) for name, cls in zip(names, classes, strict=True)]


def classic(names: Sequence[str] | None) -> list[Entry]:
    """Those of the classic experiment that are in `names`, each at its one setting."""
    known = {name: Entry(name, optimizer_class(name), tuple(hyper.items())) for name, hyper in CLASSIC}
    return [find(name, known, "optimizer of the classic preset") for name in names or known]


def optimizer_class(typed: str) -> type:
    """A class of ravine's by its lower-case name, or the person's own at module:name."""
    import torch

    from ravine.optim import registry

    found = find(typed, registry(), "optimizer", "ravine list")
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise LabError(f"optimizer '{typed}' must be a class derived from torch.optim.Optimizer or ravine.Optimizer")
    return found
