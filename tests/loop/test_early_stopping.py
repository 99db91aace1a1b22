"""Early stopping: patience, the best weights at every end, averages, and going on from a checkpoint."""

import io
import math

import pytest
import torch
from torch import nn

import ravine
from ravine.loop import EarlyStopping
from ravine.mods import EMA, Averaging


def calls(losses, **how):
    """What it says to each loss, while it goes on."""
    stop, said = EarlyStopping(nn.Linear(2, 1), **how), []
    for loss in losses:
        said.append(stop(loss))
        if said[-1]:
            break
    return said, stop


@pytest.mark.parametrize(
    ("losses", "how", "calls_made"),
    [
        ([3, 2, 1, 1, 1], {"patience": 2}, 5),  # equal is not better
        ([3, 2, 2.5, 1, 2, 3, 4], {"patience": 3}, 7),
        ([1, 2], {"patience": 0}, 2),
        ([1.0, 0.95, 0.91, 0.89], {"patience": 2, "min_delta": 0.1}, 3),  # better by 0.09 is nothing
        ([1.0, 0.95, 0.85, 0.84, 0.83], {"patience": 2, "min_delta": 0.1}, 5),  # all that was better since the best
        ([math.nan, math.nan], {"patience": 2}, 2),
        ([1.0, math.nan, 0.5, math.nan, math.inf], {"patience": 2}, 5),
        ([0.1, 0.5, 0.4, 0.5], {"patience": 2, "mode": "max"}, 4),
        ([-math.inf, 1.0], {"patience": 1}, 2),
    ],
)
def test_when_it_stops(losses, how, calls_made):
    said, stop = calls(losses, **how)
    assert said == [False] * (calls_made - 1) + [True] and stop.count == calls_made


def test_it_goes_on_while_losses_fall():
    said, stop = calls([1 / t for t in range(1, 50)], patience=1)
    assert not any(said) and stop.best == 1 / 49


class Net(nn.Module):
    """Weights, a tied weight, a buffer of batch norm."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


def epoch(model, opt, t):
    g = torch.Generator().manual_seed(t)
    model.train()
    for _ in range(3):
        opt.zero_grad()
        model(torch.randn(8, 4, generator=g)).square().mean().backward()
        opt.step()
    model.eval()


def copied(model):
    return {k: x.clone() for k, x in model.state_dict().items()}


def same(model, weights):
    assert all(torch.equal(x, weights[k]) for k, x in model.state_dict().items())


@pytest.mark.parametrize("end", ["break", "normal", "raised"])
def test_the_best_weights_are_there_at_every_end(end):
    torch.manual_seed(0)
    model = Net()
    opt = ravine.Adam(model.parameters(), lr=0.1)
    seen = []
    losses = [5, 4, 2, 3, 3, 3] if end == "break" else [5, 4, 2, 3]
    try:
        with EarlyStopping(model, patience=2) as stop:
            for t, loss in enumerate(losses):
                epoch(model, opt, t)
                seen.append(copied(model))
                if stop(loss):
                    break
            if end == "raised":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert end == "raised"
    assert len(seen) == (5 if end == "break" else 4)
    same(model, seen[2])
    assert model.a.weight is model.b.weight and not torch.equal(
        seen[2]["norm.running_mean"], seen[3]["norm.running_mean"]
    )


def test_without_any_improvement_the_model_stays():
    model = Net()
    before = copied(model)
    with EarlyStopping(model) as stop:
        stop(math.nan)
    same(model, before)


AVERAGED = {
    "ema": lambda p: ravine.Adam(p, lr=0.1, mods=[EMA(0.9)]),
    "mean": lambda p: ravine.SGD(p, lr=0.1, mods=[Averaging()]),
    "schedule free": lambda p: ravine.ScheduleFreeAdamW(p, lr=0.1),
    "lookahead": lambda p: ravine.strategies.Lookahead(ravine.Adam(p, lr=0.1), k=4),
    "none": lambda p: ravine.Adam(p, lr=0.1),
    "torch": lambda p: torch.optim.Adam(p, lr=0.1),
}


@pytest.mark.parametrize("ends", ["break", "normal"])
@pytest.mark.parametrize("make", AVERAGED.values(), ids=AVERAGED.keys())
def test_the_best_averages_are_kept_and_stay_shown(make, ends):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    opt = make(model.parameters())
    show, back = getattr(opt, "eval", lambda: None), getattr(opt, "train", lambda: None)
    shown, trained = [], []
    with EarlyStopping(model, patience=2, opt=opt) as stop:
        for t, loss in enumerate([5, 2, 3, 4][: 4 if ends == "break" else 3]):
            epoch(model, opt, t)
            trained.append(copied(model))
            show()
            shown.append(copied(model))
            if stop(loss):
                break
            back()
    same(model, shown[1])
    show()  # by habit, before the test
    same(model, shown[1])
    back()
    if make not in (AVERAGED["none"], AVERAGED["torch"]):
        same(model, trained[-1])  # training can go on
        epoch(model, opt, 9)


def test_asked_too_late_it_would_keep_other_weights_and_says_so():
    model = nn.Linear(4, 4)
    opt = ravine.Adam(model.parameters(), mods=[EMA(0.9)])
    stop = EarlyStopping(model, opt=opt)
    epoch(model, opt, 0)
    opt.eval()
    opt.train()
    with pytest.raises(RuntimeError, match=r"between opt.eval\(\) and opt.train\(\)"):
        stop(1.0)


@pytest.mark.parametrize("at", [0, 1, 3, 4])
def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(at):
    losses = [5.0, 2.0, 3.0, 1.5, 1.9, 1.6, 1.7, 1.8]

    def run(stop, opt, model, t):
        while t < len(losses):
            epoch(model, opt, t)
            if stop(losses[t]):
                break
            t += 1
            if t - 1 == at and stop.count == at + 1:
                file = io.BytesIO()
                torch.save([model.state_dict(), opt.state_dict(), stop.state_dict()], file)
                file.seek(0)
                kept.append(file)
        stop.restore()
        return t, stop.best, copied(model)

    def start():
        torch.manual_seed(0)
        model = Net()
        return EarlyStopping(model, patience=3), ravine.Adam(model.parameters(), lr=0.1), model

    kept = []
    whole = run(*start(), 0)
    assert whole[0] == 6 and whole[1] == 1.5
    stop, opt, model = start()
    for part, state in zip((model, opt, stop), torch.load(kept[0]), strict=True):
        part.load_state_dict(state)
    t, best, weights = run(stop, opt, model, at + 1)
    assert (t, best) == whole[:2] and all(torch.equal(x, weights[k]) for k, x in whole[2].items())


def test_what_it_does_not_take():
    for wrong in ({"patience": -1}, {"min_delta": -0.1}, {"mode": "least"}):
        with pytest.raises(ValueError, match="must not be negative and mode is min or max"):
            EarlyStopping(nn.Linear(1, 1), **wrong)
    with pytest.raises(ValueError, match="not a state_dict of EarlyStopping"):
        EarlyStopping(nn.Linear(1, 1)).load_state_dict({"best": 1.0})


def test_the_kept_weights_are_copies():
    model = nn.Linear(2, 1)
    stop = EarlyStopping(model)
    stop(torch.tensor(1.0))
    before = copied(model)
    with torch.no_grad():
        model.weight.add_(1)
    stop.restore()
    same(model, before)
    with torch.no_grad():
        model.weight.add_(1)
    stop.restore()
    same(model, before)
