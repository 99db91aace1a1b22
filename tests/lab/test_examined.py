"""A test of steps to a target is set down before any run, and says so only where it was."""

import json
import math
from dataclasses import asdict, replace

import pytest

from ravine.lab.commands import one_task
from ravine.lab.errors import LabError
from ravine.lab.protocol.examined import examined, told
from ravine.lab.protocol.found import Plan
from ravine.lab.protocol.plan import planned, set_down
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.search import entries
from ravine.lab.protocol.study import TIERS
from ravine.lab.protocol.trial import Result, Trial
from ravine.lab.report import page

from .conftest import compared
from .synthetic import outcome


def plan(target=1.0, **asked):
    return planned(target, entries(["sgd", "nag", "adamw:eps=1e-4"]), 100, TIERS["standard"], False, asked)


def test_what_is_tested_names_all_that_decides():
    made = plan(epochs=3)
    assert made.baseline == "adamw:eps=0.0001" and json.loads(made.asked) == {"epochs": 3}
    for part in (
        "at or below 1, of SGD, NAG, by those of adamw:eps=0.0001",
        "Of 100 steps",
        "searches of 8 of 32",
        "over 2, level 5%",
    ):
        assert part in made.text
    assert planned(1.0, entries(["rprop", "sgd"]), 1, TIERS["smoke"], True, {}).baseline == "Rprop"


def test_a_plan_stays_as_it_was_set_down(tmp_path):
    with Records(tmp_path) as records:
        first = set_down(plan(epochs=3), records)
        assert first.known == 0 and first.date
        records.add(
            Trial("line", "sgd", (("lr", 1.0),), 0, 1, 1, ""), Result(step=[0], train=[1], valid=[1], metric=[1])
        )
        assert set_down(plan(epochs=3), records) == first
        assert set_down(plan(epochs=4), records).known == 1  # another length, after a look
        assert set_down(plan(2.0, epochs=3), records).known == 1
        assert set_down(plan(epochs=3), records).known == 1  # and back: what was looked at stays looked at
        records.remember("plan", {"text": 1})
        assert set_down(plan(epochs=3), records).known == 1


def asked(known=0, **changes):
    """The synthetic outcome with a target that was asked for."""
    made = Plan("It was set down.", 1.0, "NAdam", "{}", known, "2026-01-01")
    whole = outcome()
    alike = tuple(replace(m, tried=m.tried if len(m.tried) == 16 else whole.methods[1].tried) for m in whole.methods)
    facts = replace(whole.facts, plan=made)
    return replace(whole, **{"methods": alike, "target": 1.0, "easy_target": None, "facts": facts, **changes})


def test_who_differs_is_told():
    found = examined(asked())
    assert found.baseline == "NAdam" and found.rows[0].name == "RAdam"
    for row in found.rows:
        low, _, high = row.interval
        assert row.differs == (not low <= 1 <= high) == (row.p < 0.05)
    assert found.status == "Confirmatory: the test was set down before any run, on 2026-01-01."
    quick = next(r for r in found.rows if r.differs)
    assert f"{quick.name} {quick.interval[1]:.3g} [" in told(asked()) and "Confirmatory" in told(asked())


def test_only_what_was_fixed_before_confirms():
    assert examined(asked(known=3)).status.startswith("Exploratory: 3 trials were in the records")
    none = replace(asked().facts, plan=None)
    assert examined(asked(facts=none)).status == "Exploratory: it was not set down before the runs."
    chosen = examined(asked(easy_target=1.5))
    assert chosen.status.startswith("Exploratory: the target comes from the same runs") and chosen.target == 1.5
    assert told(asked(easy_target=1.5)) == ""  # the headline is about the search


def test_nothing_is_tested_without_a_baseline():
    assert examined(asked(methods=asked().methods[:1])) is None
    gone = replace(asked().facts.plan, baseline="Lion")
    assert examined(asked(facts=replace(asked().facts, plan=gone))) is None
    assert told(asked(target=None)) == ""


def test_misses_are_bounds_and_no_rows_are_dropped():
    none = examined(asked(target=1e-9))
    assert len(none.rows) == 4 and all(r.missed == 1 and r.ratio.mean == 0 and not r.differs for r in none.rows)
    assert none.missed == 1 and "none differs" in told(asked(target=1e-9))


def test_the_report_has_the_test():
    html = page(asked(), "")
    part = html[html.index('id="speed"') : html.index("</table>", html.index('id="tested"'))]
    assert part.count("<tr>") == 1 + 4 and "It was set down." in part and "Confirmatory" in part
    assert 'id="speed"' not in page(asked(target=None), "")


@pytest.mark.parametrize("target", [None, "0.1"])
def test_it_is_in_the_records_before_the_first_trial(tmp_path, monkeypatch, capsys, target):
    seen = []

    def stop(here, *_):
        seen.append((len(here.records), here.records.recalled("plan")))
        raise LabError("stopped")

    monkeypatch.setattr(one_task, "_run", stop)
    with pytest.raises(AssertionError):  # the command's status is not 0
        compared(tmp_path, *(("--target", target) if target else ()))
    assert "stopped" in capsys.readouterr().err
    ((trials, kept),) = seen
    assert trials == 0 and (kept is not None) == (target is not None)


def test_the_plan_is_in_the_report_made_again(tmp_path):
    compared(tmp_path, "--target", "0.1", "--workers", "1")
    with Reading(tmp_path / "kept") as records:
        found = records.recalled("found")
    assert found["facts"]["plan"]["known"] == 0 and math.isclose(found["facts"]["plan"]["target"], 0.1)
    assert asdict(Plan(**found["facts"]["plan"])) == found["facts"]["plan"]


def test_the_level_is_shared_as_it_was_set_down():
    """Also where an optimizer has failed since, and has no row."""
    asked = replace(outcome(), easy_target=None)
    of = replace(plan(), baseline=asked.methods[0].name, target=0.4, tests=9)
    whole = examined(replace(asked, facts=replace(asked.facts, plan=of)))
    assert {row.tests for row in whole.rows} == {9} and plan().tests == 2
    lost = replace(asked, facts=replace(asked.facts, plan=replace(of, baseline="lion")))
    assert told(lost) == "The test that was set down cannot be made: lion has no row."
