"""The self-tuning track: no search, and only methods that need none."""

import contextlib

import pytest

from ravine.cli import main
from ravine.lab.commands import one_task
from ravine.lab.errors import LabError
from ravine.lab.protocol import search
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.settings import Settings
from ravine.lab.protocol.study import TIERS
from ravine.optim import registry

from .conftest import OWN, inline


def test_every_method_of_the_track_is_ours_and_at_its_defaults():
    found = search.self_tuning(None)
    assert [e.ours for e in found] == list(search.SELF_TUNING) and set(search.SELF_TUNING) <= set(registry())
    assert {e.ours: dict(e.hyper) for e in found}["momoadam"] == {"lr": 1e-2}
    assert dict(search.self_tuning(["momo:beta=0.8"])[0].hyper) == {"lr": 1.0, "beta": 0.8}
    pytest.importorskip("schedulefree")
    theirs, rated = search.self_tuning(["schedulefree:AdamWScheduleFree", "adam:lr=0.002"])
    assert dict(theirs.hyper) == {"lr": 0.0025} and dict(rated.hyper) == {"lr": 0.002}


@pytest.mark.parametrize("name", ["adam", "adam:eps=1e-4", "torch.optim:SGD", "muon"])
def test_a_method_with_a_rate_is_refused_with_a_reason(name):
    with pytest.raises(LabError, match=r"has a rate that must be tuned: say one, as in .*:lr=0.001"):
        search.self_tuning(["prodigy", name])


def test_it_is_half_as_long_again_and_searches_nothing():
    assert Settings(preset="self-tuning").work.share == 1.5 * TIERS["standard"].share
    assert Settings(preset="self-tuning").schedule == "cosine"
    for said in ({"points": 3}, {"extend": True}, {"space": ("finetune",)}):
        with pytest.raises(LabError, match="--preset self-tuning searches nothing"):
            Settings(preset="self-tuning", **said)


def test_a_track_from_end_to_end(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.setattr(one_task, "sweep", inline)
    monkeypatch.setattr(one_task.stopwatch.measure, "__defaults__", (0.0,))
    monkeypatch.syspath_prepend(tmp_path)
    said = ["--optimizers", "dog,schedulefreesgd,sgd:lr=0.1", "--seeds", "3", "--workers", "1", "--out", "kept"]
    with contextlib.chdir(tmp_path):
        assert main(["compare", "--preset", "self-tuning", "--task", "mine:task", *said]) == 0
    with Reading(tmp_path / "kept") as records:
        trials = [row.trial for row in records.rows()]
    assert len(trials) == 3 * 3 and {t.epochs for t in trials} == {3}  # of 2
    assert {t.optimizer: t.schedule for t in trials} == {
        "dog": "cosine", "schedulefreesgd": "constant", "sgd:lr=0.1": "cosine",
    }  # fmt: skip
    html = (tmp_path / "kept" / "report.html").read_text(encoding="utf-8")
    assert "Nothing is searched" in html and "article" not in html and "setting tried" not in html
    assert "loss is the mean over the seeds" in capsys.readouterr().out
    with contextlib.chdir(tmp_path):
        assert main(["advise", "--from", "kept"]) == 0
    advised = capsys.readouterr().out
    assert "Its validation loss is the lowest" in advised and "short search" not in advised
