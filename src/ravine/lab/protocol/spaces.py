"""What is searched: for each optimizer its hyperparameters and their ranges. This table is the published space.

Every range is log-uniform. lr spans three decades for everybody, and the middle is where the literature's default for
a small network lies. A tier takes the first hyperparameters of a row: smoke lr alone, standard three, full all.
"1-beta1" is the distance of β₁ from one, since 0.9 and 0.99 differ as 0.1 and 0.01 do. Where the buffer of a momentum
is a sum, m ← β m + g, what is searched is lr/(1-momentum), how far a constant gradient is followed: its range is that
of SGD's lr, whatever the momentum.

The ranges beside lr are those of AlgoPerf (Dahl et al. 2023, https://arxiv.org/abs/2306.07179) where it has one,
else centred on the paper's default. Where one method contains another (CONTAINS), its space reaches the setting at
which they are the same, as Choi et al. 2019 ask (https://arxiv.org/abs/1910.05446).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from inspect import signature
from typing import Any

from torch.optim import Optimizer

from ravine.catalog import names
from ravine.catalog.errors import CatalogError
from ravine.typed import plain

from .recipe import made_of

Range = tuple[float, float]
Space = dict[str, Range]

# from, to: the middle is where the literature's default for a small network lies
_RATES: dict[Range, str] = {
    (1e-1, 1e2): "lars",
    (3e-2, 3e1): "dadaptadam dadaptsgd dog dowg ldog momo prodigy schedulefreeplus schedulefreesgd",
    (1e-2, 1e1): "adadelta asgd momentum nag qhm sgd sgdp sgdw",
    (5e-3, 5e0): "adahessian",
    (1e-3, 1e0): "adafactor adagrad adagradrda aggmo dion2 fulladagrad kfac lamb muon normuon scion sm3 splus",
    (3e-4, 3e-1): "apollo galore madgrad momoadam shampoo",
    (1e-4, 1e-1): "adam adam2k adameps adamax adammini adamp adamuon adamw adan adabelief ademamix adopt amsgrad "
                  "klshampoo klsoap kron laprop lpadam mars marsm nadam novograd qhadam radam rmsprop "
                  "schedulefreeadamw schedulefreeradam soap sparseadam stableadamw yogi",
    (1e-5, 1e-2): "came lion rprop signsgd signum simplifiedademamix sophiag sophiah",
}  # fmt: skip
_MOMENTUM: Space = {"1-momentum": (5e-3, 1.0)}  # as far as none, which is SGD
_SUMMED = ("momentum", "nag", "sgdw")
_BETAS: Space = {"1-beta1": (2e-2, 0.5), "1-beta2": (1e-4, 0.1)}
_DECAYED: Space = {"1-beta1": (2e-2, 0.5), "weight_decay": (5e-3, 1.0), "1-beta2": (1e-4, 0.1)}
_BESIDE: list[tuple[Space, str]] = [
    (_MOMENTUM, "dadaptsgd lars madgrad momentum nag schedulefreesgd sgdp sm3"),
    (_MOMENTUM | {"weight_decay": (1e-5, 1e-1)}, "sgdw"),
    ({"1-momentum": (1e-2, 1.0), "weight_decay": (5e-3, 1.0)}, "muon normuon"),
    ({"1-momentum": (1e-2, 1.0), "weight_decay": (5e-3, 1.0), "gamma": (1e-3, 0.3)}, "marsm"),
    ({"1-beta1": (1e-2, 0.5), "weight_decay": (5e-3, 1.0), "1-beta2": (1e-3, 0.5)}, "adamuon"),
    ({"damping": (1e-6, 1e0), "norm_constraint": (1e-7, 1e-1), "1-momentum": (1e-2, 1.0)}, "kfac"),
    ({"1-ef_decay": (1e-2, 1.0), "weight_decay": (5e-3, 1.0), "fraction": (0.1, 1.0)}, "dion2"),
    ({"alpha": (1e-2, 1.0), "scale": (1.0, 1e2)}, "scion"),  # lr · scale is the step, and lr the pull to 0
    ({"1-momentum": (1e-3, 1.0), "nu": (0.1, 1.0)}, "qhm"),
    ({"1-momentum": (5e-3, 1.0)}, "signum"),
    ({"1-beta": (5e-3, 0.5)}, "momo"),
    (_BETAS, "adahessian adam adam2k adamax adammini adamp adabelief ademamix adopt amsgrad apollo dadaptadam galore "
             "laprop mars "
             "momoadam nadam novograd prodigy qhadam radam schedulefreeadamw schedulefreeplus schedulefreeradam "
             "sparseadam yogi"),
    (_BETAS | {"eps": (1e-8, 1e-1)}, "adameps"),
    (_DECAYED, "adamw klshampoo klsoap splus stableadamw"),
    (_DECAYED | {"1-beta2": (1e-3, 0.5)}, "soap"),  # β₂ = 0.9 and 0.95 are usual
    ({"1-beta1": (5e-3, 0.1), "weight_decay": (1e-3, 1.0)}, "adan"),
    ({"1-beta1": (5e-2, 0.3), "weight_decay": (1e-3, 1.0), "1-beta2": (1e-4, 0.1)}, "lamb"),
    ({"1-beta1": (2e-2, 0.5), "weight_decay": (1e-2, 10.0), "1-beta2": (1e-3, 0.1)}, "lion"),
    ({"1-beta1": (2e-2, 0.5), "1-beta2": (1e-4, 0.1)}, "came lpadam"),
    ({"1-beta1": (2e-2, 1.0), "1-beta2": (1e-3, 0.5)}, "shampoo"),  # as far as no momentum; β₂ where it averages
    ({"1-momentum": (1e-2, 1.0), "weight_decay": (5e-3, 1.0), "precond_lr": (1e-2, 1.9)}, "kron"),
    ({"1-beta1": (1e-2, 0.5), "weight_decay": (1e-2, 10.0), "rho": (1e-3, 1.0)}, "sophiag"),
    ({"1-beta1": (1e-2, 0.5), "weight_decay": (1e-2, 10.0), "gamma": (1e-3, 1.0)}, "sophiah"),
    ({"1-beta1": (1e-3, 0.1), "1-beta2": (1e-3, 0.1)}, "simplifiedademamix"),
    ({"1-alpha": (1e-3, 0.5)}, "rmsprop"),
    ({"1-rho": (1e-2, 0.5)}, "adadelta"),
    ({"1-beta1": (1e-2, 1.0), "weight_decay": (1e-3, 1.0)}, "adafactor"),
]  # fmt: skip
FOLLOWED = "lr/(1-momentum)"
SPACES: dict[str, Space] = {
    name: {FOLLOWED if name in _SUMMED else "lr": lr}
    | next((beside for beside, others in _BESIDE if name in others.split()), {})
    for lr, names in _RATES.items()
    for name in names.split()
}

CONTAINS = {  # method -> methods it contains as special cases; with equal tuning it can only lose to them by noise
    "momentum": ("sgd",),
    "nag": ("sgd",),
    "qhm": ("momentum", "sgd"),
    "sgdw": ("momentum", "sgd"),
    "signum": ("signsgd",),
    "adameps": ("adam",),
}
UNSCHEDULED = (
    "schedulefreeadamw",
    "schedulefreeplus",
    "schedulefreeradam",
    "schedulefreesgd",
)  # their averaging takes a schedule's place


REST = "rest_lr"  # what the rate of AdamW is called beside a method for matrices
SIGNS = ("lion", "signsgd", "signum")  # methods that step by signs
SHARED = ("adamuon",)  # methods for matrices whose step is as long as AdamW's whatever is set


SPELLED: Mapping[str, str] = {  # the names of methods in other packages, where ravine's differ
    **dict.fromkeys(("adamwschedulefree", "adamwschedulefreepaper", "adamwschedulefreereference"), "schedulefreeadamw"),
    **dict.fromkeys(("sgdschedulefree", "sgdschedulefreereference"), "schedulefreesgd"),
    "radamschedulefree": "schedulefreeradam",
    "adamwschedulefreeclosure": "schedulefreeadamw",
    "sgdschedulefreeclosure": "schedulefreesgd",
    "radamschedulefreeclosure": "schedulefreeradam",
    "foreachsoap": "soap",
}


def space_of(cls: type) -> Space:
    """The table's row of the method, also of another package's class that has its name, without what this constructor
    does not take; for a stranger three decades around its own default.

    Of a method for the matrices of a network the second hyperparameter is the rate of AdamW, which has the rest.
    """
    name = method(cls)
    beside = SPACES.get(name or "", {"lr": around(cls)})
    first, ends = next(iter(beside.items()))
    if first == FOLLOWED and not takes(cls, "1-momentum"):
        first = "lr"
    rates = {first: ends}
    if for_matrices(cls) and name not in SHARED:
        rates |= {REST: SPACES["adamw"]["lr"]}
    return rates | {k: ends for k, ends in beside.items() if takes(cls, k)}


def shared(cls: type, hyper: Mapping[str, Any]) -> bool:
    """Whether a step of a method for matrices is as long as AdamW's, so that one rate is for both."""
    return method(cls) in SHARED or hyper.get("adjust_lr_fn") == "match_rms_adamw"


def middle(cls: type) -> float:
    """A rate that is neither high nor low: the middle of those that are tried, of 3 digits."""
    low, high = rates(cls)
    return float(f"{(low * high) ** 0.5:.3g}")


def rates(cls: type, said: Iterable[tuple[str, Any]] = ()) -> Range:
    """The range of lr, at the momentum that is said, or the default."""
    (name, ends), *_ = space_of(cls).items()
    low, high = (arguments(cls, {name: x}, said)["lr"] for x in ends)
    return low, high


def around(cls: type) -> Range:
    """Three decades whose middle is the default of lr, or 1e-3 where there is none."""
    middle = default_lr(cls) or 1e-3
    return middle / 10**1.5, middle * 10**1.5


def default_lr(cls: type) -> float | None:
    """What lr is when nothing is said; None where it must be given."""
    lr = signature(cls).parameters.get("lr")
    return float(lr.default) if lr and isinstance(lr.default, int | float) and lr.default > 0 else None


def ours(cls: type) -> str | None:
    """The name in our registry of this method, which torch's class of the same may be given as."""
    from ravine.optim import registry

    return next((name for name, known in registry().items() if made_of(cls) in (known, known.twin)), None)


def method(cls: type) -> str | None:
    """The name in our registry of the method that a class is one of: ours, torch's, or one that is called so."""
    return ours(cls) or _called(cls.__name__ if made_of(cls) is Optimizer else made_of(cls).__name__)


def for_matrices(cls: type) -> bool:
    """Whether the method is for the matrices inside a network: torch's class of one, too."""
    from ravine.optim import registry

    return getattr(cls, "matrices", False) or registry()[ours(cls) or "sgd"].matrices


def by_signs(cls: type) -> bool:
    """Whether the method steps by signs: also a class that is made of one of these."""
    return any(method(c) in SIGNS for c in (cls, *made_of(cls).__mro__) if issubclass(c, Optimizer))


@cache
def _called(name: str) -> str | None:
    """The method that another package means by a name."""
    if plain(name) in SPELLED:
        return SPELLED[plain(name)]
    with suppress(CatalogError):
        cls, implied = names.find(name)
        return None if implied else cls.__name__.lower()
    return None


def widened(space: Space, edges: Mapping[str, str]) -> Space:
    """The space a decade further where the best point lay at its "lowest" or "highest" end; 1-β ends at one."""
    wider = dict(space)
    for name, end in edges.items():
        low, high = space[name]
        most = 1.0 if name.startswith("1-") or name in ("alpha", "fraction", "nu") else float("inf")
        wider[name] = (low / 10, high) if end == "lowest" else (low, min(high * 10, most))
    return wider


def takes(cls: type, name: str) -> bool:
    """Whether the constructor takes what the space calls so: "1-beta1" as a part of its betas, too."""
    taken, field = signature(cls).parameters, name.removeprefix("1-")
    if field in taken:
        return True
    betas, place = getattr(taken.get("betas"), "default", None), field.removeprefix("beta")
    return name.startswith("1-beta") and isinstance(betas, tuple | list) and place in map(str, range(1, 1 + len(betas)))


def arguments(cls: type, point: Mapping[str, float], said: Iterable[tuple[str, Any]] = ()) -> dict[str, Any]:
    """What the constructor takes for a point of the space: "1-beta1" is one part of its betas, and of lr/(1-momentum)
    the momentum is that of the point, else what is said, else the default."""
    taken = signature(cls).parameters
    usual = {name: x.default for name, x in taken.items()} | dict(said)
    out: dict[str, Any] = {}
    for name, x in point.items():
        field, value = name[2:], round(1 - x, 10)
        if name == FOLLOWED:
            rest = 1.0 if usual.get("form") == "average" else point.get("1-momentum", 1 - usual["momentum"])
            out["lr"] = float(f"{x * rest:.3g}")
        elif not name.startswith("1-"):
            out[name] = x
        elif field not in taken and field.startswith("beta"):
            betas = list(out.get("betas", taken["betas"].default))
            betas[int(field[4:]) - 1] = value
            out["betas"] = tuple(betas)
        else:
            out[field] = value
    return out
