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


def test_the_standard_tier_is_29_runs():
    assert STANDARD.trials == 29


def test_the_best_is_confirmed_with_seeds_it_was_not_chosen_with():
    one = study()
    known = finished(one, far_from(0.01))
    (last,) = one.rounds(known)
    best, second = last.ranked(known)[:2]
    assert {t.seed for t in last.trials} == {SELECTION}
    assert [t.seed for t in known if t.hyper == best.hyper and t.seed < SELECTION] == [0, 1, 2, 3, 4]
    assert [t.seed for t in known if t.hyper == second.hyper and t.seed < SELECTION] == [0, 1, 2]
    assert abs(math.log10(dict(best.at)["lr"] / 0.01)) == min(abs(math.log10(p.lr / 0.01)) for p in last.trials)
    assert [t.hyper for t in one.reference] == [(("lr", 0.001),)] * 5


def test_nothing_is_chosen_before_all_points_are_known():
    one = study()
    known = {t: result(t.lr) for t in one.wanted({})[:15]}
    assert len(one.wanted(known)) == 16 + 5  # the points and the defaults
    assert one.wanted(known) == one.wanted({})


def test_a_full_tier_searches_three_times():
    one = study(tier=TIERS["full"])
    (first,) = one.rounds({})
    assert len({p.at for p in first.points}) == 48
    assert [t.seed - SELECTION for t in first.trials] == [0] * 16 + [1] * 16 + [2] * 16


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
