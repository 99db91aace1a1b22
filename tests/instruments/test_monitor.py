"""The monitor finds what was planted, says where, and is silent on healthy runs, which it does not change."""

import json
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

import ravine
from ravine.instruments.histogram import BINS, LOW
from ravine.mods import ClipNorm
from ravine.strategies import SAM, Lookahead

cross_entropy = nn.functional.cross_entropy


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)


def mlp(depth=1, width=64):
    hidden = [x for _ in range(depth) for x in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def cnn():
    parts = [
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    ]  # fmt: skip
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *parts, nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 10))


class Transformer(nn.Module):
    """The rows of a digit as eight tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Linear(8, 32), nn.Parameter(torch.zeros(8, 32))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(2))
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = self.embed(x.unflatten(1, (8, 8))) + self.place
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(1))


def zero_start():
    net = mlp(2)
    nn.init.zeros_(net[-1].weight)
    return net


def train(model, opt, data, steps=120, batch=64, loss=cross_entropy, schedule=None, **how):
    """The monitor after a run."""
    x, y = data
    order = torch.Generator().manual_seed(0)
    said = []
    monitor = ravine.Monitor(model, opt, **{"tell": said.append, **how})
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=order)
        value = loss(model(x[rows]), y[rows])
        opt.zero_grad()
        value.backward()
        opt.step()
        monitor.step(value)
        if schedule is not None:
            schedule.step()
    if how.get("tell", 0) is not None:
        assert said == [str(finding) for finding in monitor.findings]
    return monitor


def rules(monitor):
    return {finding.rule for finding in monitor.findings}


# healthy

ADAM, SGD = ravine.Adam, partial(ravine.SGD, lr=0.1)
MOMENTUM = partial(ravine.SGD, lr=0.05, momentum=0.9)


@pytest.mark.parametrize(
    ("model", "opt", "every"),
    [
        (mlp, ADAM, 10),
        (mlp, partial(ADAM, lr=1e-2), 1),
        (mlp, SGD, 1),
        (mlp, partial(torch.optim.AdamW, lr=3e-3), 1),
        (partial(mlp, 4), ADAM, 10),
        (partial(mlp, 4), MOMENTUM, 10),
        (zero_start, ADAM, 1),
        (zero_start, SGD, 1),
        pytest.param(cnn, ADAM, 10, marks=pytest.mark.ci),
        pytest.param(cnn, MOMENTUM, 10, marks=pytest.mark.ci),
        pytest.param(Transformer, ADAM, 10, marks=pytest.mark.ci),
        pytest.param(
            Transformer,
            partial(ravine.AdamW, lr=3e-3, mods=[ClipNorm(1.0)], storage="int8"),
            10,
            marks=pytest.mark.ci,
        ),
    ],
)
@pytest.mark.ci
def test_a_healthy_run_hears_nothing(digits, model, opt, every):
    model = model()
    opt = opt(model.parameters())
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: min(1.0, t / 20))  # the first step has a rate of 0
    monitor = train(model, opt, digits, steps=200, schedule=warm, every=every)
    assert monitor.findings == [] and len(monitor.samples) == 200 // every + (every > 1)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 32])
@pytest.mark.parametrize("model", [mlp, partial(mlp, 4), cnn, Transformer])
@pytest.mark.parametrize(
    ("opt", "rates"),
    [(ADAM, {2: 3e-4, 32: 1e-3}), (MOMENTUM, {2: 1e-3, 32: 0.05}), (ravine.Lion, {2: 3e-5, 32: 3e-4})],
)
def test_a_long_healthy_run_hears_nothing(digits, model, opt, rates, batch):
    """The rates that suit a batch: of 2, Lion jumps at 1e-3, and Monitor says so."""
    model = model()
    assert train(model, opt(model.parameters(), lr=rates[batch]), digits, steps=3000, batch=batch).findings == []


def test_it_changes_nothing(digits):
    """Weights, running averages and random numbers of a run with dropout and a NaN that is traced, bit for bit."""
    ends = []
    for watched in (True, False):
        torch.manual_seed(0)
        model = cnn()
        opt = ADAM(model.parameters(), nonfinite="skip", measured=True)
        monitor = ravine.Monitor(model, opt, every=3, tell=None) if watched else None
        for t in range(20):
            x, y = digits[0][64 * t : 64 * t + 64], digits[1][64 * t : 64 * t + 64]
            loss = cross_entropy(model(x / 0 if t == 11 else x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if monitor is not None:
                monitor.step(loss)
        if monitor is not None:
            assert rules(monitor) == {"nan"} and opt.skipped > 0
            monitor.close()
            assert not model._forward_hooks and not opt._optimizer_step_pre_hooks and not opt._optimizer_step_post_hooks
            assert not any(module._forward_hooks for module in model.modules())
        ends.append([x.clone() for x in model.state_dict().values()] + [torch.rand(3)])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


# what was planted


def test_a_dead_layer_is_found(digits):
    model = mlp(3)
    with torch.no_grad():
        model[2].bias.fill_(-100)
    monitor = train(model, ADAM(model.parameters()), digits)
    found = [finding for finding in monitor.findings if finding.rule == "dead units"]
    assert [finding.layers for finding in found] == [("3",)] and "all 64 units of '3'" in found[0].seen
    (frozen,) = [finding for finding in monitor.findings if finding.rule == "frozen"]
    assert frozen.layers == ("0", "2") and "the gradient is exactly zero" in frozen.seen
    assert monitor.samples[-1].dead["3"] == (64, 64) and monitor.samples[-1].dead["5"][0] < 32


def test_dead_channels_are_found(digits):
    model = cnn()
    with torch.no_grad():
        model[2].bias[:10] = -100
    monitor = train(model, ADAM(model.parameters()), digits, steps=60)
    (finding,) = monitor.findings
    assert finding.layers == ("3",) and "10 of 16 units" in finding.seen


@pytest.mark.parametrize(
    ("depth", "opt"),
    [
        (1, partial(ADAM, lr=1.0)),
        (1, partial(torch.optim.Adam, lr=1.0)),
        (1, partial(ravine.SGD, lr=20.0)),
        (4, partial(ravine.SGD, lr=20.0)),
        (1, partial(ravine.SignSGD, lr=0.3)),
    ],
)
def test_a_rate_that_is_too_large_is_found(digits, depth, opt):
    model = mlp(depth)
    monitor = train(model, opt(model.parameters()), digits, steps=60)
    finding = next(finding for finding in monitor.findings if finding.rule == "lr too large")
    assert finding.step <= 20 and "a third of the lr" in finding.advice


def test_steps_that_stay_large_are_found(digits):
    """Normed layers bear it: the loss falls, and the weights are made anew every few steps."""
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    opt = ravine.SGD([{"params": model[0].weight, "lr": 30.0, "weight_decay": 0.01}, *(
        {"params": list(part.parameters())} for part in (model[1], model[3]))], lr=0.1)  # fmt: skip
    monitor = train(model, opt, digits, steps=200)
    assert "lr too large" in rules(monitor)
    (finding,) = [x for x in monitor.findings if x.rule == "lr too large"]
    assert finding.layers == ("0",) and "each step changes '0' by" in finding.seen


def test_a_spike_is_found():
    model = nn.Linear(8, 1)
    opt = SGD(model.parameters(), lr=0.05)
    x = torch.randn(2000, 8)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(2000, 1)
    said = []
    monitor = ravine.Monitor(model, opt, tell=said.append)
    for t in range(100):
        a, b = x[20 * t : 20 * t + 20], y[20 * t : 20 * t + 20]
        loss = nn.functional.mse_loss(model(a), b + 50 * (t == 70))
        opt.zero_grad()
        loss.backward()
        if t != 70:
            opt.step()
        monitor.step(loss)
    (finding,) = monitor.findings
    assert (finding.rule, finding.step) == ("loss spike", 71) and said == [str(finding)]


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Inside(nn.Module):
    """A NaN between two modules."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.b(self.a(x) + (x - 1).sqrt() * 0)


def planted(model, opt, x, t, loss=lambda out: out.square().mean(), bad=7):
    """The findings of a run whose batch number `bad` is `t`."""
    monitor = ravine.Monitor(model, opt, tell=None)
    for i in range(12):
        value = loss(model(t if i + 1 == bad else x))
        opt.zero_grad()
        value.backward()
        opt.step()
        monitor.step(value)
    return monitor.findings


@pytest.mark.parametrize("optimizer", [partial(ADAM, lr=1e-3), partial(torch.optim.Adam, lr=1e-3)])
def test_the_module_that_makes_a_nan_is_named_in_the_step_that_has_it(optimizer):
    ones = torch.ones(3, 4) + torch.rand(3, 4)
    model = nn.Sequential(nn.Identity(), Log(), nn.Linear(4, 4), nn.Linear(4, 1))
    (finding,) = planted(model, optimizer(model.parameters()), ones, -ones)
    assert (finding.rule, finding.step, finding.layers) == ("nan", 7, ("1",))
    assert "its inputs and its own weights are finite" in finding.seen

    model = Inside()
    (finding,) = planted(model, optimizer(model.parameters()), ones, -ones)
    assert (finding.step, finding.layers) == (7, ("b",)) and "no module before it has made" in finding.seen

    model = nn.Linear(4, 1)
    (finding,) = planted(model, optimizer(model.parameters()), ones, ones / 0)
    assert (finding.step, finding.layers) == (7, ()) and "the batch that the model was given" in finding.seen


def test_a_loss_function_that_makes_a_nan_is_named():
    model, x = nn.Linear(4, 1), torch.rand(3, 4)
    calls = iter(range(99))
    (finding,) = planted(
        model, ADAM(model.parameters()), x, x, loss=lambda out: out.sum() * (torch.nan if next(calls) == 4 else 1.0)
    )
    assert (finding.step, finding.layers) == (5, ()) and "the loss function makes it" in finding.seen


@pytest.mark.parametrize("measured", [True, False])
def test_a_nan_that_backward_makes_is_named(measured):
    """The root of 0 is finite and its slope is not."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    opt = (ADAM if measured else torch.optim.Adam)(model.parameters())
    x = torch.rand(3, 4)
    calls = iter(range(99))
    bad = 7 if measured else 10  # of torch's optimizers the gradients are read in samples
    found = planted(model, opt, x, x, loss=lambda out: (out * 0 if next(calls) == bad - 1 else out).abs().sqrt().mean())
    (finding,) = found
    assert (finding.rule, finding.step, finding.layers) == ("nan", bad, ("1",))
    assert "the gradient of '1.bias' and of 3 parameters before it is not" in finding.seen


def test_a_nan_before_an_exception_is_told_at_the_end():
    model = nn.Sequential(nn.Linear(4, 4), Log())
    opt = ADAM(model.parameters(), nonfinite="raise")
    model[0].weight.data.fill_(-1)
    model[0].bias.data.fill_(0)
    with pytest.raises(FloatingPointError), ravine.Monitor(model, opt, tell=None) as monitor:
        model(torch.ones(2, 4)).square().sum().backward()
        opt.step()
    assert [x.layers for x in monitor.findings] == [("1",)]


def test_outputs_that_are_meant_to_be_infinite_are_none(digits):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return nn.functional.pad(self.net(x), (0, 2), value=-math.inf)

    model = Masked()
    assert train(model, ADAM(model.parameters()), digits).findings == []


def test_frozen_layers_are_found(digits):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.cut, self.last = mlp(), nn.Linear(10, 10), nn.Linear(10, 10)
            self.still, self.deliberate = nn.Linear(10, 10), nn.Linear(10, 10).requires_grad_(False)
            self.other = nn.Linear(10, 10)

        def forward(self, x):
            x = self.first(x)
            x = x + self.deliberate(x) + self.other(x) + self.still(x)
            return self.last(x) + self.cut(x).detach()

    model = Net()
    live = [*model.first.parameters(), *model.cut.parameters(), *model.last.parameters()]
    opt = ravine.Adam([{"params": live}, {"params": list(model.still.parameters()), "lr": 0.0}])
    monitor = train(model, opt, digits, steps=50)
    found = {finding.layers: finding.seen.partition(": ")[2] for finding in monitor.findings}
    assert found == {
        ("cut",): "no gradient arrives",
        ("other",): "requires_grad is set, but the optimizer does not have it",
        ("still",): "the lr is 0",
    }
    assert all(finding.rule == "frozen" and finding.step == 40 for finding in monitor.findings)


def test_updates_that_rounding_takes_are_found(digits):
    model = mlp().bfloat16()
    x, y = digits[0].bfloat16(), digits[1]
    loss = lambda out, y: cross_entropy(out.float(), y)  # noqa: E731
    lost = train(model, ravine.SGD(model.parameters(), lr=1e-14), (x, y), loss=loss)
    assert [finding.rule for finding in lost.findings] == ["frozen"] and "updates are smaller" in lost.findings[0].seen
    model = mlp().bfloat16()
    assert train(model, ADAM(model.parameters(), master_bits=16), (x, y), loss=loss).findings == []


# what is measured


@pytest.mark.parametrize("optimizer", [partial(ADAM, lr=0.01), partial(torch.optim.Adam, lr=0.01)])
def test_norms_and_histograms_are_what_they_say(optimizer):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 1, bias=False))
    opt = optimizer(model.parameters())
    monitor = ravine.Monitor(model, opt, every=2, histograms=1, tell=None)
    for t in range(4):
        old = [p.detach().clone() for p in model.parameters()]
        loss = model(torch.randn(16, 20)).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        monitor.step(loss)
        if t in (0, 1, 3):
            sample = monitor.samples[-1]
            assert sample.step == t + 1 and [x.name for x in monitor.layers] == ["0", "2"]
            parts = [[0, 1], [2]]
            params = list(model.parameters())

            def norms(tensors, parts=parts):
                return [torch.cat([tensors[i].flatten() for i in part]).norm().item() for part in parts]

            moved = [p.detach() - x for p, x in zip(params, old, strict=True)]
            grads = [p.grad for p in params]
            assert sample.grad_norm == pytest.approx(norms(grads), rel=1e-5)
            assert sample.update_norm == pytest.approx(norms(moved), rel=1e-3)
            assert sample.weight_norm == pytest.approx(norms(old), rel=1e-5)
            ratios = [u / w for u, w in zip(norms(moved), norms(old), strict=True)]
            assert sample.ratio == pytest.approx(ratios, rel=1e-3)
            rates = [u / g for u, g in zip(norms(moved), norms(grads), strict=True)]
            assert sample.effective_lr == pytest.approx(rates, rel=1e-3) and sample.lr == [0.01, 0.01]
            for part, row in zip(parts, sample.gradients.tolist(), strict=True):
                sizes = torch.cat([grads[i].flatten() for i in part]).abs().double().log2().floor().clamp(LOW)
                assert row == [int((sizes - LOW == i).sum()) for i in range(BINS)]
            for part, row in zip(parts, sample.updates.tolist(), strict=True):
                sizes = torch.cat([moved[i].flatten() for i in part]).abs().log2().floor()
                assert row == [int((sizes - LOW == i).sum()) for i in range(BINS)]


def test_what_is_in_several_places_is_counted_once(digits):
    model = mlp(2, 64)
    model[2].weight = model[0].weight
    monitor = train(model, ADAM(model.parameters()), digits, steps=1)
    assert [layer.name for layer in monitor.layers] == ["0", "2", "4"]
    assert [len(layer.params) for layer in monitor.layers] == [2, 1, 2]


def test_it_goes_with_strategies_release_and_sparse_gradients(digits):
    for wrap in (Lookahead, SAM):
        model = mlp()
        opt = wrap(ADAM(model.parameters()))
        x, y = digits[0][:64], digits[1][:64]
        monitor = ravine.Monitor(model, opt, tell=None)
        for _ in range(10):

            def closure(model=model, opt=opt, x=x, y=y):
                opt.zero_grad()
                loss = cross_entropy(model(x), y)
                loss.backward()
                return loss

            monitor.step(opt.step(closure))
        assert len(monitor.samples) == 2 and not monitor.findings and min(monitor.samples[-1].update_norm) > 0

    model = mlp()
    opt = ADAM(model.parameters())
    released = ravine.release(model, opt)
    monitor = train(model, opt, digits, steps=60)
    assert len(monitor.samples) == 7 and not monitor.findings and min(monitor.samples[-1].ratio) > 0
    released.remove()

    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(32, 10))
    opt = ravine.SGD(model.parameters(), lr=0.1)
    monitor = train(model, opt, (torch.randint(50, (200, 4)), torch.randint(10, (200,))), steps=60)
    assert not opt.param_groups[0]["measured"] and not monitor.findings and min(monitor.samples[-1].update_norm) > 0


@pytest.mark.parametrize("optimizer", [ADAM, torch.optim.Adam, partial(torch.optim.Adam, fused=True)])
def test_a_grad_scaler_that_passes_over_steps_is_healthy(digits, optimizer):
    model = mlp()
    opt = optimizer(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)  # the first losses overflow
    monitor = ravine.Monitor(model, opt, every=1, tell=None)
    for _ in range(60):
        loss = 1000 * cross_entropy(model(digits[0][:64]), digits[1][:64])
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        monitor.step(loss)
    assert monitor.findings == [] and 0 < len(monitor.samples) < 60
    assert all(x < 1e4 for sample in monitor.samples for x in sample.grad_norm)


# what is told


def test_a_step_that_calls_the_step_of_its_parent_is_one_step():
    """torch runs the hooks of both, once any optimizer of the parent's class has been made."""

    class Ours(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    updates = []
    for cls in (torch.optim.SGD, Ours):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        with ravine.Monitor(model, opt := cls(model.parameters(), lr=0.1), every=1, tell=None) as monitor:
            for _ in range(2):
                opt.zero_grad()
                model(torch.ones(3, 4)).square().sum().backward()
                opt.step()
                monitor.step()
        updates.append(monitor.history["update_norm"])
    assert updates[0] == updates[1] and len(updates[0]) == 2


def test_the_report_is_a_table_and_words(digits, capsys):
    model = mlp()
    with torch.no_grad():
        model[0].bias.fill_(-100)
    monitor = train(model, ADAM(model.parameters()), digits, tell=None)
    assert monitor.report() == monitor.findings
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["step 120", lines[1]] and lines[1].split()[:2] == ["layer", "‖g‖"]
    assert (
        lines[2].split()[0] == "0" and lines[2].endswith("zero gradient") and lines[4].split() == ["1", "64/64", "dead"]
    )
    assert lines[5:] == [str(finding) for finding in monitor.findings]
    model = mlp()
    healthy = train(model, ADAM(model.parameters()), digits, steps=1)
    healthy.report()
    assert capsys.readouterr().out.endswith("nothing looks wrong\n")


def test_the_history_is_saved(digits, tmp_path):
    model = mlp()
    monitor = train(model, ADAM(model.parameters()), digits, steps=25, histograms=2)
    monitor.save(tmp_path / "run.json")
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["step"] == [1, 10, 20] and saved["layers"] == ["0", "2"] and len(saved["loss"]) == 25
    assert len(saved["edges"]) == BINS and [sum(row) for row in saved["updates"][1]] == [4096 + 64, 650]
    for kind in ("lr", "grad_norm", "update_norm", "weight_norm", "ratio", "effective_lr"):
        assert [len(row) for row in saved[kind]] == [2, 2, 2], kind
    assert saved["histogram_step"] == [1, 20] and [len(x) for x in saved["gradients"]] == [2, 2]
    assert saved["dead"] == {"1": [0.0, 0.0, 0.0]} and saved["findings"] == []


def test_a_long_history_becomes_coarser(digits, monkeypatch):
    monkeypatch.setattr("ravine.instruments.monitor.KEPT", 10)
    model = mlp()
    monitor = train(model, ADAM(model.parameters()), digits, steps=60, every=1, histograms=0)
    steps = [sample.step for sample in monitor.samples]
    assert 5 <= len(steps) <= 10 and len({b - a for a, b in pairwise(steps)}) == 1
    assert monitor.history["updates"] == []


class Writer:
    def __init__(self):
        self.scalars, self.histograms = {}, {}

    def add_scalar(self, tag, scalar_value, global_step=None):
        self.scalars.setdefault(tag, []).append((global_step, scalar_value))

    def add_histogram_raw(self, tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts, global_step=None):
        assert len(bucket_limits) == len(bucket_counts) == BINS and num == builtin_sum(bucket_counts)
        middle = [x - 0.5 for x in bucket_limits]
        assert sum == builtin_sum(n * x for n, x in zip(bucket_counts, middle, strict=True)) and min <= sum / num <= max
        assert sum_squares >= sum**2 / num - 1e-6
        self.histograms.setdefault(tag, []).append(global_step)


builtin_sum = sum


def test_a_writer_of_tensorboard_gets_all(digits):
    model, writer = mlp(), Writer()
    monitor = train(model, ADAM(model.parameters()), digits, steps=20, to=writer, histograms=1)
    assert writer.scalars["ratio/2"] == [(sample.step, sample.ratio[1]) for sample in monitor.samples]
    assert [step for step, _ in writer.scalars["loss"]] == [1, 10, 20] and writer.scalars["dead/1"][-1] == (20, 0.0)
    assert writer.histograms == {f"log2 {k}/{i}": [1, 10, 20] for k in ("gradients", "updates") for i in (0, 2)}


def test_close_puts_everything_back(digits):
    model = mlp()
    opt = ADAM(model.parameters())
    monitor = train(model, opt, digits, steps=1)
    assert opt.param_groups[0]["measured"]
    monitor.close()
    assert not opt.param_groups[0]["measured"]
    with pytest.raises(RuntimeError, match="closed"):
        monitor.step(1.0)


def test_groups_may_be_added(digits):
    model = mlp()
    opt = ADAM(model[0].parameters())
    monitor = train(model, opt, digits, steps=20)
    opt.add_param_group({"params": list(model[2].parameters())})
    for _ in range(20):
        cross_entropy(model(digits[0][:64]), digits[1][:64]).backward()
        opt.step()
        monitor.step(0.5)
    assert min(monitor.samples[-1].update_norm) > 0


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"every": 0}, ValueError, "every is 0"),
        ({"opt": None}, TypeError, "takes a module and an optimizer, not Linear and NoneType"),
    ],
)
def test_mistakes(given, error, said):
    model = nn.Linear(2, 2)
    with pytest.raises(error, match=said):
        ravine.Monitor(model, **{"opt": ADAM(model.parameters()), **given})
