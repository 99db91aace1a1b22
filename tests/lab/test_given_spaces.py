"""Spaces that are asked for: of a method, of one entry, of a task, and those of fine-tuning."""

import contextlib
import io
import re
import sys
from dataclasses import replace

import pytest

import ravine
from ravine.lab.commands import compare, one_task
from ravine.lab.errors import LabError
from ravine.lab.protocol import routing, spaces
from ravine.lab.protocol.given_spaces import FINDS_ITS_RATE, LOWER, spaced
from ravine.lab.protocol.search import entries, points
from ravine.lab.protocol.settings import Settings
from ravine.optim import registry

from . import any_optimizer as mine
from .conftest import compared


def found(names: str, *asked: str, of_task: tuple[str, ...] = ()) -> list[dict]:
    """The spaces of these optimizers."""
    return [entry.space for entry in spaced(entries(names.split()), asked, of_task, "mine")]


def test_a_range_is_in_the_place_of_the_published_one_and_the_rest_of_the_row_stays():
    (adam,) = found("adam", "adam:lr=1e-5..1e-2,1-beta1=0.05..0.2")
    assert adam == spaces.SPACES["adam"] | {"lr": (1e-5, 1e-2), "1-beta1": (0.05, 0.2)}
    assert list(adam) == list(spaces.SPACES["adam"])


def test_what_the_row_has_not_stands_right_after_lr_where_every_tier_but_smoke_searches_it():
    (adam,) = found("adam", "Adam:eps=1e-8..1e-2")
    assert list(adam) == ["lr", "eps", "1-beta1", "1-beta2"] and adam["eps"] == (1e-8, 1e-2)


def test_it_is_for_the_method_whoever_made_it_and_what_is_said_of_one_entry_goes_before():
    ours, torchs, other = found("adam torch.optim:Adam adamw", "torch.optim:Adam:lr=1e-4..1e-3", "adam:lr=1e-3..1e-2")
    assert ours["lr"] == (1e-3, 1e-2) and torchs["lr"] == (1e-4, 1e-3) and other == spaces.SPACES["adamw"]
    free, fixed = found("adam adam:eps=1e-4", "adam:eps=0.0001:lr=1e-4..1e-3")
    assert free == spaces.SPACES["adam"] and fixed["lr"] == (1e-4, 1e-3)


def test_the_command_goes_before_the_task_which_may_speak_of_others_too():
    of_task = ("adam:lr=1e-5..1e-3", "lion:lr=1e-7..1e-4", "adam:1-beta1=0.1..0.2")
    (adam,) = found("adam", "adam:lr=1e-4..1e-2", of_task=of_task)
    assert adam["lr"] == (1e-4, 1e-2) and adam["1-beta1"] == (0.1, 0.2)


def test_fine_tuning_is_a_hundredth_for_all_that_do_not_find_their_rate():
    adamw, lion, prodigy, muon = found("adamw lion prodigy muon", "finetune")
    assert adamw["lr"][0] == pytest.approx(1e-6) and lion["lr"][0] == pytest.approx(1e-7)
    assert prodigy == spaces.SPACES["prodigy"] and muon["rest_lr"] == adamw["lr"]
    assert adamw == {**spaces.SPACES["adamw"], "lr": adamw["lr"]}
    everybody = [name for name in registry() if name not in (*FINDS_ITS_RATE, "sophiag")]  # which no trial can train
    for name, space in zip(everybody, found(" ".join(everybody), of_task=("finetune",)), strict=True):
        published = spaces.space_of(registry()[name])
        assert list(space) == list(published)
        for key, ends in published.items():
            factor = LOWER if key in ("lr", spaces.FOLLOWED, "rest_lr") else 1
            assert space[key] == pytest.approx([x / factor for x in ends])
    (rate,), (followed,) = (found("momentum", f"momentum:{k}=1e-3..1e-2") for k in ("lr", spaces.FOLLOWED))
    assert list(rate) == ["lr", "1-momentum"] and list(followed) == [spaces.FOLLOWED, "1-momentum"]
    both = found("adamw", "finetune", "adamw:lr=1e-5..1e-4")
    assert both[0]["lr"] == (1e-5, 1e-4)


def test_points_lie_in_a_given_space_and_both_its_ends_are_tried_before_training():
    (entry,) = spaced(entries(["adam"]), ["adam:lr=1e-5..1e-4,eps=1e-8..1e-2"], (), "mine")
    for point in points(entry, entry.space, 8, 0):
        at = dict(point.at)
        assert 1e-5 <= at["lr"] <= 1e-4 and 1e-8 <= at["eps"] <= 1e-2 and dict(point.hyper)["eps"] == at["eps"]
    (flag,) = spaced(entries(["adam"]), ["adam:amsgrad=0.1..0.2"], (), "mine")
    with pytest.raises(LabError, match=r"'adam' on task 'tiny': .*amsgrad is 0.1; it must be True or False"):
        routing.check([flag], mine.task)


@pytest.mark.parametrize(
    "text, why",
    [
        ("adam", "write finetune, or NAME:HYPERPARAMETER=LOW..HIGH"),
        ("finetun", "write finetune"),
        ("adm:lr=1e-5..1", "unknown optimizer 'adm': did you mean adam"),
        ("sgd:lr=1e-5..1", "no optimizer that is compared is called sgd; there are adam"),
        ("adam:lr=1e-5", "lr=1e-5 is no range, such as lr=1e-5..1e-2"),
        ("adam:lr=2..1", "must be above 0 and rise"),
        ("adam:lr=0..1", "must be above 0 and rise"),
        ("adam:lr=1..inf", "must be above 0 and rise"),
        ("adam:lr=1..nan", "must be above 0 and rise"),
        ("adam:1-beta1=0.5..2", "the highest is 1"),
        ("adam:beta1=0.1..0.2", "adam has no 'beta1': did you mean 1-beta1?"),
        ("adam:1-beta3=0.1..0.2", "adam has no '1-beta3'"),
        ("adam:rest_lr=0.1..0.2", "adam has no 'rest_lr'"),
    ],
)
def test_a_space_that_cannot_be_is_one_line(text, why):
    with pytest.raises(LabError, match=re.escape(f"--space {text}: ") + ".*" + re.escape(why)):
        found("adam", text)
    if "compared" not in why:  # a task does not know who is
        with pytest.raises(LabError, match=re.escape(f"task 'mine': spaces {text}: ") + ".*" + re.escape(why)):
            found("adam", of_task=(text,))


def test_a_space_names_somebody_s_own_and_imports_nothing():
    (space,) = spaced(entries(["adam"]), (), ["no_such_module:Class:lr=0.1..1"], "mine")
    assert space.space == spaces.SPACES["adam"]


def test_the_option_may_be_said_again_and_goes_with_no_preset(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(compare, "compare", lambda settings, *_: asked.append(settings))
    compare._run(["compare", "--space", "finetune", "--space", "adam:lr=1e-5..1e-2,1-beta1=0.02..0.5"])
    compare._run(["compare"])
    assert [x.space for x in asked] == [("finetune", "adam:lr=1e-5..1e-2,1-beta1=0.02..0.5"), ()]
    with pytest.raises(LabError, match="searches nothing: leave out --points, --extend and --space"):
        Settings(preset="classic", space=("finetune",))


def test_a_comparison_in_a_given_space_is_gone_on_with_in_it(tmp_path, monkeypatch):
    code = "from tests.lab.any_optimizer import task"
    code += "\nfrom dataclasses import replace\ntask = replace(task, spaces=('sgd:lr=0.2..0.3',))"
    with contextlib.redirect_stdout(io.StringIO()):
        compared(tmp_path, "--optimizers", "adam,sgd", "--space", "adam:lr=1e-5..1e-4", code=code)
        seen = []
        chosen = one_task.chosen
        monkeypatch.setattr(one_task, "chosen", lambda study, *a: seen.append(study.entry) or chosen(study, *a))
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        try:
            assert ravine.cli.main(["compare", "--resume", "kept", "--task", "mine:task"]) == 0
        finally:
            sys.modules.pop("mine", None)
    page = (tmp_path / "kept" / "report.html").read_text(encoding="utf-8")
    assert "on logarithmic scales; the task’s own: sgd:lr=0.2..0.3<" in page
    adam, sgd = seen
    assert adam.space["lr"] == (1e-5, 1e-4) and sgd.space["lr"] == (0.2, 0.3)
    assert replace(adam, given=()).space == spaces.SPACES["adam"]
