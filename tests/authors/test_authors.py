"""Whole paths of the rules beside those of their authors' code."""

import pytest
import trajectory

import ravine
from ravine.rule.hyper import fields

CASES = trajectory.cases()
FIRST = {case.method: case for case in reversed(CASES)}  # in the quick tests too: one of each method
cases = pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.id, marks=() if FIRST[c.method] is c else pytest.mark.ci) for c in CASES]
)


@pytest.mark.filterwarnings("ignore")  # theirs to mend
@cases
def test_the_authors_go_the_same_way(case):
    gap = trajectory.apart(trajectory.ours(case), trajectory.theirs(case))
    assert gap <= case.tolerance, f"{gap:.1e} apart from {case.source}, {case.tolerance:.0e} allowed"


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore")
@cases
def test_a_wrong_rate_would_be_seen(case):
    lr = case.hyper.get("lr", fields(getattr(ravine, case.method))["lr"][1])
    wrong = trajectory.ours(case, seen=trajectory.SEEN[:6], lr=1.01 * lr)
    assert trajectory.apart(wrong, trajectory.theirs(case)[: len(wrong)]) > 100 * case.tolerance
