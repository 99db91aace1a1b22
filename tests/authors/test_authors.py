"""Whole paths of the rules beside those of their authors' code."""

import pytest
import trajectory

CASES = trajectory.cases()


@pytest.mark.filterwarnings("ignore")  # theirs to mend
@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_the_authors_go_the_same_way(case):
    gap = trajectory.apart(trajectory.ours(case), trajectory.theirs(case))
    assert gap <= case.tolerance, f"{gap:.1e} apart from {case.source}, {case.tolerance:.0e} allowed"


def test_a_wrong_rate_would_be_seen():
    for case in CASES:
        lr = 1.01 * (case.hyper.get("lr") or 1e-3)
        if case.method in ("SignSGD",) or "lr" not in case.hyper:
            continue
        other = trajectory.Case(case.method, case.source, case.hyper | {"lr": lr}, shapes=case.shapes, loss=case.loss)
        assert trajectory.apart(trajectory.ours(other), trajectory.ours(case)) > 100 * case.tolerance
