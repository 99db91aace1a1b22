"""docs/proof.md has everything, and every mutant that lives is explained."""

import json
import warnings

import mutate
import proof
import pytest
import survivors
import trajectory

from ravine.optim import registry

ROWS = [line.strip("| ").split(" | ") for line in proof.PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
RESULT = json.loads(mutate.RESULT.read_text(encoding="utf-8"))
ALIVE = [(stem, x) for stem, rule in RESULT["rules"].items() for x in rule["survivors"]]


def test_every_method_and_every_walk_stands_on_the_page():
    named = {row[0].strip("[").split("]")[0] for row in ROWS}
    assert not [cls.__name__ for cls in registry().values() if cls.__name__ not in named], "run scripts/docs"
    for (method, mods, source), cases in proof.grouped(trajectory.cases()).items():
        first = f"{mods} on {method}" if mods else f"[{method}](optimizers/{method.lower()}.md)"
        place = 1 if mods else 3
        said = [row[place : place + 2] for row in ROWS if row[0] == first]
        assert said.count([source, str(len(cases))]) == 1, f"{first}, {source}, {len(cases)} settings: run scripts/docs"


def test_forty_methods_walk_beside_their_authors():
    assert len({case.method for case in trajectory.cases() if not case.hyper.get("mods")}) >= 40


def test_every_method_has_a_transcription():
    assert not [cls.__name__ for cls in registry().values() if proof.transcription(cls.__name__) == "none"]


def test_every_rule_was_mutated_and_every_survivor_is_explained():
    assert set(RESULT["rules"]) == set(mutate.stems()), "run tests/authors/mutate.py"
    assert proof.PAGE.read_text(encoding="utf-8").endswith(proof.mutation()), "run scripts/docs"
    assert not [(stem, x) for stem, x in ALIVE if not survivors.why(stem, x)]


@pytest.mark.ci
@pytest.mark.parametrize("stem", mutate.stems())
def test_the_rule_is_the_one_that_was_mutated(stem):
    now = mutate.mutants(mutate.RULES / f"{stem}.py")
    known = RESULT["rules"][stem]
    assert len(now) == known["mutants"], f"run tests/authors/mutate.py {stem}, then scripts/docs"
    assert {x["code"] for x in known["survivors"]} <= {x.text for x in now}


def test_no_explanation_is_left_over():
    used = {key for stem, x in ALIVE for key in ((stem, x["code"], x["change"]), (stem, x["code"], ""))}
    assert not survivors.EXPLAINED.keys() - used


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stem", ["adam", "lion", "sgdw", "qhm"])
def test_mutants_still_die(stem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mutate.mutate(stem, trajectory.cases())
    assert not [x for x in result["survivors"] if not survivors.why(stem, x)]
