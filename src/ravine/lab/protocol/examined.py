"""Whether methods take as many steps to the target as the baseline: a test that was set down before any run, or, where
the target comes from the same runs, an exploration."""

import math
from dataclasses import dataclass

from .arrivals import Ratio, of, ratio
from .outcome import Outcome
from .score import aim


@dataclass(frozen=True)
class Examined:
    """One method against the baseline."""

    name: str
    ratio: Ratio
    missed: float  # share of its searches that never reach the target
    tests: int

    @property
    def interval(self) -> tuple[float, float, float]:
        """Where the interval begins, its steps by the baseline's, where it ends."""
        return self.ratio.interval(self.tests)

    @property
    def p(self) -> float:
        """Corrected for the number of tests: below the level where the interval excludes 1, and nowhere else."""
        return self.ratio.p(self.tests)

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1."""
        low, _, high = self.interval
        return not low <= 1 <= high


@dataclass(frozen=True)
class Examination:
    """All methods against one baseline, quickest first."""

    baseline: str
    target: float
    missed: float  # share of the baseline's searches
    rows: tuple[Examined, ...]
    status: str  # when it was set down


def examined(found: Outcome) -> Examination | None:
    """None where there is nothing to test: one method, a baseline without a row, or runs that depend on each other."""
    plan, asked = found.facts.plan, found.easy_target is None
    baseline = plan.baseline if plan and asked else found.baseline
    others = [m for m in found.methods if m.name != baseline]
    usual = [m for m in found.methods if m.name == baseline]
    target = aim(found)
    if not (usual and others) or found.facts.carry_over or math.isinf(target):
        return None
    base = of(usual[0], target, found.facts.steps)
    at = {m.name: of(m, target, found.facts.steps) for m in others}
    tests = max(len(others), plan.tests if plan and asked else 1)
    rows = [Examined(name, ratio(x, base), x.missed, tests) for name, x in at.items()]
    return Examination(baseline, target, base.missed, tuple(sorted(rows, key=lambda r: r.ratio.mean)), _status(found))


def told(found: Outcome) -> str:
    """What the test says, in words; empty where nobody asked for a target, or nothing can be tested."""
    test = examined(found) if found.easy_target is None else None
    if test is None:
        plan, names = found.facts.plan, [m.name for m in found.methods]
        lost = plan is not None and plan.baseline not in names and not found.facts.carry_over
        return f"The test that was set down cannot be made: {plan.baseline} has no row." if plan and lost else ""
    apart = [f"{r.name} {r.interval[1]:.3g} [{r.interval[0]:.3g}, {r.interval[2]:.3g}]" for r in test.rows if r.differs]
    of = " of a search" if found.methods[0].tried else ""
    say = "; ".join(apart) if apart else "none differs from it"
    rest = " The others cannot be told from it." if 0 < len(apart) < len(test.rows) else ""
    return f"Steps{of} to the target, by {test.baseline}’s: {say}.{rest} {test.status}"


def _status(found: Outcome) -> str:
    plan = found.facts.plan
    if found.easy_target is not None:
        return (
            "Exploratory: the target comes from the same runs. With --target, and an --out that is new, a test is set "
            "down before any of them."
        )
    if plan is None:
        return "Exploratory: it was not set down before the runs."
    if plan.known:
        many = "1 trial was" if plan.known == 1 else f"{plan.known:,} trials were"
        return f"Exploratory: {many} in the records already when the test was set down, on {plan.date}."
    return f"Confirmatory: the test was set down before any run, on {plan.date}."
