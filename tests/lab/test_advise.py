"""Advice from what was measured elsewhere and a short look, and what it was worth."""

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from ravine.lab.commands.advise import advice, worth
from ravine.lab.protocol.evidence import Seen, Traits, choose, evidence, expected, left_out, shortlist, traits
from ravine.lab.tasks import load_task

from .conftest import ROOT
from .test_outcome import FACTS, found, method

PLAIN = Traits(1000, 2, (), False, 32, 100)
IMAGES = Traits(1000, 2, ("convolution",), False, 32, 100)


def seen(name: str, of: Traits = PLAIN, short: dict[str, float] | None = None, **losses: float) -> Seen:
    return Seen(name, of, losses, short or losses)


FLAT = [seen("a", adamw=1.0, momentum=1.2, sgd=2.0), seen("b", adamw=1.1, momentum=1.0, sgd=2.0)]
CONV = [seen("c", IMAGES, adamw=1.5, momentum=1.0, sgd=1.2), seen("d", IMAGES, adamw=1.6, momentum=1.0, sgd=1.1)]


def test_regret_is_the_log_of_the_excess():
    assert FLAT[0].regret("adamw") == 0 and FLAT[0].regret("momentum") == pytest.approx(math.log(1.2))
    assert seen("x", adamw=1.0, sgd=math.inf).regret("sgd") == 1


def test_a_task_of_the_same_kind_counts_more():
    plain, images = expected(PLAIN, FLAT + CONV), expected(IMAGES, FLAT + CONV)
    assert plain["adamw"] < images["adamw"] and images["momentum"] < plain["momentum"]
    assert shortlist(IMAGES, FLAT + CONV)[0] == "momentum"
    assert "adamw" in shortlist(IMAGES, [seen(str(i), IMAGES, a=1, b=1, c=1, d=1, adamw=2) for i in range(3)])
    assert shortlist(PLAIN, FLAT, allowed=("sgd",)) == ["sgd"]
    assert shortlist(PLAIN, []) == ["adamw", "nadam", "radam", "momentum"]


def test_the_choice_weighs_the_short_run_and_the_others():
    short, prior = {"adamw": 1.0, "momentum": 1.1}, {"adamw": 0.3, "momentum": 0.0}
    assert choose(short, prior, trust=1.0) == "adamw" and choose(short, prior, trust=0.0) == "momentum"
    assert choose({"adamw": math.inf, "momentum": 2.0}, prior) == "momentum"


def test_a_task_is_left_out_of_its_own_advice():
    odd = seen("odd", adamw=1.0, momentum=3.0, sgd=1.0, short={"adamw": 1.0, "momentum": 1.0, "sgd": 9.0})
    found = left_out([*(seen(str(i), adamw=1.5, momentum=1.0, sgd=9.0) for i in range(4)), odd])
    regrets = {"0": 0, "1": 0, "2": 0, "3": 0, "odd": pytest.approx(math.log(3))}
    assert found["advice"] == regrets and found["always momentum"] == regrets


def test_advice_that_is_not_better_says_so():
    same = [seen(str(i), adamw=1.0, momentum=2.0, short={"adamw": 2.0, "momentum": 0.1}) for i in range(4)]
    assert worth(same).endswith("So it has not been better than using one method always.")
    mixed = [seen(str(i), adamw=1.0 + (i % 2), momentum=2.0 - (i % 2)) for i in range(4)]
    assert "has not been better" not in worth(mixed) and "within 5 % of the best 4 times" in worth(mixed)
    assert "no record" in worth(same[:2])


def test_traits_are_read_from_the_model():
    task = load_task("digits")
    found = traits(task, task.load())
    assert (found.numbers, found.depth, found.kinds, found.sparse) == (64 * 64 + 64 + 640 + 10, 2, (), False)
    assert "4,810 numbers in 2 layers with weights, batches of 128" in found.words
    assert nn.Conv2d and "convolution" not in found.words


def test_evidence_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps({"tasks": [one.json() for one in FLAT + CONV]}))
    assert evidence(file) == FLAT + CONV and evidence(tmp_path / "none.json") == []


@pytest.mark.ci
def test_the_command_advises_after_a_short_search(ravine_command, tmp_path):
    status, said = ravine_command("advise", cwd=tmp_path)
    assert status == 0, said
    lines = said.splitlines()
    assert lines[0].startswith("digits: 4,810 numbers in 2 layers") and lines[1].startswith("trying ")
    assert any(line.startswith("Use ") and "lr=" in line and "schedule cosine" in line for line in lines)


@pytest.mark.ci
def test_a_finished_comparison_speaks_for_itself(ravine_command, tmp_path):
    asked = ("--optimizers", "sgd,adam", "--points", "3", "--seeds", "2", "--epochs", "2")
    status, compared = ravine_command("compare", *asked, cwd=tmp_path)
    first = next(line.split()[1] for line in compared.splitlines() if line.startswith("a "))
    status, said = ravine_command("advise", "--from", "runs/digits", cwd=tmp_path)
    assert status == 0 and f"Use {first} with lr=" in said and f"{first} has the lowest loss" in said, said
    status, said = ravine_command("advise", "--from", "nowhere", cwd=tmp_path)
    assert status == 2 and "there is no comparison" in said


def with_test(name: str, valid: float, test: float):
    made = method(name, [valid] * 3)
    return replace(made, tuned=tuple(replace(r, test=test) for r in made.tuned))


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_a_choice_never_looks_at_the_test_loss(share):
    """SGD is better on the test data, Adam where choices are made: nothing is chosen on the test part."""
    facts = replace(FACTS, tier=replace(FACTS.tier, share=share))
    sgd, adam = with_test("SGD", 2.0, 0.5), with_test("Adam", 1.0, 0.9)
    shown = replace(found(SGD=[1.0], Adam=[2.0]), methods=(sgd, adam), facts=facts)
    said = advice(PLAIN, shown, [])
    assert said.startswith("Use Adam with lr=0.1")
    assert (
        "Its validation loss is the lowest, 1. On the validation data:" if share == 1 else "search here: 1 after"
    ) in said
    several = replace(shown, methods=(replace(sgd, card=adam.card), adam))  # one method at two settings
    assert several.methods[0].validation == 2.0 and "search here: 2" not in advice(PLAIN, several, [])


def test_where_all_diverged_there_is_no_advice():
    said = advice(PLAIN, found(SGD=[math.inf, 1.0]), [])
    assert said.startswith("No advice: Every method diverged with some seed")


def test_the_benchmark_of_advice_chooses_by_validation_too(monkeypatch):
    """What its short run hands to `choose` is what `ravine advise` sees."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("advice")
    shown = replace(found(SGD=[1.0]), methods=(with_test("SGD", 2.0, 0.5), with_test("Adam", 1.0, 0.9)))
    monkeypatch.setattr(bench, "on", lambda *_: shown)
    one, _ = bench.see("digits", Path("nowhere"), None)
    assert one.short == {"sgd": 2.0, "adam": 1.0} and one.losses == pytest.approx({"sgd": 0.5, "adam": 0.9})
