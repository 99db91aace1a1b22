"""The range test: a rate from losses, a run that leaves no trace, and the command."""

import importlib
import json
import math
import random
import sys
from copy import deepcopy

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.cli import main
from ravine.lab import LabError, find_lr
from ravine.lab.protocol import range_test, suggestion
from ravine.strategies import SAM

from .conftest import ROOT

RATES = range_test.rates(1e-6, 1.0, 100)


def model(*, norm=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.1),
                         nn.Linear(24, 3))  # fmt: skip


def loader(**how):
    torch.manual_seed(1)
    x = torch.randn(240, 6)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=24, shuffle=True, **how)


def train(net, opt, batches, steps=3):
    net.train()
    for _, (x, y) in zip(range(steps), batches, strict=False):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step(lambda loss=loss: loss)


def everything(net, *optimizers):
    """All that training on would depend on, to compare."""
    return deepcopy(
        {
            "weights": [x.detach() for x in (*net.parameters(), *net.buffers())],
            "gradients": [x.grad for x in net.parameters()],
            "modes": [m.training for m in net.modules()],
            "optimizers": [opt.state_dict() for opt in optimizers],
            "random": [torch.get_rng_state(), torch.tensor(numpy.random.get_state()[1].tolist()), random.getstate()],
        }
    )


def same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), [b[k] for k in a]
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    else:
        assert a == b


MAKERS = {
    "torch's Adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "torch's Adam, lr a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-3), capturable=False, foreach=False),
    "SGD": lambda p: ravine.Momentum(p, lr=0.05),
    "Adam": lambda p: ravine.Adam(p, lr=1e-3),
    "Schedule-Free": lambda p: ravine.ScheduleFreeAdamW(p, lr=1e-3),
    "int8": lambda p: ravine.AdamW(p, lr=1e-3, storage="int8"),
    "MoMo": lambda p: ravine.MoMo(p, lr=1.0),
    "SAM": lambda p: ravine.strategies.SAM(ravine.SGD(p, lr=0.05)),
    "Lookahead": lambda p: ravine.strategies.Lookahead(ravine.Adam(p, lr=1e-3)),
    "EMA": lambda p: ravine.Adam(p, lr=1e-3, mods=[ravine.mods.EMA(0.9)]),
}


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_nothing_is_left_of_it(make, warm):
    runs = []
    for tested in (False, True):
        net, batches = model(), loader(generator=torch.Generator().manual_seed(2))
        opt = make(net.parameters())
        train(net, opt, batches, warm)
        lr, before = opt.param_groups[0]["lr"], everything(net, opt)
        if tested:
            find_lr(net, opt, batches, steps=20, low=1e-3, high=1e3, seeds=2)
            same(everything(net, opt), before)
            assert opt.param_groups[0]["lr"] is lr
        train(net, opt, batches)
        runs.append(everything(net, opt))
    same(*runs)


def test_nothing_is_left_after_an_error_or_ctrl_c():
    net, batches = model(), loader()
    opt = ravine.Adam(net.parameters(), lr=1e-3)
    train(net, opt, batches)
    before = everything(net, opt)
    for error in (KeyboardInterrupt, ZeroDivisionError):
        calls = iter(range(30))

        def loss(output, target, calls=calls, error=error):
            if next(calls) == 25:
                raise error
            return nn.functional.cross_entropy(output, target)

        with pytest.raises(error):
            find_lr(net, opt, batches, loss=loss, steps=20)
        assert next(calls) == 26
        same(everything(net, opt), before)


def test_a_buffer_that_is_replaced_comes_back():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(6, 3), 0
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.seen, self.calls = self.seen + len(x), self.calls + 1
            return self.linear(x)

    net = Counts()
    seen = net.seen
    find_lr(net, ravine.SGD(net.parameters(), lr=0.1), loader(), steps=20)
    assert net.seen is seen and net.seen == 0 and net.calls == 0


def test_a_scheduler_may_be_attached_and_goes_on():
    rates = []
    for tested in (False, True):
        net, batches = model(), loader()
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[4].parameters(), "lr": 0.2}]
        opt = torch.optim.SGD(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: t / 10)  # from 0: what is the ratio of zeros?
        if tested:
            seen = []

            def loss(output, target, opt=opt, seen=seen):
                seen.append([group["lr"] for group in opt.param_groups])
                return nn.functional.cross_entropy(output, target)

            assert find_lr(net, opt, batches, loss=loss, steps=20).lrs[0] == pytest.approx(1e-7)
            assert all(b == pytest.approx(2 * a) and b > 0 for a, b in seen)
        out = []
        for _ in range(5):
            train(net, opt, batches, 1)
            schedule.step()
            out.append([group["lr"] for group in opt.param_groups])
        rates.append(out)
    assert rates[0] == rates[1]


@pytest.mark.parametrize("several", [False, True])
def test_groups_and_optimizers_keep_their_ratios(several):
    net, seen = model(), []
    groups = [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[4].parameters(), "lr": 0.04}]
    opts = [ravine.SGD([g]) for g in groups] if several else [ravine.SGD(groups)]

    def loss(output, target):
        seen.append([g["lr"] for opt in opts for g in opt.param_groups])
        return nn.functional.cross_entropy(output, target)

    weights = net[0].weight.detach().clone()
    found = find_lr(net, opts if several else opts[0], loader(), loss=loss, steps=20, low=1e-4, high=1.0, seeds=1)
    assert [b for _, b in seen[:-1]] == pytest.approx(found.lrs) and seen[-1] == seen[-2]
    assert all(b == pytest.approx(4 * a) for a, b in seen)
    assert found.losses[0][-1] < found.start and torch.equal(weights, net[0].weight)


def test_it_ends_where_the_loss_diverges():
    net = model(norm=False)
    found = find_lr(net, ravine.SGD(net.parameters(), lr=1.0), loader(), low=1e-3, high=1e6)
    assert all(len(losses) < 100 for losses in found.losses) and len(found.smooth) < 100
    assert found.lr is not None and "it diverges at" in found.reason and str(found).startswith(f"lr {found.lr:.2g}: ")


def test_one_that_refuses_what_is_not_finite_has_diverged():
    net = model(norm=False)

    def loss(output, target):
        return nn.functional.cross_entropy(output, target) * (1 if net[0].weight.abs().max() < 5 else math.nan)

    opt = ravine.SGD(net.parameters(), lr=1.0, nonfinite="raise")
    found = find_lr(net, opt, loader(), loss=loss, low=1e-3, high=1e6)
    assert found.lr is not None and "it diverges at" in found.reason and found.losses[0][-1] == math.inf


def test_seeds_meet_other_batches_and_a_seed_meets_the_same():
    net, batches = model(), loader()
    opt = ravine.SGD(net.parameters(), lr=0.1)
    a, b = (find_lr(net, opt, batches, steps=20, seeds=2).losses for _ in range(2))
    assert a == b and a[0] != a[1]


def test_linear_rates_are_those_of_the_paper():
    assert range_test.rates(1.0, 20.0, 20, "linear") == pytest.approx(range(1, 21))
    assert range_test.rates(1e-2, 1e2, 21)[::5] == pytest.approx([1e-2, 1e-1, 1.0, 10.0, 100.0])


# what is read off known curves


def losses(curve, noise=0.0, seeds=3):
    """The losses of a curve over log10(lr), with noise, the first before any step."""
    chance = random.Random(0)
    return [[curve(math.log10(lr)) + chance.gauss(0, noise) for lr in (RATES[0], *RATES)] for _ in range(seeds)]


def valley(x):
    """From 2 down to 1 around 1e-3, and steeply up from 1e-1."""
    return 1.5 - 0.5 * math.tanh(2 * (x + 3)) + max(0.0, x + 1) * 3


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_the_steepest_fall_is_found_in_noise(noise):
    found = suggestion.read(RATES, losses(valley, noise))
    assert found.lr is not None and abs(math.log10(found.lr) + 3) < (0.1 if noise < 0.1 else 0.5)
    assert found.lowest is not None and found.highest is not None and found.lowest < found.lr < found.highest
    assert "it rises beyond" in found.reason


def test_a_straight_fall_stays_straight():
    line = [3 - 0.02 * i for i in range(101)]
    found = suggestion.read(RATES, [line] * 2)
    assert (found.start, *found.smooth) == pytest.approx(line)
    assert found.highest is not None and found.highest > 0.5 and "still falls at the largest" in found.reason


def test_spikes_do_not_count():
    spiked = losses(valley, 0.01)
    for curve, at in zip(spiked, (20, 40, 33), strict=True):
        curve[at] += 30
        curve[at + 1] -= 30
    found = suggestion.read(RATES, spiked)
    assert found.lr == pytest.approx(1e-3, rel=0.4)


def test_of_signs_a_tenth_is_suggested():
    plain, signs = (suggestion.read(RATES, losses(valley), signs=signs) for signs in (False, True))
    assert signs.lr == plain.lr / 10 and (signs.lowest, signs.highest) == (plain.lowest, plain.highest)
    assert f"a tenth of {plain.lr:.2g}, where the loss falls fastest" in signs.reason


class Own(ravine.Lion):
    """A method of somebody's own that is made of another."""


WRAPPED = {"SAM(Lion)": lambda p, lr: SAM(ravine.Lion(p, lr=lr)), "Own": lambda p, lr: Own(p, lr=lr)}


@pytest.mark.parametrize("makes", ["Lion", "Signum", "SignSGD", "SGD then Lion", "Lion then SGD", *WRAPPED])
def test_who_steps_by_signs_is_known(makes):
    """Of several optimizers it is that of the largest rate which is suggested."""
    net = model(norm=False)
    parts, rates = (net[0], net[4]), (0.01, 0.001)
    opts = [(WRAPPED.get(name) or getattr(ravine, name))(part.parameters(), lr=lr)
            for name, part, lr in zip(makes.split(" then "), parts, rates, strict=False)]  # fmt: skip
    found = find_lr(net, opts, loader(), steps=60, low=1e-5, high=10.0)
    assert found.lr is not None and ("a tenth of" in found.reason) == (makes != "SGD then Lion")
    assert found.lr in found.lrs or min(abs(10 * found.lr / lr - 1) for lr in found.lrs) < 1e-9


def test_without_parameters_there_is_no_suggestion():
    net, batches = model(), loader()
    empty, sgd = torch.optim.SGD(net.parameters(), lr=0.1), torch.optim.SGD(net.parameters(), lr=0.1)
    empty.param_groups.clear()
    assert find_lr(net, [], batches, steps=20).lr is None and find_lr(net, empty, batches, steps=20).lr is None
    assert find_lr(net, [empty, sgd], batches, steps=60, low=1e-5).lr is not None


def test_the_command_knows_that_a_method_steps_by_signs(capsys):
    assert main(["lr-find", "--optimizer", "lion", "--seeds", "1"]) == 0
    assert "a tenth of" in capsys.readouterr().out


def test_an_unlucky_first_batch_is_no_fall():
    curves = losses(valley, 0.01)
    for curve in curves:
        curve[0] += 5
    assert suggestion.read(RATES, curves).lr == pytest.approx(1e-3, rel=0.4)


def test_where_nothing_falls_there_is_no_suggestion():
    for seed in range(50):
        chance = random.Random(seed)
        flat = [[2 + chance.gauss(0, 0.1) for _ in range(101)] for _ in range(3)]
        found = suggestion.read(RATES, flat)
        assert found.lr is None and str(found).startswith("no suggestion: the loss never falls below its noise")


def test_what_only_rises_has_no_suggestion():
    found = suggestion.read(RATES, losses(lambda x: 2 + 2 * max(0.0, x + 3), 0.01))
    assert found.lr is None and "never falls" in found.reason


def test_what_diverges_at_once_has_no_suggestion():
    found = suggestion.read(RATES, [[2.0, 2.0, 90.0, math.nan]] * 2)
    assert found.lr is None and "diverges at once" in found.reason and "smaller low" in found.reason


def test_a_higher_start_of_one_seed_is_no_fall():
    curves = losses(lambda x: 2.0, 0.01, 2)
    found = suggestion.read(RATES, [curves[0], [x + 5 for x in curves[1]]])
    assert found.lr is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"low": 0.0}, "the rates are from 0 to 10: they must rise, and the first be above 0"),
        ({"low": 2, "high": 1}, "the rates are from 2 to 1"),
        ({"steps": 19}, "steps=19: must be 20 or more"),
        ({"seeds": 0}, "seeds=0: must be 1 or more"),
        ({"batches": iter([])}, "the batches have ended: give a DataLoader or a list"),
    ],
)
def test_arguments_that_make_no_test(arguments, said):
    net = model()
    given = {"batches": loader(), **arguments}
    with pytest.raises(LabError, match=said):
        find_lr(net, ravine.SGD(net.parameters(), lr=0.1), given.pop("batches"), **given)


def test_a_model_without_shapes_is_refused():
    net = nn.LazyLinear(3)
    with pytest.raises(LabError, match="call it on one batch before find_lr"):
        find_lr(net, torch.optim.SGD(net.parameters(), lr=0.1), loader())


# the command


@pytest.mark.parametrize("ending", ["html", "png"])
def test_it_suggests_a_rate_for_the_digits(capsys, tmp_path, ending):
    if ending == "png":
        pytest.importorskip("matplotlib")
    file = tmp_path / f"found.{ending}"
    assert main(["lr-find", "--optimizer", "momentum", "--low", "1e-5", "--steps", "60", "--out", str(file)]) == 0
    out = capsys.readouterr().out
    lr = float(out.split("\nlr ")[1].split(":")[0])
    assert (
        0.01 < lr < 1 and "mean of 3 seeds" in out and "A rough guide" in out and out.endswith(f"\nwritten to {file}\n")
    )
    text = file.read_bytes()
    assert text.startswith(b"\x89PNG") if ending == "png" else b"learning rate" in text and b"plotly" in text


def test_the_page_has_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    table = importlib.import_module("lr_find").table
    record = json.loads((ROOT / "benchmarks" / "results" / "lr-find-cpu.json").read_text())
    assert table(record) in (ROOT / "docs" / "lr_find.md").read_text()


@pytest.mark.parametrize(("package", "file"), [("plotly", "x.html"), ("matplotlib", "x.png")])
def test_without_the_extra_it_names_it(capsys, monkeypatch, tmp_path, package, file):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["lr-find", "--steps", "20", "--seeds", "1", "--out", file]) == 2
    assert capsys.readouterr().err == f'ravine: -o {file} needs {package}: pip install ".[lab]" in ravine\'s folder\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--seeds 0", "--seeds: must be 1 or more, and is 0"),
        ("--batch 0", "--batch: must be 1 or more, and is 0"),
        ("--low 1 --high 0.1", "the rates are from 1 to 0.1"),
        ("--out x.jpg", "-o x.jpg: the name must end in .html, .png, .svg, .pdf"),
        ("-o nowhere/x.png", "-o nowhere/x.png: there is no folder nowhere"),
        ("--optimizer adm", "unknown optimizer 'adm': did you mean adam"),
        ("--optimizer adam:eps=1e-4:lr=3", "--optimizer adam:eps=1e-4:lr=3: the range test tries every rate; leave lr"),
        ("--task digit", "unknown task 'digit'"),
        ("--rates 3", "unrecognized arguments: --rates 3 (see ravine lr-find --help)"),
    ],
)
def test_one_line_and_status_2(capsys, arguments, said):
    assert main(["lr-find", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ravine: ") and said in err
