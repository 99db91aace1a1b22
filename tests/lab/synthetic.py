"""A comparison that was never run: its results follow from formulas, with all that a report may meet in it."""

import math
from dataclasses import replace

import torch

import ravine
from ravine.lab.protocol.found import About, Card, Facts
from ravine.lab.protocol.inside import Inside
from ravine.lab.protocol.outcome import Method, Outcome
from ravine.lab.protocol.search import Entry
from ravine.lab.protocol.stopwatch import StepTime
from ravine.lab.protocol.study import TIERS, Tried
from ravine.lab.protocol.trial import Result

STEPS = list(range(0, 110, 10))
FACTS = Facts(
    About("line", "A line.", "accuracy", 32, 4, 4, 4), "ravine compare --task line", 10, 100, TIERS["standard"], None,
    False, "cosine",
)  # fmt: skip


def run(floor: float, speed: float, lost: bool = False) -> Result:
    """From a loss of 3 down to `floor`; one that is lost ends half-way."""
    kept = STEPS[:6] if lost else STEPS
    valid = [floor + (3 - floor) * math.exp(-speed * s / 100) for s in kept]
    apart = [0.0, *(0.1 * v for v in valid[1:])]
    return Result(50 if lost else None, 1.5, kept, [0.9 * v for v in valid], valid, [1 - v / 3 for v in valid], apart,
                  None if lost else 1.1 * valid[-1], None if lost else 0.5)  # fmt: skip


def method(name: str, cls: type, floor: float, lost: int = 0, **changes) -> Method:
    """Sixteen points whose best rate is 0.1; `lost` of the five seeds diverge."""
    lrs = [10 ** (-3 + 3 * ((5 * i) % 16) / 15) for i in range(16)]  # no two alike, in no order
    tried = tuple(
        Tried({"lr": lr, "1-beta1": 0.02 * (i + 1)}, run(floor + 0.1 * floor * abs(math.log10(lr / 0.1)), 5, lr > 0.7))
        for i, lr in enumerate(lrs)
    )
    seeds = tuple(run(floor * (1 + 0.05 * i), 5, i < lost) for i in range(5))
    made = Method(
        Card.of(Entry(name, cls, shared=name.lower().endswith("sgd")), {}), {"lr": (1e-3, 1.0), "1-beta1": (0.02, 0.5)},
        tried, dict(tried[2].hyper), seeds,
        tuple(run(1.0, 2) for _ in range(5)), {}, StepTime(1.0, 0.2, 8.0, 3.5, 0.9, 1.2, 0.95), 4, inside=inside(floor),
    )  # fmt: skip
    return replace(made, **changes)


def inside(size: float = 1.0) -> Inside:
    """Two layers, twelve samples, six of them with histograms."""
    at = list(range(1, 13))
    return Inside(
        at, ["0", "head"], [[size / t for t in at], [None, *(0.1 / t for t in at[1:])]], [[0.1] * 12, [0.2] * 12], -20,
        at[::2], [[0, 100 + i, 700, 200 - i, 0] for i in range(6)], [[0, 0, 0, 0, 1000]] * 6,
        ["step 5: dead units: 3 of 8"],
    )  # fmt: skip


def outcome() -> Outcome:
    """Five methods: a clear first, two that are level, a stranger without equations or insides, and one that fails."""
    methods = (
        method("radam", ravine.RAdam, 0.1, edges={"lr": "highest"}),
        method("adam", ravine.Adam, 0.2),
        method("nadam", ravine.NAdam, 0.21),
        method("torch.optim:SGD", torch.optim.SGD, 0.5, inside=None),
        method(
            "sgd",
            ravine.SGD,
            0.4,
            lost=2,
            space={"lr": (1e-3, 1.0)},
            tried=tuple(Tried({"lr": lr}, run(1, 1, True)) for lr in (1, 2)),
        ),
    )
    return Outcome(methods, 0.4, 1.0, "NAdam", FACTS)


def swept() -> Outcome:
    """The same at three batch sizes."""
    main = outcome()

    def at(batch: int) -> Outcome:
        return replace(main, facts=replace(main.facts, task=replace(main.facts.task, batch=batch)))

    return replace(main, sweep=(at(8), at(128)))
