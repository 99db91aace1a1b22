"""What the reader of "the same network with several optimizers" looks for: both losses, and how soon each is low."""

import math
from statistics import fmean

from ..protocol.outcome import Method, Outcome, reaches


def training(method: Method) -> float:
    """The mean training loss over the batches since the last evaluation but one; infinite where a run diverged."""
    return math.inf if method.diverged else fmean(r.train[-1] for r in method.tuned)


def marks(outcome: Outcome) -> dict[str, float]:
    """Validation losses that are low, with what each is: the easier target, and that which every method reaches."""
    ends = [m.validation for m in outcome.methods if not m.diverged]
    easy = {"the easier target": outcome.easy_target} if outcome.easy_target is not None else {}
    return easy | ({"what the last one ends with": max(ends)} if len(ends) > 1 else {})


def epochs(outcome: Outcome, method: Method, loss: float) -> float:
    """After how many of them the mean validation loss is first so low; infinite for never."""
    return reaches(method.tuned, loss) * outcome.facts.epochs / outcome.facts.steps
