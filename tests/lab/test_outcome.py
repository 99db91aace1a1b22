"""What was found follows from the records; the words follow from that."""

import math
import random
from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab.protocol.found import About, Card, Facts, Found, chosen
from ravine.lab.protocol.outcome import Method, Outcome, outcome, reaches, stays_at, steps_of_each
from ravine.lab.protocol.search import Entry, entries
from ravine.lab.protocol.stopwatch import StepTime
from ravine.lab.protocol.study import TIERS, Study, Tried
from ravine.lab.protocol.trial import Result, Trial
from ravine.lab.protocol.verdict import advised, doubts, power, speed, whose, words
from ravine.optim import registry

from .test_study import finished, result

TIME = StepTime(1.0, 0.1)
FACTS = Facts(About("line", "", "accuracy", 32, 1, 1, None), "", 1, 1, TIERS["standard"], None, False, "cosine")
CLOSE, CLEAR = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9]
LOST = [math.inf, 1.0, 1.0]


def method(name: str, losses: list[float], **changes) -> Method:
    runs = tuple(
        Result(5 if math.isinf(x) else None, step=[0, 5], valid=[3.0, x], metric=[0.0, 0.5], test=x) for x in losses
    )
    card = Card.of(Entry(name.lower(), getattr(ravine, name)), {})
    return replace(Method(card, {}, (), {"lr": 0.1}, runs, (), {}, TIME), **changes)


def from_records(studies: list[Study], known: dict[Trial, Result], target: float | None = None) -> Outcome:
    """What these studies chose, put together again from the keys of their trials."""
    kept = Found(FACTS, tuple(chosen(study, known, TIME, None) for study in studies), target)
    return outcome(kept, {trial.key: result for trial, result in known.items()})


def found(**methods: list[float]) -> Outcome:
    made = sorted((method(name, losses) for name, losses in methods.items()), key=lambda m: m.loss)
    return Outcome(tuple(made), None, None, made[0].name, FACTS)


def test_words():
    assert words(found(SGD=CLEAR, Adam=CLOSE)) == "Adam is ahead. SGD is behind."
    assert words(found(SGD=CLOSE, Adam=[1.01, 1.09, 0.91])) == (
        "SGD has the lowest loss, but with 3 seeds of each none of the others can be told from it."
    )
    others = {"NAG": [2.3, 2.4, 2.21], "LAMB": CLEAR}
    assert words(found(SGD=CLOSE, Adam=[1.01, 1.09, 0.91], **others)) == (
        "SGD has the lowest loss; Adam cannot be told from it with 3 seeds of each. LAMB and NAG are behind."
    )
    assert (
        words(found(SGD=LOST, Adam=CLOSE)) == "Adam is the only one that never diverged. SGD diverged with some seed."
    )
    assert words(found(SGD=[math.inf] * 3)) == (
        "Every trial diverged: all learning rates tried are too high for this task."
    )
    assert "SGD did in 1 of 3 runs" in words(found(SGD=LOST))
    assert "one run of each cannot tell skill from luck" in words(found(SGD=[1.0], Adam=[2.0]))


@pytest.mark.parametrize("name, at, line", [
    ("adam", {"lr": 0.002, "1-beta1": 0.05}, "ravine.create('adam', model, lr=0.002, betas=(0.95, 0.999))"),
    ("muon", {"lr": 0.02, "rest_lr": 0.003}, "ravine.create('muon', model, lr=0.02, rest={'lr': 0.003})"),
    ("adam:eps=1e-4", {"lr": 0.002}, "ravine.create('adam', model, lr=0.002, eps=0.0001)"),
    ("torch.optim:Adam", {"lr": 0.002}, ""),
])  # fmt: skip
def test_the_best_is_a_line_to_paste(name, at, line):
    (entry,) = entries([name])
    card = Card.of(entry, at)
    assert card.line == line
    shown = Outcome((method("SGD", CLOSE, card=card),), None, None, card.label, FACTS)
    assert advised(shown) == (f"opt = {line}  # schedule cosine" if line else "")
    if line:
        made = eval(line, {"ravine": ravine, "model": nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))})
        assert isinstance(made, torch.optim.Optimizer)
        assert made.param_groups[0]["lr"] == at["lr"] or made.param_groups[1]["lr"] == at["lr"]
    assert advised(replace(shown, facts=replace(FACTS, preset="classic"))) == ""


def test_the_power_is_told_with_the_verdict():
    close = found(SGD=CLOSE, Adam=[1.01, 1.09, 0.95])
    half = close.behind(close.methods[1]).half
    assert power(close) == (
        f"A difference of {half:.2g} from SGD ({half:.0%} more loss) is found by half of such comparisons."
    )
    assert power(found(SGD=CLOSE)) == power(found(SGD=[1.0], Adam=[2.0])) == ""


def test_all_that_is_said_of_a_difference_agrees():
    """The interval, the letters, the words and the rank, whatever the losses."""
    rng = random.Random(0)
    for _ in range(50):
        names = ("SGD", "Adam", "NAG", "LAMB", "Lion")[: rng.randint(2, 5)]
        shown = found(**{name: [rng.gauss(1 + 0.3 * i * rng.random(), 0.1) for _ in range(8)]
                         for i, name in enumerate(names)})  # fmt: skip
        first, *others = shown.methods
        for m in others:
            d = shown.behind(m)
            apart = not set(shown.groups[m.name]) & set(shown.groups[first.name])
            assert apart == (d.low > 0) == d.distinct == (m not in shown.level)
        assert [m.loss for m in shown.methods] == sorted(m.loss for m in shown.methods)


def searched(name: str, finals: list[float], tests: list[float], **changes) -> Method:
    """A method whose points ended with these losses; one that is infinite diverged."""
    tried = tuple(
        Tried({"lr": float(i + 1)}, Result(5 if math.isinf(v) else None, step=[0, 5], valid=[3.0, v],
              metric=[0.0, 0.5], test=None if math.isinf(v) else t))
        for i, (v, t) in enumerate(zip(finals, tests, strict=True))
    )  # fmt: skip
    return method(name, CLOSE, **{"tried": tried, "search": 2, **changes})


def test_the_verdict_is_about_what_a_search_keeps():
    """Over all pairs of points the test loss of the one with the lower validation loss."""
    assert searched("SGD", [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]).loss == pytest.approx((3 * 5 + 2 * 6 + 7) / 6)
    assert searched("SGD", [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], search=1).loss == pytest.approx(6.5)
    assert searched("SGD", [1.0, math.inf, math.inf], [5.0, 6.0, 7.0]).loss == pytest.approx((5 + 5 + 3) / 3)
    assert searched("SGD", [1.0, 1.0], [5.0, 7.0]).confirmed == 1.0  # apart from what new seeds give


def test_a_method_that_diverges_now_and_then_in_the_search_has_a_place():
    often = searched("SGD", [1.0, math.inf, 1.1, math.inf], [1.0, 0.0, 1.1, 0.0])
    shown = Outcome((searched("Adam", [1.0, 1.1, 1.0, 1.2], [1.0, 1.1, 1.0, 1.2]), often), None, None, "Adam", FACTS)
    assert shown.groups["SGD"] and math.isfinite(shown.behind(often).half)


def test_the_rows_of_the_test_data_are_in_the_interval():
    """One of three parts makes the difference, in all seeds alike."""

    def runs(*parts: float) -> tuple[Result, ...]:
        return tuple(
            Result(
                step=[0, 5], valid=[3.0, 1.0], metric=[0.0, 0.5], test=sum(parts) / 3 + x, parts=[y + x for y in parts]
            )
            for x in (0.0, 0.01, 0.02, 0.015)
        )

    spread = (method("SGD", CLOSE, tuned=runs(1.0, 1.0, 1.0)), method("Adam", CLOSE, tuned=runs(1.1, 1.1, 1.1)))
    one = (spread[0], method("Adam", CLOSE, tuned=runs(1.0, 1.0, 1.3)))
    level = [Outcome(pair, None, None, "SGD", FACTS).level for pair in (spread, one)]
    assert [len(x) for x in level] == [0, 1]


def test_speed_is_told_of_the_easier_target():
    def runs(*valid):
        return tuple(Result(step=[0, 10, 20, 30], valid=list(valid), metric=[0.0] * 4) for _ in range(3))

    methods = (method("NAdam", [1.0], tuned=runs(9, 1, 1, 1)), method("SGD", [1.2], tuned=runs(9, 5, 3, 1.2)))
    told = speed(Outcome(methods, 1.0, 3.0, "SGD", FACTS))
    assert told == (
        "NAdam reaches the easier target, a validation loss of 3, to stay there, in 0.5 times the steps of SGD, the "
        "best here."
    )
    usual = (methods[0], method("NAG", [1.2], tuned=methods[1].tuned))
    assert speed(Outcome(usual, 1.0, 3.0, "NAG", FACTS)).endswith(
        "0.5 times the steps of NAG, the best baseline here (of NAdam, NAG)."
    )
    assert whose(Outcome(usual, 1.0, 3.0, "NAG", FACTS)).startswith("the median that NAG, the best baseline here")
    assert whose(Outcome(usual, 1.0, None, "NAG", FACTS)) == "as asked for"
    assert speed(Outcome(methods, 1.0, 0.1, "SGD", FACTS)) == ""


def test_steps_to_a_target():
    runs = [Result(step=[0, 1, 2, 3], valid=[5.0, x, 2.0, 1.0]) for x in (1.9, 4.1)]
    assert stays_at(runs, 3.0) == 1 and stays_at(runs, 2.0) == 2 and stays_at(runs, 0.5) == math.inf
    assert reaches(runs, 3.0) == 1 and reaches(runs, 2.0) == 2 and reaches(runs, 0.5) == math.inf
    assert steps_of_each(runs, 2.0) == [1, 2]
    lucky = Result(step=[0, 1, 2, 3], valid=[5.0, 0.1, 4.0, 1.0])
    assert steps_of_each([lucky], 2.0) == [3]  # one lucky evaluation is no arrival
    assert reaches([lucky], 2.0) == 1 and stays_at([lucky], 2.0) == 3  # both are told, and each is named
    assert reaches([lucky], 0.5) == 1 and stays_at([lucky], 0.5) == math.inf
    lost = [*runs, replace(runs[0], diverged_at=3)]
    assert reaches(lost, 2.0) == stays_at(lost, 2.0) == math.inf


def test_the_verdict_is_about_the_part_that_nothing_was_chosen_on():
    chosen_well, generalizes = method("SGD", [1.0]), method("Adam", [2.0])
    swapped = [
        replace(m, tuned=tuple(replace(r, test=3.0 - r.test) for r in m.tuned)) for m in (chosen_well, generalizes)
    ]
    assert [m.loss for m in swapped] == [2.0, 1.0]
    assert method("SGD", [1.0], tuned=(result(1.5),)).loss == 1.5  # a task that has no such part


def test_a_comparison_from_its_records():
    trial = Trial("line", "", (), seed=0, epochs=1, batch=1, content="")

    def study(name: str, cls: type) -> Study:
        return Study(
            Entry(name, cls),
            TIERS["standard"],
            lambda hyper, seed: replace(trial, optimizer=name, hyper=hyper, seed=seed),
        )

    sgd, adam = study("sgd", ravine.SGD), study("momentum", ravine.Momentum)
    known = finished(sgd, lambda lr: 1 + abs(math.log10(lr / 0.1))) | finished(
        adam, lambda lr: 2 + abs(math.log10(lr / 10))
    )
    shown = from_records([adam, sgd], known)
    assert [m.name for m in shown.methods] == ["SGD", "Momentum"]
    first, second = shown.methods
    assert len(first.tried) == 32 and len(first.tuned) == len(first.defaults) == 5 and first.search == 8
    assert min(first.tried, key=lambda tried: tried.result.final).hyper == first.hyper
    assert shown.groups == {"SGD": "a", "Momentum": "b"} and shown.baseline == "Momentum"
    assert shown.target == second.confirmed
    assert second.edges == {"1-momentum": "highest"}
    assert any("Momentum is best with 1-momentum at the highest" in line for line in doubts(shown))
    assert any("Momentum contains SGD and yet lost to it" in line for line in doubts(shown))


@pytest.mark.parametrize("target", [None, 1.5])
def test_a_given_target_replaces_the_baseline_s(target):
    trial = Trial("line", "sgd", (), seed=0, epochs=1, batch=1, content="")
    one = Study(Entry("sgd", ravine.SGD), TIERS["smoke"], lambda hyper, seed: replace(trial, hyper=hyper, seed=seed))
    known = finished(one, lambda lr: lr)
    assert from_records([one], known, target).target == (target or one.rounds(known)[0].ranked(known)[0].hyper[0][1])


STEPS = [0, 10, 20, 30, 40, 50]


def curve(*valid: float, **changes) -> Result:
    return replace(
        Result(step=STEPS[: len(valid)], valid=list(valid), metric=[0.5] * len(valid), test=valid[-1]), **changes
    )


def doubted(*methods: Method, facts: Facts = FACTS) -> str:
    return "\n".join(doubts(Outcome(methods, None, None, methods[0].name, facts)))


def test_the_easier_target_is_never_below_the_target():
    """The baseline overfits: after 60 % of the budget its validation loss is lower than at the end."""
    trial = Trial("line", "", (), seed=0, epochs=1, batch=1, content="")
    one = Study(
        Entry("adamw", ravine.AdamW), TIERS["smoke"], lambda hyper, seed: replace(trial, hyper=hyper, seed=seed)
    )
    known = finished(one, lambda lr: lr)
    for valid, easy in (((9.0, 5.0, 3.0, 1.0, 1.5, 2.0), 2.0), ((9.0, 5.0, 4.0, 3.0, 2.5, 2.0), 3.0)):
        runs = {t: curve(*valid) if t.seed < 1000 else r for t, r in known.items()}
        shown = from_records([one], runs)
        assert (shown.target, shown.easy_target) == (2.0, easy)
        assert stays_at(shown.methods[0].tuned, easy) <= stays_at(shown.methods[0].tuned, 2.0)


def test_most_methods_reach_the_easier_target():
    """The baseline is the best: after 60 % of the run it is where no other ever comes."""
    trial = Trial("line", "", (), seed=0, epochs=1, batch=1, content="")
    ends = {"adamw": 1.0, "adam": 2.0, "sgd": 3.0, "adagrad": 4.0, "lion": 5.0, "rmsprop": 6.0}
    studies, runs = [], {}
    for name, end in ends.items():

        def make(hyper, seed, name=name):
            return replace(trial, optimizer=name, hyper=hyper, seed=seed)

        study = Study(Entry(name, registry()[name]), TIERS["smoke"], make)
        known = finished(study, lambda lr: lr)
        runs |= {t: curve(9.0, 5.0, 3.0, 1.5, 1.2, end) if t.seed < 1000 else r for t, r in known.items()}
        studies.append(study)
    shown = from_records(studies, runs)
    assert (shown.baseline, shown.target, shown.easy_target) == ("AdamW", 1.0, 4.0)
    reached = shown.steps_to_easy_target()
    assert [n for n, x in reached.items() if x < math.inf] == ["AdamW", "Adam", "Adagrad", "SGD"]


def test_a_setting_that_is_worse_than_the_defaults_is_told():
    better, even = (tuple(curve(3.0, x) for x in losses) for losses in ([0.2, 0.3, 0.1], [0.7, 1.3, 0.9]))
    said = "SGD is better at its defaults (0.2) than at the setting that was chosen (1): its search was too small"
    assert doubted(method("SGD", CLOSE, defaults=better)) == said
    assert "cannot tell that from luck" in doubted(method("SGD", CLOSE, defaults=even))
    assert "chosen (diverged): its search was too small" in doubted(method("SGD", LOST, defaults=better))
    assert doubted(method("SGD", CLOSE, defaults=tuple(curve(3.0, x) for x in CLEAR))) == ""


def test_a_method_that_never_moved_says_so():
    still = tuple(curve(3.0, 3.0, 3.0) for _ in range(3))
    facts = replace(FACTS, steps=300)
    assert doubted(method("Adam2k", CLOSE, tuned=still), facts=facts) == (
        "Adam2k never moved: its loss is the same from the first step to the last; its warmup is 2,000 steps, and the "
        "run 300"
    )
    assert doubted(method("SGD", CLOSE, tuned=still), facts=facts).startswith("SGD never moved")


def test_a_warm_up_that_is_longer_than_the_run_is_told():
    facts = replace(FACTS, steps=300)
    card = Card.of(Entry("schedulefreesgd", ravine.ScheduleFreeSGD, (("warmup_steps", 300),)), {})
    slow = method("ScheduleFreeSGD", CLOSE, card=card)
    assert doubted(slow, facts=facts) == "ScheduleFreeSGD: its warmup_steps is 300 steps, longer than the run of 300"
    assert doubted(slow, facts=replace(facts, steps=301)) == ""
    untuned = replace(facts, schedule="untuned-warmup")
    assert "warm-up of schedule untuned-warmup is longer than the run of 300 steps: no rate comes to more than 15%" in (
        doubted(method("SGD", CLOSE), facts=untuned)
    )
    assert doubted(method("SGD", CLOSE), facts=replace(untuned, steps=3000)) == ""
    assert doubted(method("SGD", CLOSE), facts=replace(facts, schedule="no such")) == ""


def test_a_machine_that_was_busy_is_told():
    idle, busy = (method("SGD", CLOSE, time=StepTime(whole, 0.1, cpu=1.0)) for whole in (1.1, 2.5))
    assert doubted(idle) == ""
    assert doubted(busy) == "The machine was busy while steps were timed: they took 2.5 times their processor time"
    assert doubted(busy, facts=replace(FACTS, computed="on cuda in float32")) == ""


def test_a_method_that_diverged_shows_no_survivor_s_metric():
    lost = method("SGD", [math.inf, 1.0, 1.0])
    assert lost.metrics == [] and lost.diverged == 1 and method("SGD", CLOSE).metrics == [0.5] * 3


def test_what_every_trial_diverged_of():
    def all_lost(first: float, *at: int, **changes) -> Outcome:
        runs = tuple(curve(first, math.nan, diverged_at=n) for n in at)
        tried = tuple(Tried({"lr": lr}, run) for lr, run in zip((0.1, 1.0, 10.0), runs, strict=False))
        one = replace(method("SGD", CLOSE), **{"tuned": runs, "tried": tried, **changes})
        return Outcome((one,), None, None, "SGD", FACTS)

    assert "fault of the task's data, model or loss" in words(all_lost(math.nan, 10, 10, 10))
    assert words(all_lost(3.0, 10, 10, 10)).startswith("Every trial diverged at step 10, whatever its learning rate")
    assert (
        words(all_lost(3.0, 30, 20, 10)) == "Every trial diverged: all learning rates tried are too high for this task."
    )
    found = Tried({"lr": 0.01}, curve(3.0, 1.0))
    assert words(all_lost(3.0, 30, 20, 10, tried=(found,))).startswith("Every run with a new seed diverged, though")
    both = Outcome((all_lost(3.0, 1, 2).methods[0], method("Adam", [math.inf, 1.0])), None, None, "SGD", FACTS)
    assert "Every method diverged with some seed" in words(both)
