"""What is run: points with selection seeds, then the best with new ones; asked again it goes on by itself."""

import math
from dataclasses import replace

import pytest
import torch

import ravine
from ravine.lab.protocol.search import Entry
from ravine.lab.protocol.study import SELECTION, TIERS, Study
from ravine.lab.protocol.trial import Result, Trial

TRIAL = Trial("line", "adam", (), seed=0, epochs=1, batch=1, content="")
ADAM = Entry("adam", ravine.Adam)
STANDARD = TIERS["standard"]


def study(entry=ADAM, tier=STANDARD, **options):
    return Study(entry, tier, lambda hyper, seed: replace(TRIAL, hyper=hyper, seed=seed), **options)


def result(loss: float) -> Result:
    return Result(diverged_at=5 if math.isinf(loss) else None, step=[0, 5], valid=[2.0, loss], metric=[0.0, 0.5])


def finished(of: Study, loss) -> dict[Trial, Result]:
    """Runs what is wanted until nothing new is, as the coordinator does; `loss` of lr."""
    known: dict[Trial, Result] = {}
    while todo := [t for t in of.wanted(known) if t not in known]:
        known[todo[0]] = result(loss(todo[0].lr))
    return known


def far_from(best: float):
    return lambda lr: abs(math.log10(lr / best))


@pytest.mark.parametrize("tier", TIERS.values(), ids=TIERS)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_every_optimizer_gets_the_same_budget(tier, name):
    one = study(Entry(name.lower(), getattr(ravine, name)), tier)
    assert len(finished(one, far_from(0.01))) == tier.trials


def test_what_a_tier_costs():
    assert {name: tier.trials for name, tier in TIERS.items()} == {"smoke": 11, "standard": 42, "full": 148}
    assert {name: tier.search for name, tier in TIERS.items()} == {"smoke": 2, "standard": 8, "full": 16}


def test_each_point_has_a_seed_of_its_own_and_the_best_is_run_with_new_ones():
    one = study()
    known = finished(one, far_from(0.01))
    (last,) = one.rounds(known)
    assert [t.seed for t in last.trials] == list(range(SELECTION, SELECTION + 32))
    best, runs = one.chosen(known)
    assert best == last.ranked(known)[0] and [t.seed for t in runs] == [0, 1, 2, 3, 4]
    assert {t for t in known if t.seed < SELECTION} == {*runs, *one.reference}
    assert abs(math.log10(dict(best.at)["lr"] / 0.01)) == min(abs(math.log10(p.lr / 0.01)) for p in last.trials)
    assert [t.hyper for t in one.reference] == [(("lr", 0.001),)] * 5


def test_another_search_has_other_points_and_seeds_and_the_same_new_ones():
    one, other = study(), study(number=1)
    (a,), (b,) = one.rounds({}), other.rounds({})
    assert {p.at for p in a.points}.isdisjoint(p.at for p in b.points)
    assert {t.seed for t in a.trials}.isdisjoint(t.seed for t in b.trials)
    assert [t.seed for t in other.chosen(finished(other, far_from(0.01)))[1]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lost, chosen", [(1, 1), (2, 2), (3, 0), (9, 0)])
def test_where_the_best_diverges_with_a_new_seed_the_next_takes_its_place(lost, chosen):
    """Of the three best the first whose runs all end; where none does, the best, and the verdict says so."""
    one, known = study(), dict[Trial, Result]()
    (searched,) = one.rounds(known)
    bad = set[float]()
    while todo := [t for t in one.wanted(known) if t not in known]:
        (trial, *_) = todo
        if trial.seed == 4 and trial.lr in bad:  # one of the new seeds
            known[trial] = result(math.inf)
        else:
            known[trial] = result(far_from(0.01)(trial.lr))
        if searched.finished(known) and not bad:
            bad = {dict(p.at)["lr"] for p in searched.ranked(known)[:lost]}
    point, runs = one.chosen(known)
    assert point == searched.ranked(known)[chosen] and len(runs) == 5
    new = {t.hyper for t in known if t.seed < SELECTION} - {t.hyper for t in one.reference}
    assert len(new) == min(lost + 1, 3)


def test_a_point_that_diverged_in_the_search_is_no_fallback():
    one = study(tier=replace(STANDARD, points=4))
    (searched,) = one.rounds({})
    worst = sorted(searched.trials, key=lambda t: t.lr)[1:]
    known = finished(one, lambda lr: math.inf if lr in {t.lr for t in worst} else 1.0)
    assert len({t.hyper for t in known if t.seed < SELECTION} - {t.hyper for t in one.reference}) == 1


def test_nothing_is_chosen_before_all_points_are_known():
    one = study()
    known = {t: result(t.lr) for t in one.wanted({})[:31]}
    assert len(one.wanted(known)) == 32 + 5  # the points and the defaults
    assert one.wanted(known) == one.wanted({})


def test_one_setting_is_tried_with_as_many_seeds_as_others_have_points():
    one = study(Entry("adam:lr=0.1", ravine.Adam, (("lr", 0.1), ("betas", (0.9, 0.99)))))
    (only,) = one.rounds({})
    assert len({t.hyper for t in only.trials}) == 1 and len({t.seed for t in only.trials}) == 32


def test_it_goes_further_where_the_best_lies_at_the_edge():
    smoke = TIERS["smoke"]
    plain, further = (study(tier=smoke, extend=extend) for extend in (False, True))
    beyond = far_from(1e-5)  # below all that is tried of Adam
    assert plain.rounds(finished(plain, beyond))[-1].edges(finished(plain, beyond)) == {"lr": "lowest"}
    rounds = further.rounds(finished(further, beyond))
    assert len(rounds) > 1 and all(len(r.points) == smoke.points for r in rounds)
    assert [r.space["lr"][0] for r in rounds[:2]] == [1e-4, 1e-5]
    assert len(study(tier=smoke, extend=True).rounds(finished(further, lambda lr: math.inf))) == 4  # and then gives up


def test_a_stranger_without_a_default_rate_has_no_defaults_to_run():
    class Needs(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

    assert study(Entry("needs:Needs", Needs)).reference == []


def test_nothing_is_searched_of_the_classic():
    one = study(Entry("sgd", ravine.SGD, (("lr", 0.01),)), fixed=True)
    assert [(t.hyper, t.seed) for t in one.wanted({})] == [((("lr", 0.01),), seed) for seed in range(5)]
