"""What was found, in words that a newcomer understands; each sentence follows from the numbers."""

import math
from collections.abc import Sequence
from contextlib import suppress
from statistics import median

from ravine.schedules import ExponentialWarmup, UntunedWarmup, Warmup
from ravine.schedules.written import read

from .found import Facts
from .judged import sample
from .outcome import BASELINES, EASY, Method, Outcome
from .spaces import UNSCHEDULED
from .statistics import differences

BUSY = 1.2  # times the processor time that a step takes by the clock: more is not the optimizer's


def words(found: Outcome) -> str:
    """The verdict, a sentence or two."""
    (first, *others), quantity = found.methods, found.facts.quantity
    if all(m.diverged == len(m.tuned) for m in found.methods):
        return _lost(found)
    if first.diverged:
        return f"Every method diverged with some seed; {first.name} did in {first.diverged} of {found.seeds} runs."
    finite, lost = [m for m in others if not m.diverged], [m for m in others if m.diverged]
    level = [m for m in finite if m in found.level]
    behind = [m for m in finite if m not in level]
    if not others:
        text = f"{first.name} reaches {quantity.name} {first.loss:.3g}."
    elif found.seen is None and finite:
        text = f"{first.name} has the {quantity.best}, but one run of each cannot tell skill from luck: run more."
        behind = []
    elif not finite:
        text = f"{first.name} is the only one that never diverged."
    elif not level:
        text = f"{first.name} is ahead."
    elif not behind:
        text = f"{first.name} has the {quantity.best}, but with {_runs(first)} none of the others can be told from it."
    else:
        text = f"{first.name} has the {quantity.best}; {_list(level)} cannot be told from it with {_runs(first)}."
    if behind:
        text += f" {_list(behind)} {'is' if len(behind) == 1 else 'are'} behind."
    if lost:
        text += f" {_list(lost)} diverged with some seed."
    return text


def _runs(method: Method) -> str:
    return f"{len(method.sample.values)} {'trials' if method.tried else 'seeds'} of each"


def power(found: Outcome) -> str:
    """How large a difference must be to be found; empty where nothing is compared."""
    if found.seen is None:
        return ""
    best = found.methods[0]
    share = f" ({found.seen / best.loss:.0%} more {found.quantity})" if best.loss > 0 else ""
    return f"A difference of {found.seen:.2g} from {best.name}{share} is found by half of such comparisons."


def advised(found: Outcome) -> str:
    """The line of Python that makes the best one; empty where none is to be advised."""
    first = found.methods[0]
    if first.diverged or found.facts.preset == "classic" or not first.card.line:
        return ""
    return f"opt = {first.card.line}  # schedule {first.card.schedule or found.facts.schedule}"


def _lost(found: Outcome) -> str:
    """Why no run has a result: a rate that is too high is not the only reason."""
    runs = [r for m in found.methods for r in m.tuned]
    search = [(p.hyper.get("lr"), p.result) for m in found.methods for p in m.tried]
    if not any(math.isfinite(loss) for r in runs for loss in r.valid[:1]):
        what = "metric" if found.facts.quantity.metric else "loss"
        return f"No {what} is a finite number, even before the first step: a fault of the task's data, model or {what}."
    if any(r.diverged_at is None for _, r in search):
        return "Every run with a new seed diverged, though settings were found that did not: they are at the limit."
    if (
        len({lr for lr, _ in search}) > 1
        and len(steps := {r.diverged_at for r in (*runs, *(r for _, r in search))}) == 1
    ):
        return (f"Every trial diverged at step {steps.pop()}, whatever its learning rate: look at the task's data and "
                "loss there.")  # fmt: skip
    return "Every trial diverged: all learning rates tried are too high for this task."


def whose(found: Outcome) -> str:
    """Where the target comes from."""
    if found.easy_target is None:
        return "as asked for"
    return f"the median that {found.baseline}, {_baseline(found)}, ends with"


def easier(found: Outcome) -> str:
    """Where the easier target comes from; as `whose` where there is none."""
    if found.easy_target is None:
        return whose(found)
    return (f"what {found.baseline}, {_baseline(found)}, has after {EASY:.0%} of the run, or, where that is higher, "
            "the lowest that two thirds of all end with")  # fmt: skip


def _baseline(found: Outcome) -> str:
    usual = [m.name for m in found.methods if m.card.ours in BASELINES]
    return f"the best baseline here (of {', '.join(usual)})" if found.baseline in usual else "the best here"


def speed(found: Outcome) -> str:
    """Who reaches the easier target in how many of the baseline's steps; empty where that says nothing."""
    if found.easy_target is None or len(found.methods) < 2:
        return ""
    steps = found.steps_to_easy_target()
    usual = steps.get(found.baseline, math.inf)
    quickest = min(steps, key=lambda name: steps[name])
    if not 0 < usual < math.inf or steps[quickest] == usual:
        return ""
    return (
        f"{quickest} reaches the easier target, a validation {found.quantity} of {found.easy_target:.3g}, to stay "
        f"there, in {steps[quickest] / usual:.2g} times the steps of {found.baseline}, {_baseline(found)}."
    )


def doubts(found: Outcome) -> list[str]:
    """What is missing, and what speaks against trusting the ranking as it is."""
    out = [*found.missing, *_still(found)]
    for m in found.methods:
        if m.edges:
            at = " and ".join(f"{name} at the {end} value tried" for name, end in m.edges.items())
            out.append(f"{m.name} is best with {at}: a better one may lie beyond; search further with --extend")
    busy = [m.time.whole / m.time.cpu for m in found.methods if m.time.cpu > 0]
    if busy and median(busy) > BUSY and found.facts.computed.startswith("on cpu"):
        out.append(f"The machine was busy while steps were timed: they took {median(busy):.2g} times their processor "
                   "time")  # fmt: skip
    for method, contained in found.excluded():
        out.append(f"{method.name} contains {contained.name} and yet lost to it: its search was too small, it is "
                   "not worse")  # fmt: skip
    return [*out, *_untuned(found)]


def _still(found: Outcome) -> list[str]:
    """Methods that never moved, and warm-ups that the run does not see the end of."""
    out, steps = list[str](), found.facts.steps
    for m in found.methods:
        waits = [f"its {name} is {n:,} steps" for name, n in m.card.warmups.items() if n >= steps]
        if not m.moved and math.isfinite(m.tuned[0].valid[0]):
            never = "" if found.facts.quantity.metric else " never moved:"
            out.append(f"{m.name}{never or ':'} its {found.quantity} is the same from the first step to the last"
                       f"{''.join(f'; {why}, and the run {steps:,}' for why in waits)}")  # fmt: skip
        elif waits:
            out.append(f"{m.name}: {' and '.join(waits)}, longer than the run of {steps:,}")
    reached = _warmed(found.facts)
    scheduled = [m for m in found.methods if m.card.schedule is None and m.card.ours not in UNSCHEDULED]
    if scheduled and reached is not None and reached < 0.95:
        out.append(f"the warm-up of schedule {found.facts.schedule} is longer than the run of {steps:,} steps: no rate "
                   f"comes to more than {reached:.0%} of what its table says")  # fmt: skip
    return out


def _warmed(facts: Facts) -> float | None:
    """What share of the rate is reached at the end of a schedule that is a warm-up; None of other schedules."""
    with suppress(ValueError):  # records may name another
        schedule = read(facts.schedule, facts.steps)
        if any(isinstance(part, Warmup | ExponentialWarmup | UntunedWarmup) for part in schedule.parts()):
            return schedule(facts.steps - 1)
    return None


def _untuned(found: Outcome) -> list[str]:
    """Methods whose chosen setting is worse than their defaults."""
    out: list[str] = []
    for m in found.methods:
        if m.usual is None or not m.usual < m.confirmed:
            continue
        n = min(len(m.defaults), len(m.tuned))
        runs = [sample(r[:n], 1) for r in (m.defaults, m.tuned)]
        luck = m.diverged == 0 and not differences(runs)[0, 1].distinct
        why = f"{n} seed{'s' * (n > 1)} cannot tell that from luck" if luck else "its search was too small"
        loss = "diverged" if m.diverged else f"{m.confirmed:.4g}"
        out.append(f"{m.name} is better at its defaults ({m.usual:.4g}) than at the setting that was chosen ({loss}): "
                   f"{why}")  # fmt: skip
    return out


def _list(methods: Sequence[Method]) -> str:
    names = [m.name for m in methods]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
