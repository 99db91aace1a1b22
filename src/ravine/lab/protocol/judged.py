"""What the verdict is about: the loss of a run, and that to be expected of a search of so many runs."""

import math
from collections.abc import Sequence

import numpy

from .best_of import pseudo_values
from .statistics import Sample
from .trial import Result


def score(result: Result) -> float:
    """Of the test part, of the validation part where there is no other; infinite where it is no number."""
    if result.test is None or math.isinf(result.final):
        return result.final
    return result.test if math.isfinite(result.test) else math.inf


def metric(result: Result) -> float:
    """The metric at the end, of the same part."""
    return result.metric[-1] if result.test_metric is None else result.test_metric


def starts(runs: Sequence[Result]) -> list[float]:
    """The loss of each before its first step; the highest of all where that is no number."""
    most = max((x for r in runs for x in r.valid if math.isfinite(x)), default=math.inf)
    return [r.valid[0] if math.isfinite(r.valid[0]) else most for r in runs]


def sample(runs: Sequence[Result], search: int) -> Sample:
    """The loss of what a search of so many of these runs keeps, over all such searches: for each run what it adds, and
    the same over parts of the rows. A search keeps the run with the lowest validation loss; where all of its runs
    diverged, the loss before the first step, or the highest of all where that is no number.
    """
    lost = [math.isinf(score(r)) for r in runs]
    first = starts(runs)
    kept_by = [x if gone else r.final for r, x, gone in zip(runs, first, lost, strict=True)]
    losses = [x if gone else score(r) for r, x, gone in zip(runs, first, lost, strict=True)]
    values = pseudo_values(kept_by, numpy.array(losses), search).tolist()
    count = {len(r.parts) for r, gone in zip(runs, lost, strict=True) if not gone}
    if len(count) != 1 or 0 in count:
        return Sample(values)
    parts = numpy.array([[x] * max(count) if gone else r.parts
                         for r, x, gone in zip(runs, losses, lost, strict=True)])  # fmt: skip
    kept = pseudo_values(kept_by, parts, search) if numpy.isfinite(parts).all() else None
    return Sample(values, kept)
