"""What finished comparisons say about a task that was not among them: which methods to expect how much of."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..seeding import seed_all
from ..tasks import Data, Task

EVIDENCE = Path(__file__).parent / "evidence.json"  # written by benchmarks/advice.py from finished comparisons
BASELINES = ("adamw", "momentum")  # what people use without asking; advice has to beat them
SHORT = 4  # methods that are tried on the person's task
ALIKE = 4.0  # how much more a task of the same kind counts than another
KINDS: dict[str, tuple[type, ...]] = {
    "recurrent": (nn.RNNBase, nn.RNNCellBase),
    "convolution": (nn.modules.conv._ConvNd,),
    "normalized": (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
}


@dataclass(frozen=True)
class Traits:
    """What one can see of a task before training."""

    numbers: int  # trained ones
    depth: int  # layers with weights
    kinds: tuple[str, ...]  # of its layers, those of KINDS; a model without any is linear or a plain network
    sparse: bool  # some gradients are
    batch: int
    steps: int  # in an epoch

    @property
    def words(self) -> str:
        """As a person says it."""
        layers = f"{self.depth} layer{'s' * (self.depth != 1)} with weights"
        kinds = f" ({', '.join(self.kinds)})" if self.kinds else ""
        sparse = ", sparse gradients" if self.sparse else ""
        return (
            f"{self.numbers:,} numbers in {layers}{kinds}{sparse}, batches of {self.batch}, {self.steps:,} steps an "
            "epoch"
        )


def traits(task: Task, data: Data) -> Traits:
    """One batch forward and backward, and a look at the layers."""
    seed_all(0)
    model = task.model()
    task.gradients(model, task.drawn(data, data.first(task.batch)))
    layers = [m for m in model.modules() if any(p.ndim > 1 and p.requires_grad for p in m.parameters(recurse=False))]
    kinds = tuple(kind for kind, types in KINDS.items() if any(isinstance(m, types) for m in model.modules()))
    grads = [p.grad for p in model.parameters() if isinstance(p.grad, Tensor)]
    return Traits(
        sum(p.numel() for p in model.parameters() if p.requires_grad), len(layers), kinds,
        any(g.is_sparse for g in grads), task.batch, -(-data.rows // task.batch),
    )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A finished comparison on another task: what it was like, and each method's loss at its end; infinite where it
    diverged. `short` are the losses of the smoke tier on the same task."""

    task: str
    traits: Traits
    losses: Mapping[str, float]
    short: Mapping[str, float]

    def regret(self, method: str) -> float:
        """ln(its loss / the lowest): 0.05 is about five percent more."""
        return _excess(self.losses, method)

    def json(self) -> dict[str, Any]:
        """For the file of evidence."""
        return asdict(self)


def evidence(path: Path = EVIDENCE) -> list[Seen]:
    """What was measured; nothing where there is no file."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    return [
        Seen(**{**row, "traits": Traits(**{**row["traits"], "kinds": tuple(row["traits"]["kinds"])})}) for row in rows
    ]


def expected(here: Traits, seen: list[Seen]) -> dict[str, float]:
    """The regret to be expected of each method: its mean over the tasks, those of the same kind counting more."""
    names = sorted({name for one in seen for name in one.losses})
    weights = [ALIKE if (one.traits.kinds, one.traits.sparse) == (here.kinds, here.sparse) else 1.0 for one in seen]
    out: dict[str, float] = {}
    for name in names:
        known = [(w, min(one.regret(name), 1.0)) for w, one in zip(weights, seen, strict=True) if name in one.losses]
        out[name] = sum(w * r for w, r in known) / sum(w for w, _ in known)
    return out


def shortlist(here: Traits, seen: list[Seen], allowed: tuple[str, ...] | None = None) -> list[str]:
    """The methods to be expected best, and AdamW; of `allowed` alone where a task says what can train it."""
    prior = expected(here, seen)
    names = sorted(prior, key=lambda name: prior[name]) or ["adamw", "nadam", "radam", "momentum"]
    names = [name for name in names if allowed is None or name in allowed] or list(allowed or ())
    short = names[:SHORT]
    if "adamw" not in short and (allowed is None or "adamw" in allowed):
        short = [*short[: SHORT - 1], "adamw"]
    return short


def choose(short: Mapping[str, float], prior: Mapping[str, float], trust: float = 0.5) -> str:
    """The method with the lowest mean of two regrets: that of a short run here, and the expected one. `trust` is the
    weight of the short run: 1 looks at nothing else, 0 does not look at it."""

    def score(name: str) -> float:
        return trust * min(_excess(short, name), 1.0) + (1 - trust) * prior.get(name, 0.0)

    return min(short, key=lambda name: (score(name), name))


def left_out(seen: list[Seen], trust: float = 0.5) -> dict[str, dict[str, float]]:
    """The regret on each task of advice that knows the others alone, and of using the same method always, where it can
    train the task."""
    out: dict[str, dict[str, float]] = {"advice": {}} | {f"always {name}": {} for name in BASELINES}
    for one in seen:
        others = [other for other in seen if other is not one]
        prior = expected(one.traits, others)
        names = [name for name in shortlist(one.traits, others, tuple(one.losses)) if name in one.short]
        out["advice"][one.task] = one.regret(choose({name: one.short[name] for name in names}, prior, trust))
        for name in BASELINES:
            if name in one.losses:
                out[f"always {name}"][one.task] = one.regret(name)
    return out


def _excess(losses: Mapping[str, float], name: str) -> float:
    best, own = min(losses.values()), losses[name]
    if own == best:
        return 0.0
    return math.log(own / best) if best > 0 and math.isfinite(own) else 1.0 if math.isinf(own) else own - best
