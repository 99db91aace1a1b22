"""What was found, in words that a newcomer understands; each sentence follows from the numbers."""

import math
from collections.abc import Sequence

from .outcome import Method, Outcome


def words(found: Outcome) -> str:
    """The verdict, a sentence or two."""
    first, *others = found.methods
    if first.diverged == len(first.tuned):
        return "Every trial diverged: all learning rates tried are too high for this task."
    if first.diverged:
        return f"Every method diverged with some seed; {first.name} did in {first.diverged} of {found.seeds} runs."
    finite, lost = [m for m in others if not m.diverged], [m for m in others if m.diverged]
    level = [m for m in finite if m in found.level]
    behind = [m for m in finite if m not in level]
    if not others:
        text = f"{first.name} reaches a loss of {first.loss:.3g}."
    elif found.seeds == 1:
        text = f"{first.name} has the lowest loss, but one seed cannot tell skill from luck: run more."
        behind = []
    elif not finite:
        text = f"{first.name} is the only one that never diverged."
    elif not level:
        text = f"{first.name} is ahead."
    elif not behind:
        text = f"{first.name} has the lowest loss, but with {found.seeds} seeds none of the others can be told from it."
    else:
        text = f"{first.name} has the lowest loss; {_list(level)} cannot be told from it with {found.seeds} seeds."
    if behind:
        text += f" {_list(behind)} {'is' if len(behind) == 1 else 'are'} behind."
    if lost:
        text += f" {_list(lost)} diverged with some seed."
    return text


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
        f"{quickest} reaches the easier target, a validation loss of {found.easy_target:.3g}, in "
        f"{steps[quickest] / usual:.2g} times the steps of {found.baseline}."
    )


def doubts(found: Outcome) -> list[str]:
    """What is missing, and what speaks against trusting the ranking as it is."""
    out = list(found.missing)
    for m in found.methods:
        if m.edges:
            at = " and ".join(f"{name} at the {end} value tried" for name, end in m.edges.items())
            out.append(f"{m.name} is best with {at}: a better one may lie beyond; search further with --extend")
    for method, contained in found.excluded():
        out.append(f"{method.name} contains {contained.name} and yet lost to it: its search was too small, it is "
                   "not worse")  # fmt: skip
    for m in found.methods:
        if m.runner_up and not m.diverged and all(math.isfinite(r.final) for r in m.runner_up):
            n = len(m.runner_up)
            best = sum(r.final for r in m.tuned[:n]) / n
            second = sum(r.final for r in m.runner_up) / n
            if second < best:
                out.append(f"{m.name}'s second choice did better than its first with new seeds: more points or seeds "
                           "may change its place")  # fmt: skip
    return out


def _list(methods: Sequence[Method]) -> str:
    names = [m.name for m in methods]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
