"""What is tried: for each optimizer as many learning rates as for every other, log-spaced over three decades."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from math import log10

from .errors import LabError
from .find import find

# from, to: the middle is where the literature's default for a small network lies
_RANGES = {
    (1e-1, 1e2): "lars",
    (3e-2, 3e1): "dadaptadam dadaptsgd dog dowg ldog momo prodigy schedulefreesgd",
    (1e-2, 1e1): "adadelta asgd qhm sgd sgdp",
    (1e-3, 1e0): "adafactor adagrad aggmo lamb momentum nag sgdw sm3",
    (3e-4, 3e-1): "madgrad momoadam",
    (1e-4, 1e-1): "adam adam2k adameps adamax adammini adamp adamw adan adabelief ademamix adopt amsgrad laprop lpadam "
                  "mars nadam novograd qhadam radam rmsprop schedulefreeadamw schedulefreeradam stableadamw yogi",
    (1e-5, 1e-2): "came lion rprop signsgd signum",
}  # fmt: skip
LR_RANGE = {name: lr for lr, names in _RANGES.items() for name in names.split()}

DEFAULT = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adam", "nadam", "radam")


@dataclass(frozen=True)
class Entry:
    """One optimizer in a comparison: its class, what it is built with beside lr, and the rates it is tried at."""

    name: str
    cls: type
    lrs: tuple[float, ...]
    hyper: tuple[tuple[str, float], ...] = ()
    shared: bool = False  # another in the comparison has a class of the same name

    @property
    def label(self) -> str:
        """What it is called wherever results are shown: the paper's name of the method, while that is clear."""
        return self.name if self.shared else self.cls.__name__


# The experiment of the literature: its optimizers at the values its article used.
CLASSIC = (("sgd", 0.01, {}), ("nadam", 1e-3, {"eps": 1e-7}), ("rmsprop", 1e-3, {"alpha": 0.9, "eps": 1e-7}))


def grid(low: float, high: float, n: int) -> tuple[float, ...]:
    """`n` log-spaced rates from low to high, of 3 digits so that they can be read and typed; 1 rate is the middle."""
    at = [i / (n - 1) for i in range(n)] if n > 1 else [0.5]
    return tuple(float(f"{10 ** (log10(low) + a * (log10(high) - log10(low))):.3g}") for a in at)


def entries(names: Sequence[str], lrs: int) -> list[Entry]:
    """The optimizers called `names`, each with `lrs` learning rates."""
    classes = [optimizer_class(name) for name in names]
    count = Counter(cls.__name__ for cls in classes)
    return [
        Entry(name, cls, grid(*_range(cls), lrs), shared=count[cls.__name__] > 1)
        for name, cls in zip(names, classes, strict=True)
    ]


def classic(names: Sequence[str] | None) -> list[Entry]:
    """Those of the classic experiment that are in `names`, each at its one learning rate."""
    known = {name: Entry(name, optimizer_class(name), (lr,), tuple(hyper.items())) for name, lr, hyper in CLASSIC}
    return [find(name, known, "optimizer of the classic preset") for name in names or known]


def optimizer_class(typed: str) -> type:
    """A class of ravine's by its lower-case name, or the person's own at module:name."""
    import torch

    from ravine.optim import registry

    found = find(typed, registry(), "optimizer")
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise LabError(f"optimizer '{typed}' must be a class derived from torch.optim.Optimizer or ravine.Optimizer")
    if not getattr(found, "dense", True):
        raise LabError(f"optimizer '{typed}' takes sparse gradients alone, and the tasks have dense ones")
    return found


def _range(cls: type) -> tuple[float, float]:
    """The table's row, of torch's class of the same method too; for a stranger three decades around its own default."""
    from ravine.optim import registry

    for name, ours in registry().items():
        if cls in (ours, ours.twin) and name in LR_RANGE:
            return LR_RANGE[name]
    lr = signature(cls).parameters.get("lr")
    middle = lr.default if lr and isinstance(lr.default, int | float) and lr.default > 0 else 1e-3
    return middle / 10**1.5, middle * 10**1.5
