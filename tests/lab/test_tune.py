"""`ravine tune`: points that Optuna asks for, resumed from the records alone, and confirmed with new seeds."""

import math
import random

import pytest
import torch

pytest.importorskip("optuna", reason='needs the extra: pip install ".[tune]"')

from ravine.cli import main
from ravine.lab import LabError
from ravine.lab.commands import tune
from ravine.lab.protocol.search import entries
from ravine.lab.protocol.spaces import arguments, space_of
from ravine.lab.protocol.study import SELECTION
from ravine.lab.protocol.trial import Result, Trial

(ADAM,) = entries(["adam"])


def tuning(trials=30, seeds=1, confirm=3):
    def make(hyper, seed):
        return Trial("a bowl", "adam", hyper, seed, 1, 1, "")

    return tune.Tuning(ADAM, space_of(ADAM.cls), make, tune.Settings(trials=trials, seeds=seeds, confirm=confirm))


def bowl(trial):
    """A result that is best near a corner, at lr 0.05 and β₁ 0.97; seeds differ a little; far out it diverges."""
    hyper = dict(trial.hyper)
    far = abs(math.log10(hyper["lr"] / 0.05)) + abs(math.log10((1 - hyper.get("betas", (0.9, 0))[0]) / 0.03))
    return Result(diverged_at=1 if far > 2.2 else None, valid=[far + 1e-3 * (trial.seed % 7)])


def searched(known, shuffle=None, most=math.inf, **how):
    """Runs a search to its end, or to `most` results in all; those of a round come in any order."""
    search = tuning(**how)
    while todo := [t for t in search.wanted(known) if t not in known]:
        if shuffle:
            shuffle.shuffle(todo)
        for trial in todo:
            if len(known) >= most:
                return search
            known[trial] = bowl(trial)
            search.wanted(known)
    return search


def test_it_finds_the_bottom_and_confirms_it_with_new_seeds():
    known = {}
    search = searched(known, seeds=2)
    best = search.best(known)
    assert len(search.points) == 30 and len(set(p.hyper for p in search.points)) == 30
    assert best.score(known) < 0.3 and best.score(known) == min(p.score(known) for p in search.points)
    chosen = {t.seed for p in search.points for t in p.trials}
    confirmed = [t for t in search.wanted(known) if t.seed not in chosen]
    assert chosen == {SELECTION, SELECTION + 1}
    assert [(t.hyper, t.seed) for t in confirmed] == [(best.hyper, s) for s in range(3)] + [
        ((("lr", 1e-3),), s) for s in range(3)
    ]


def test_it_learns_where_to_look():
    known = {}
    later = sorted(p.score(known) for p in searched(known).points[10:])
    chance, space = random.Random(0), space_of(ADAM.cls)
    drawn = [{name: low * (high / low) ** chance.random() for name, (low, high) in space.items()} for _ in range(999)]
    make = tuning().make
    blind = sorted(bowl(make(tuple(arguments(ADAM.cls, at).items()), SELECTION)).final for at in drawn)
    assert later[len(later) // 2] < 0.6 * blind[len(blind) // 2]


@pytest.mark.parametrize("stopped_at", [0, 3, 4, 17, 30, 33])
def test_a_stopped_search_ends_as_an_undisturbed_one(stopped_at):
    undisturbed, known = {}, {}
    whole = searched(undisturbed)
    searched(known, most=stopped_at)
    assert len(known) == stopped_at
    again = searched(known, shuffle=random.Random(0))
    assert [p.hyper for p in again.points] == [p.hyper for p in whole.points] and known == undisturbed


def test_more_trials_go_on_where_fewer_ended():
    known = {}
    few = searched(known, trials=8)
    more = searched(known, trials=16)
    assert [p.at for p in more.points[:8]] == [p.at for p in few.points]


def test_the_last_round_is_as_long_as_what_is_left():
    assert len(searched({}, trials=6).points) == 6


def test_what_diverges_takes_its_slot_and_is_never_best():
    known = {}
    search = searched(known)
    lost = [p for p in search.points if math.isinf(p.score(known))]
    assert lost and search.best(known) not in lost


def test_the_line_of_python_runs():
    import ravine

    hyper = (("lr", 0.0123), ("betas", (0.9, 0.99)))
    scope = {"ravine": ravine, "model": torch.nn.Linear(2, 1)}
    exec(tune.python(ravine.Adam, hyper), scope)
    assert scope["opt"].param_groups[0]["betas"] == (0.9, 0.99) and scope["opt"].param_groups[0]["lr"] == 0.0123
    assert tune.python(torch.optim.Adam, hyper).startswith("opt = torch.optim.adam.Adam(model.parameters(), lr=0.0123")


def test_ends_of_the_space_are_told():
    space = {"lr": (1e-4, 1e-1), "1-beta1": (0.02, 0.5), "weight_decay": (1e-3, 1.0)}
    at = {"lr": 1.1e-4, "1-beta1": 0.49, "weight_decay": 0.02}
    assert tune.ends(at, space) == [("lr", "at the low end"), ("1-beta1", "at the high end")]


def test_seeds_that_diverged_are_counted():
    results = [Result(valid=[1.0], test=2.0, test_metric=0.5), Result(valid=[2.0], test=3.0, test_metric=0.7)]
    assert tune.means(results) == ("1.5000 ± 0.7071", "2.5000 ± 0.7071", "0.6000 ± 0.1414")
    assert tune.means([*results, Result(diverged_at=1, valid=[9.0])]) == ("1 of 3 diverged", "", "")
    assert tune.means([Result(valid=[1.0])]) == ("1.0000", "", "")


def test_the_command_says_what_to_use_and_goes_on(tmp_path, capsys):
    arguments = ["tune", "--optimizer", "nag", "--trials", "5", "--confirm", "2", "--epochs", "1", "--workers", "1",
                 "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "NAG on digits: the best of 5 settings, 1 seed each\n" in first and "with 2 new seeds:" in first
    assert "the best" in first and "the defaults" in first and "    opt = ravine.NAG(model.parameters(), lr=" in first
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert again.startswith("9 of 9 trials are in the records already") and first.endswith(again.split("\n", 1)[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--trials 0", "--trials: must be 1 or more, and is 0"),
        ("--seeds 0", "--seeds: must be 1 or more, and is 0"),
        ("--batch 8000", "--batch 8000: task 'digits' has"),
        ("--schedule cosin", "--schedule: "),
        ("--optimizer adm", "unknown optimizer 'adm': did you mean adam"),
        ("--trails 3", "unrecognized arguments: --trails 3 (see ravine tune --help)"),
    ],
)
def test_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ravine: ") and said in err


def test_without_the_extra_it_names_it(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune"]) == 2
    assert capsys.readouterr().err == 'ravine: ravine tune needs optuna: pip install ".[tune]" in ravine\'s folder\n'


def test_a_schedule_of_no_name_is_said():
    with pytest.raises(LabError, match="--schedule"):
        tune.Settings(schedule="cosin")
