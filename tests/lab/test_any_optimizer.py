"""A comparison takes what trains: classes of other packages, functions, partials, modifiers, closures, schedules."""

import contextlib
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ravine
from ravine.cli.answer import Mistake
from ravine.lab.commands import tune
from ravine.lab.errors import LabError
from ravine.lab.protocol import routing, search, spaces, stopwatch
from ravine.lab.protocol.closure import asks
from ravine.lab.protocol.inside import look
from ravine.lab.protocol.routing import made
from ravine.lab.protocol.search import entries, points
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.protocol.trials import maker

from . import any_optimizer as mine
from .conftest import compared


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """The module by a person's name for it."""
    monkeypatch.setitem(sys.modules, "mine_any", mine)


def losses(typed: str, n: int = 4, task=mine.task) -> list[float]:
    """The validation losses at the first points of the space of an optimizer."""
    (entry,) = entries([typed])
    make = maker(entry, "", {"task": "tiny", "epochs": 4, "batch": 12, "schedule": "cosine"})
    data = task.load()
    return [run(make(p.hyper, 0), task, data, entry.cls)[0].final for p in points(entry, entry.space, n, 0)]


# -- the same method from another package ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "package, theirs, ours",
    [
        ("torch", "torch.optim:AdamW", "adamw"),
        ("torch", "torch.optim:Muon", "muon"),
        ("lion_pytorch", "lion_pytorch:Lion", "lion"),
        ("schedulefree", "schedulefree:AdamWScheduleFree", "schedulefreeadamw"),
        ("schedulefree", "schedulefree:SGDScheduleFree", "schedulefreesgd"),
        ("prodigyopt", "prodigyopt:Prodigy", "prodigy"),
        ("madgrad", "madgrad:MADGRAD", "madgrad"),
    ],
)
def test_another_package_s_class_is_searched_as_the_method_of_its_name(package, theirs, ours):
    """The null of a comparison: one method under two names has the same points, and at each of them the same loss."""
    pytest.importorskip(package)
    a, b = entries([theirs, ours])
    assert a.space == b.space and a.scheduled == b.scheduled
    with contextlib.redirect_stdout(io.StringIO()):  # some introduce themselves
        assert losses(theirs) == pytest.approx(losses(ours), rel=2e-2)  # rates near divergence magnify rounding


def test_what_a_constructor_does_not_take_is_left_out_of_the_space():
    class Lion(torch.optim.SGD):
        def __init__(self, params, lr=1e-4, beta1=0.9, momentum=0.0): ...

    class CAME(torch.optim.SGD):
        def __init__(self, params, lr=None, betas=(0.9,)): ...

    assert spaces.space_of(Lion) == {k: spaces.SPACES["lion"][k] for k in ("lr", "1-beta1")}
    assert spaces.arguments(Lion, {"lr": 0.1, "1-beta1": 0.2}) == {"lr": 0.1, "beta1": 0.8}
    assert spaces.space_of(CAME) == {k: spaces.SPACES["came"][k] for k in ("lr", "1-beta1")}


def test_a_name_that_no_method_has_is_searched_around_its_default():
    class Own(torch.optim.SGD):
        def __init__(self, params, lr=0.5, betas=(0.9, 0.99)): ...

    assert spaces.method(Own) is None and list(spaces.space_of(Own)) == ["lr"]
    assert spaces.space_of(torch.optim.LBFGS)["lr"] == spaces.around(torch.optim.LBFGS)


def test_torch_s_muon_has_the_matrices_and_adamw_the_rest():
    a, b = (made(cls, mine.model(), {"lr": 0.02, "rest_lr": 0.004}) for cls in (torch.optim.Muon, ravine.Muon))
    found = [
        {(tuple(p.shape), float(group["lr"])) for group in opt.param_groups for p in group["params"]} for opt in (a, b)
    ]
    assert found[0] == found[1] and len(found[0]) == 5
    with pytest.raises(LabError, match=r"torch.optim:Muon' on task 'tiny': ModuleDict has no matrix inside"):
        headed = replace(mine.task, model=lambda: torch.nn.ModuleDict({"head": torch.nn.Linear(6, 2)}))
        routing.check(entries(["torch.optim:Muon"]), headed)


# -- functions, partials, modifiers ------------------------------------------------------------------------------------


def test_a_partial_is_its_class_with_settings_and_with_what_no_line_can_say():
    free, clipped, plain = entries(["adam", "mine_any:clipped", "mine_any:plain"])
    assert (plain.cls, plain.hyper) == (ravine.Adam, (("eps", 1e-6),)) and clipped.hyper == plain.hyper
    assert clipped.space == plain.space == free.space and clipped.label == "mine_any:clipped"
    opt = made(clipped.cls, mine.model(), dict(points(clipped, clipped.space, 1, 0)[0].hyper))
    assert isinstance(opt, ravine.Adam) and opt.param_groups[0]["mods"][0].max_norm == 0.1
    assert opt.param_groups[0]["eps"] == 1e-6
    assert search.optimizer_class(clipped.name).__module__ == "mine_any"  # as a worker reads it
    with pytest.raises(LabError, match="partial with arguments by place"):
        entries(["mine_any:by_place"])


def test_a_partial_for_matrices_is_given_those_and_its_modifiers_are_for_all():
    (entry,) = entries(["mine_any:matrices"])
    opt = made(entry.cls, mine.model(), dict(points(entry, entry.space, 1, 0)[0].hyper))
    assert isinstance(opt, ravine.Routed) and list(entry.space)[:2] == ["lr", "rest_lr"]
    assert all(group["mods"][0].max_norm == 0.1 for group in opt.param_groups)


def test_a_function_makes_it_from_the_parameters_or_from_the_model():
    sam, undecayed = entries(["mine_any:sam:rho=0.1", "mine_any:undecayed:weight_decay=0.2"])
    opt = made(sam.cls, mine.model(), dict(sam.built({"lr": 0.2})))
    assert isinstance(opt, ravine.strategies.SAM) and (opt.rho, opt.param_groups[0]["lr"]) == (0.1, 0.2)
    opt = made(undecayed.cls, mine.model(), dict(undecayed.built({"lr": 0.2})))
    assert [group["weight_decay"] for group in opt.param_groups] == [0.2, 0.0]
    assert sam.defaults == (("lr", 0.1), ("rho", 0.1)) and list(sam.space) == ["lr"]
    with pytest.raises(LabError, match="mine_any:wrong returned a list: it must return an optimizer"):
        routing.check(entries(["mine_any:wrong"]), mine.task)


def test_a_constructor_that_asks_for_names_is_given_them():
    adam_mini = pytest.importorskip("adam_mini")
    (entry,) = entries(["adam_mini:Adam_mini:verbose=False"])
    opt = made(entry.cls, mine.model(), dict(entry.built({"lr": 0.1})))
    assert isinstance(opt, adam_mini.Adam_mini) and spaces.method(entry.cls) == "adammini"


def test_modifiers_are_written_as_in_python_and_run_nobody_s_code():
    (entry,) = entries(["Adam:mods=[ClipNorm(1.0), EMA(decay=0.9)]:eps=1e-4"])
    assert entry.name == "adam:eps=0.0001:mods=[ClipNorm(1.0),EMA(decay=0.9)]" == entry.label
    assert entries([entry.name])[0].name == entry.name
    opt = made(entry.cls, mine.model(), dict(entry.built({"lr": 0.1})))
    assert [repr(x) for x in opt.param_groups[0]["mods"]] == [
        "ClipNorm(max_norm=1.0, eps=1e-06)",
        "EMA(decay=0.9, warmup=None)",
    ]
    assert losses("adam:mods=[ClipNorm(1e-9)]:eps=1.0") != losses("adam:eps=1.0")


@pytest.mark.parametrize(
    "typed, why",
    [
        ("adam:mods=[ClipNrm(1.0)]", "no modifier is called ClipNrm: did you mean ClipNorm"),
        ("adam:mods=[__import__('os')]", "no modifier is called __import__"),
        ("adam:mods=[ClipNorm(open('x'))]", "no modifier with plain numbers"),
        ("adam:mods=[ClipNorm]", "no modifier with plain numbers"),
        ("adam:mods=[ClipNorm(-1)]", "max_norm is -1; it must lie in"),
        ("adam:mods=[ClipNorm(1.0", "this is no Python"),
        ("torch.optim:SGD:mods=[ClipNorm(1.0)]", "SGD takes none"),
        ("adam:schedule=cosin", "did you mean cosine"),
        ("torch.optim:AdamV", "'torch.optim' has no 'AdamV'; it has "),
        ("nowhere_at_all:Adam", "cannot import 'nowhere_at_all'"),
        ("torch.optim:AdamW:beta=1", "AdamW has no 'beta': did you mean betas"),
        ("mine_any:sam:eps=1", "sam has no 'eps'"),
        ("mine_any:task", "is a Task: it must be a class"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_training(typed, why):
    with pytest.raises(Mistake, match=re.escape(why)):
        entries([typed])


def test_a_setting_that_cannot_be_is_told_before_any_training_too():
    with pytest.raises(LabError, match=r"'torch.optim:AdamW:eps=-1' on task 'tiny': Invalid epsilon value: -1"):
        routing.check(entries(["torch.optim:AdamW:eps=-1"]), mine.task)


def test_what_is_printed_can_be_typed():
    (entry,) = entries(["adam:mods=[ClipNorm(1.0)]"])
    line = tune.python(entry.cls, entry.built({"lr": 0.1})).removeprefix("opt = ")
    opt = eval(line, {"ravine": ravine, "ClipNorm": ravine.mods.ClipNorm, "model": mine.model()})
    assert opt.param_groups[0]["mods"][0].max_norm == 1.0 and opt.param_groups[0]["lr"] == 0.1
    (entry,) = entries(["mine_any:undecayed"])
    assert tune.python(entry.cls, (("lr", 0.1),)) == "opt = mine_any.undecayed(model, lr=0.1)"


# -- closures ----------------------------------------------------------------------------------------------------------


def test_who_asks_for_the_loss():
    model = mine.model()
    asking = torch.optim.LBFGS(model.parameters()), mine.sam(model.parameters()), mine.Greedy(model.parameters())
    assert all(map(asks, asking))
    assert not any(map(asks, (torch.optim.SGD(model.parameters()), ravine.Adam(model.parameters()))))


def test_lbfgs_trains_as_in_torch_s_own_loop():
    """Batch by batch, with the batches of the trial and with the closure that torch's documentation has."""
    data, (entry,) = mine.task.load(), entries(["torch.optim:LBFGS:max_iter=4"])
    trial = Trial("tiny", entry.name, entry.built({"lr": 0.1}), seed=3, epochs=2, batch=12, content="")
    result, model = run(trial, mine.task, data, entry.cls)
    assert result.diverged_at is None and result.train[-1] < result.train[0]

    torch.manual_seed(3)
    own = mine.model()
    opt = torch.optim.LBFGS(own.parameters(), lr=0.1, max_iter=4)
    order = torch.Generator().manual_seed(3)
    for _ in range(2):
        for rows in torch.randperm(len(data.x), generator=order).split(12):

            def closure(rows=rows):
                opt.zero_grad()
                loss = torch.nn.functional.cross_entropy(own(data.x[rows]), data.y[rows])
                loss.backward()
                return loss

            opt.step(closure)
    for a, b in zip(model.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_first_loss_of_a_step_is_the_one_that_counts():
    data = mine.task.load()
    first = [
        run(Trial("tiny", name, (("lr", 0.5),), seed=0, epochs=1, batch=48, content=""), mine.task, data, cls)[0].train
        for name, cls in (("sgd", ravine.SGD), ("mine_any:Greedy", mine.Greedy))
    ]
    assert first[0][1] == pytest.approx(first[1][1], rel=1e-6)  # one step an epoch: the loss before it


def test_the_stopwatch_counts_no_pass_as_the_optimizer_s_and_the_monitor_sees_each_step():
    trial = Trial("tiny", "mine_any:Greedy", (("lr", 0.1),), seed=0, epochs=2, batch=12, content="")
    (time,) = stopwatch.measure([(trial, mine.Greedy)], mine.task, mine.task.load(), seconds=0.0)
    assert not isinstance(time, Exception) and 0 < time.update < time.whole / 2
    assert time.low <= time.whole <= time.high and time.cpu > 0
    assert look(trial, mine.task, mine.task.load(), mine.Greedy).step


def test_a_scaled_loss_and_families_have_no_closure():
    with pytest.raises(LabError, match="asks for the loss itself, and --precision fp16 scales it"):
        routing.check(entries(["torch.optim:LBFGS"]), mine.task, "fp16")
    routing.check(entries(["torch.optim:LBFGS", "adam"]), mine.task, "bf16")


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_a_schedule_of_its_own_is_in_the_place_of_the_comparison_s():
    common = {"task": "tiny", "epochs": 4, "batch": 12, "schedule": "linear"}
    found = entries(["adam", "adam:schedule=warmup=3 * Cosine", "schedulefreesgd", "schedulefreesgd:schedule=cosine"])
    trials = [maker(entry, "", common)(entry.built({"lr": 0.1}), 0) for entry in found]
    assert [t.schedule for t in trials] == ["linear", "warmup=3*cosine", "constant", "cosine"]
    assert len({t.key for t in trials}) == 4 and found[0].space == found[1].space
    assert dict(trials[1].hyper).keys() == {"lr"}


def test_it_moves_the_rate_as_it_says():
    data, seen = mine.task.load(), []
    (entry,) = entries(["sgd:schedule=warmup=3*cosine(end=0.1)"])
    make = maker(entry, "", {"task": "tiny", "epochs": 4, "batch": 12})

    def meet(opt):
        opt.register_step_pre_hook(lambda opt, *_: seen.append(float(opt.param_groups[0]["lr"])))

    run(make((("lr", 0.5),), 0), mine.task, data, entry.cls, meet=meet)
    whole = ravine.schedules.Warmup(3) * ravine.schedules.Cosine(16, end=0.1)
    assert seen == pytest.approx([0.5 * whole(t) for t in range(16)])


def test_where_there_is_no_schedule_it_is_refused():
    with pytest.raises(LabError, match="this command sets the rates itself; leave out the schedule"):
        entries(["adam:schedule=cosine"], schedules=False)


def test_all_of_them_stand_in_one_report(tmp_path):
    """And a folder of records imports nobody's function before it is named again."""
    asked = (
        "adam:schedule=constant,adam:schedule=warmup=400*cosine,torch.optim:LBFGS,mine:sam,mine:undecayed,"
        "adam:mods=[ClipNorm(1.0),EMA(0.9)]"
    )
    code = Path(mine.__file__).read_text()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        compared(tmp_path, "--optimizers", asked, "--space", "finetune", code=code)
    page = (tmp_path / "kept" / "report.html").read_text(encoding="utf-8")
    rows = ["adam:schedule=constant", "adam:schedule=warmup=400*cosine", "LBFGS", "sam", "undecayed"]
    for name in (*rows, "adam:mods=[ClipNorm(1.0),EMA(0.9)]"):
        assert f'data-name="{name}"' in page
    assert "its schedule's warm-up is 400 steps" in out.getvalue().replace("\n", " ")
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stderr(io.StringIO()) as err:
        patched.chdir(tmp_path)
        assert ravine.cli.main(["compare", "--resume", "kept"]) == 2
    assert "say --task mine:task --optimizers adam:schedule=constant" in err.getvalue() and "mine" not in sys.modules
