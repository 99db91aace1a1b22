"""What a trial is, and that one is run fairly."""

import importlib
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sklearn.metrics
import torch
from torch import nn

import ravine
from ravine.lab import Task
from ravine.lab.protocol import trials
from ravine.lab.protocol.search import Entry
from ravine.lab.protocol.stopwatch import StepTime, measure
from ravine.lab.protocol.trial import Trial, evaluation_steps, run
from ravine.lab.protocol.trials import carried_over, maker
from ravine.lab.sweep.worker import run_job
from ravine.lab.tasks import Data

X = torch.linspace(-1, 1, 30)[:, None]
DATA = Data(X, 3 * X + 1, X[::3], 3 * X[::3] + 1)
LINE = Task("line", lambda: DATA, lambda: nn.Linear(1, 1), nn.functional.mse_loss, metric=None, batch=8)
TRIAL = Trial("line", "sgd", (("lr", 0.1),), seed=0, epochs=5, batch=8, content="")


def test_the_key_is_the_content():
    assert TRIAL.key == replace(TRIAL).key
    words = dict.fromkeys(("task", "optimizer", "content", "after", "schedule", "curriculum"), "a")
    changes = words | {"hyper": (("lr", 0.2),), "seed": 1, "epochs": 6, "batch": 9}
    assert len({TRIAL.key, *(replace(TRIAL, **{name: value}).key for name, value in changes.items())}) == 1 + len(
        changes
    )


def test_it_learns_the_same_thing_twice():
    first, second = (run(TRIAL, LINE, DATA, ravine.SGD)[0] for _ in range(2))
    assert first.valid[-1] < 0.2 * first.valid[0]
    assert replace(first, seconds=0) == replace(second, seconds=0)
    assert len(first.step) == len(first.train) == len(first.valid) == len(first.metric)
    assert first.step[-1] == 5 * 4 and first.seconds > 0


def test_the_loss_of_a_small_batch_fluctuates_and_that_of_all_does_not():
    """At a rate of zero nothing moves: a point an epoch, which meets all rows, knows how far batches differ."""
    zero = replace(LINE, model=lambda: nn.Linear(1, 1).apply(lambda m: [nn.init.zeros_(p) for p in m.parameters()]))
    still = replace(TRIAL, hyper=(("lr", 0.0),), epochs=20)
    one, all_rows = (run(replace(still, batch=batch), zero, DATA, ravine.SGD)[0] for batch in (1, 30))
    losses = (3 * X + 1).square()
    assert one.deviation[1:] == pytest.approx([losses.std(correction=0).item()] * 20, rel=1e-4)
    assert all_rows.deviation == [0] * 21 and one.train[-1] == pytest.approx(losses.mean().item(), rel=1e-4)


def test_a_schedule_is_followed_to_its_end():
    """The last steps of a rate that falls to zero move nothing; one-cycle moves momentum too."""
    seen = {}

    class Seen(ravine.SGD):
        def step(self, *args, **kwargs):
            group = self.param_groups[0]
            seen.setdefault(name, []).append((group["lr"], group["momentum"]))
            return super().step(*args, **kwargs)

    for name in ("constant", "linear", "one-cycle", "plateau"):
        trial = replace(TRIAL, hyper=(("lr", 0.1), ("momentum", 0.9)), schedule=name)
        assert run(trial, LINE, DATA, Seen)[0].step[-1] == len(seen[name]) == 20
    assert set(seen["constant"]) == {(0.1, 0.9)}
    assert [round(lr, 12) for lr, _ in seen["linear"]] == [round(0.1 * (1 - t / 20), 12) for t in range(20)]
    assert {m for _, m in seen["linear"]} == {0.9}
    rates, momenta = zip(*seen["one-cycle"], strict=True)
    assert max(rates) == 0.1 and momenta[rates.index(0.1)] == min(momenta) == 0.85 and momenta[0] == 0.95


def test_ours_are_told_the_loss_and_others_are_not():
    trial = replace(TRIAL, hyper=(("lr", 1.0),))
    for cls in (ravine.MoMo, torch.optim.Rprop):
        found = run(trial, LINE, DATA, cls)[0]
        assert min(found.valid) < found.valid[0]


def test_same_weights_and_batches_for_every_optimizer():
    seen: dict[type, list[torch.Tensor]] = {}

    for cls in (ravine.SGD, ravine.Adam):
        seen[cls] = []

        class Spy(nn.Linear):
            def forward(self, x, kept=seen[cls]):
                kept.append(x.clone() if kept else self.weight.detach().clone())
                return super().forward(x)

        task = replace(LINE, model=lambda spy=Spy: spy(1, 1))
        run(TRIAL, task, DATA, cls)
    assert all(torch.equal(a, b) for a, b in zip(*seen.values(), strict=True))


def test_seeds_change_the_weights_and_the_order():
    a, b = (run(replace(TRIAL, seed=seed), LINE, DATA, ravine.SGD)[0] for seed in (0, 1))
    assert a.valid[0] != b.valid[0]

    class Zero(nn.Linear):
        def reset_parameters(self):
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    a, b = (
        run(replace(TRIAL, seed=seed), replace(LINE, model=lambda: Zero(1, 1)), DATA, ravine.SGD)[0] for seed in (0, 1)
    )
    assert a.valid[0] == b.valid[0] and a.valid[1] != b.valid[1]


@pytest.mark.parametrize(("lr", "latest"), [(1e25, 4), (5.0, 4)])
def test_divergence_is_a_result_with_its_step(lr, latest):
    result, _ = run(replace(TRIAL, hyper=(("lr", lr),)), LINE, DATA, ravine.SGD)
    assert result.diverged_at is not None and 0 < result.diverged_at <= latest
    assert result.final == math.inf and result.step[-1] == result.diverged_at


def test_a_nan_is_divergence():
    class Poison(torch.optim.SGD):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.data.fill_(math.nan)

    result, _ = run(TRIAL, LINE, DATA, Poison)
    assert result.diverged_at == result.step[-1] <= 2 and result.final == math.inf


@pytest.mark.parametrize("error", [FloatingPointError, torch.linalg.LinAlgError])
def test_what_refuses_numbers_that_are_not_finite_has_diverged(error):
    class Refuses(torch.optim.SGD):
        def step(self, closure=None):
            if not all(p.grad.isfinite().all() for p in self.param_groups[0]["params"]):
                raise error("not finite")
            super().step()

    class Breaks(torch.optim.SGD):
        def step(self, closure=None):
            raise error("of its own making")

    wild = replace(TRIAL, hyper=(("lr", 1e25),), schedule="constant")
    result, _ = run(wild, replace(LINE, batch=1), DATA, Refuses)
    assert result.diverged_at == result.step[-1] and result.final == math.inf
    with pytest.raises(error, match="of its own making"):
        run(TRIAL, LINE, DATA, Breaks)


def test_evaluation_is_of_the_evaluation_form():
    calls = []

    class Both(torch.optim.SGD):
        def eval(self):
            calls.append("eval")

        def train(self):
            calls.append("train")

        def step(self, closure=None):
            assert calls[-1] == "train"
            return super().step()

    run(TRIAL, LINE, DATA, Both)
    assert calls == ["eval", "train"] * (len(calls) // 2) + ["eval"]


def test_a_nag_ends_at_its_own_point_not_the_look_ahead():
    trial = replace(TRIAL, hyper=(("lr", 0.05),))
    result, model = run(trial, LINE, DATA, ravine.NAG)
    assert nn.functional.mse_loss(model(DATA[2]), DATA[3]).item() == pytest.approx(result.valid[-1], rel=1e-6)


def f1(output, y):
    """Of the second class, by sklearn's: no mean over rows."""
    return sklearn.metrics.f1_score(y, output.argmax(1))


def auc(output, y):
    return sklearn.metrics.roc_auc_score(y, output[:, 1] - output[:, 0])


def rmse(output, y):
    return (output[:, 1] - y).square().mean().sqrt()


@pytest.mark.parametrize("metric", [f1, auc, rmse])
def test_a_metric_is_of_all_rows_at_once(metric):
    """2,500 rows go through the model in three passes; what F1, AUC and RMSE are is known of all of them alone."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2500, 3, generator=draw)
    y = (x[:, 0] + 0.5 * torch.linspace(-3, 3, 2500) + torch.randn(2500, generator=draw) > 0).long()  # rarer at first
    data = Data(x[:40], y[:40], x, y, x.flip(0), y.flip(0))
    task = Task("rows", lambda: data, lambda: nn.Linear(3, 2), metric=metric, batch=8)
    result, model = run(replace(TRIAL, epochs=3), task, data, ravine.SGD)
    expected = float(metric(model(x).detach(), y))
    assert result.metric[-1] == pytest.approx(expected, rel=1e-6)
    assert result.test_metric == pytest.approx(expected, rel=1e-6)
    chunks = [float(metric(model(x[i : i + 1000]).detach(), y[i : i + 1000])) for i in range(0, 2500, 1000)]
    assert abs(sum(n * m for n, m in zip((1000, 1000, 500), chunks, strict=True)) / 2500 - expected) > 1e-3


def test_a_metric_sees_all_that_a_model_says():
    class Two(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            return {"line": out, "both": (out, [x])}

    seen = []
    x = torch.linspace(-1, 1, 2100)[:, None]
    task = replace(
        LINE, model=lambda: Two(1, 1), loss=lambda said, y: nn.functional.mse_loss(said["line"], y),
        metric=lambda said, y: seen.append((said, y)) or 0.0,
    )  # fmt: skip
    _, model = run(replace(TRIAL, epochs=1), task, Data(X, 3 * X, x, 3 * x), ravine.SGD)
    said, y = [pair for pair in seen if len(pair[1]) == len(x)][-1]
    assert torch.equal(y, 3 * x) and torch.equal(said["both"][1][0], x) and isinstance(said["both"], tuple)
    torch.testing.assert_close(said["both"][0], model(x)["line"])


@pytest.mark.parametrize(("epochs", "batches"), [(1, 45), (3, 23), (15, 23), (40, 7), (1, 5)])
def test_points_lie_at_epoch_ends_and_are_enough(epochs, batches):
    marks = evaluation_steps(epochs, batches)
    assert marks >= {batches * e for e in range(1, epochs + 1)} and max(marks) == epochs * batches
    assert len(marks) >= min(20, epochs * batches)


COMMON = {"task": "line", "epochs": 2, "batch": 8, "schedule": "cosine"}
NAG, ADAM = Entry("nag", ravine.NAG, (("lr", 0.05),)), Entry("adam", ravine.Adam, (("lr", 0.1),))


def test_a_maker_fixes_what_all_trials_share():
    make, other = maker(NAG, "does", COMMON), maker(NAG, "does something else", COMMON)
    trial = make(NAG.hyper, 3)
    assert (trial.optimizer, trial.lr, trial.seed, trial.epochs, trial.schedule) == ("nag", 0.05, 3, 2, "cosine")
    assert trial.key == make(NAG.hyper, 3).key != other(NAG.hyper, 3).key


def test_what_needs_no_schedule_has_none():
    free = Entry("schedulefreesgd", ravine.ScheduleFreeSGD)
    assert maker(free, "does", COMMON)((("lr", 1.0),), 0).schedule == "constant"


def chain(seed: int = 0) -> tuple[Trial, ...]:
    """Both, each from the weights of the one before."""
    makes = carried_over([NAG, ADAM], [maker(entry, "does", COMMON) for entry in (NAG, ADAM)])
    return tuple(make(entry.hyper, seed) for make, entry in zip(makes, (NAG, ADAM), strict=True))


def test_carried_over():
    first, second = chain()
    assert (first.after, second.after) == ("", first.key) and chain(1)[1].after != first.key


def test_a_job_of_several_goes_on_from_the_weights_of_the_last():
    (_, first), (_, second) = run_job(chain(), LINE, DATA, lambda trial, step: None)
    assert second.valid[0] == first.valid[-1] < first.valid[0]


def test_carried_over_the_yardstick_is_still_the_loss_of_fresh_weights():
    def solved():
        model = nn.Linear(1, 1)
        with torch.no_grad():
            model.weight.fill_(2.95)
            model.bias.fill_(1.0)
        return model

    class Nudge(torch.optim.SGD):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.data.add_(0.1)

    result, _ = run(replace(TRIAL, epochs=1), LINE, DATA, Nudge, solved())
    assert result.train[-1] > 20 * result.train[0] and result.diverged_at is None


def test_the_content_is_all_the_code_that_decides(tmp_path, monkeypatch):
    (tmp_path / "base_of.py").write_text("import torch\nclass Base(torch.optim.SGD): ...\n")
    (tmp_path / "mine_of.py").write_text("from base_of import Base\nclass Mine(Base): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("mine_of:Mine", importlib.import_module("mine_of").Mine)

    def key():
        return maker(entry, "does", COMMON)((("lr", 0.1),), 0).key

    before, seen = key(), set[str]()
    file = tmp_path / "base_of.py"
    for same in (
        "import torch\nclass Base(torch.optim.SGD): ...\n# a comment\n",
        '"""Words."""\nimport torch\n\n\nclass Base(torch.optim.SGD):\n    """More."""\n\n    ...  # and more\n',
    ):
        file.write_text(same)
        assert key() == before
    for other in (
        "import torch\nclass Base(torch.optim.SGD): slow = 1\n",
        "import torch\nclass Base(torch.optim.SGD): slow = '1'\n",
        "no Python",
        "no other Python",
        "\0",
    ):
        file.write_text(other)
        seen.add(key())
    assert len(seen) == 5 and before not in seen
    monkeypatch.setattr("ravine.lab.protocol.trials._ours", lambda: "other code of ravine")
    assert key() not in {before, *seen}


def test_a_docstring_of_ours_discards_nothing(tmp_path, monkeypatch):
    """A copy of the package: words change in the page of an optimizer, then its rule does."""
    root = tmp_path / "ravine"
    for name in ("optim/adam.py", "optimizer/optimizer.py", "lab/protocol/trial.py", "catalog/create.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((Path(ravine.__file__).parent / name).read_bytes())
    monkeypatch.setattr(trials.ravine, "__file__", str(root / "__init__.py"))
    ours, page = trials._ours.__wrapped__, root / "optim/adam.py"
    before, text = ours(), page.read_text()
    page.write_text(f"{text}# a note\n".replace('"""', '"""In other words: ', 1))
    assert ours() == before
    page.write_text(text.replace("(s.m / c1)", "(2 * s.m / c1)"))
    assert ours() != before


def test_what_the_content_names_is_there():
    root = Path(ravine.__file__).parent
    assert [name for name in (*trials.BESIDE, *trials.LAB) if not (root / name).exists()] == []


def test_classic_learns_real_images(fashion_mnist):
    from ravine.lab.protocol import search
    from ravine.lab.tasks import load_task

    whole = load_task("fashion-mnist-classic", fashion_mnist)
    x, y, x_valid, y_valid = whole.load()[:4]
    assert (len(x), len(x_valid), float(x.max())) == (60_000, 10_000, 1.0)
    small = Data(x[:640], y[:640], x_valid[:200], y_valid[:200])
    for entry in search.classic(None):
        result, model = run(replace(TRIAL, hyper=entry.hyper, epochs=2, batch=32), whole, small, entry.cls)
        assert result.valid[-1] < 0.9 * result.valid[0] and result.metric[-1] > 0.4
        assert sum(p.numel() for p in model.parameters()) == 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10


class Trained(torch.optim.SGD):
    """As Schedule-Free's official classes do, it refuses a step before train()."""

    ready = False

    def train(self):
        self.ready = True

    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.ready:
            raise Exception("Optimizer was not in train mode when step is called.")
        super().step()


class Frail(torch.optim.SGD):
    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("too frail")


def test_the_stopwatch_puts_optimizers_into_their_training_form():
    (found,) = measure([(TRIAL, Trained)], LINE, DATA, seconds=0.0)
    assert isinstance(found, StepTime) and found.whole > found.update > 0


def test_one_that_cannot_be_timed_does_not_end_the_others():
    first, frail, last = measure([(TRIAL, ravine.SGD), (TRIAL, Frail), (TRIAL, Trained)], LINE, DATA, seconds=0.0)
    assert isinstance(frail, RuntimeError) and str(frail) == "too frail"
    assert isinstance(first, StepTime) and isinstance(last, StepTime) and last.peak >= 0


class Staggered(torch.optim.SGD):
    """One step of ten takes long."""

    taken = 0

    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        self.taken += 1
        if self.taken % 10 == 0:
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end:
                pass
        super().step()


def test_dear_work_in_every_tenth_step_is_in_the_time_of_a_step():
    (found,) = measure([(TRIAL, Staggered)], LINE, DATA, seconds=0.0)
    assert isinstance(found, StepTime) and found.update >= 2.0  # a tenth of twenty milliseconds


@pytest.mark.parametrize(("share", "end"), [(0.25, 20), (0.3, 24), (0.01, 4)])
def test_a_hopeless_trial_is_given_up_at_its_share_and_others_are_not(share, end):
    """80 steps, of which each fourth is looked at; at this rate the loss stays as it is."""
    still = replace(TRIAL, hyper=(("lr", 1e-30),), epochs=20, give_up=share)
    result, _ = run(still, LINE, DATA, ravine.SGD)
    assert (result.diverged_at, result.step[-1], result.test) == (end, end, None)
    learns = replace(TRIAL, epochs=20)
    one, two = (run(t, LINE, DATA, ravine.SGD)[0] for t in (learns, replace(learns, give_up=share)))
    assert replace(one, seconds=0) == replace(two, seconds=0) and one.diverged_at is None


def test_only_trials_of_the_search_are_given_up():
    make = maker(Entry("sgd", ravine.SGD), "does", COMMON, 0.25)
    assert [make((("lr", 0.1),), seed).give_up for seed in (0, 4, 1000, 1031)] == [None, None, 0.25, 0.25]
