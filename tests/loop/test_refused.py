"""Parts of a loop that remember: what they refuse to load changes nothing, and is said in one line."""

import copy

import pytest
import torch

import ravine
from ravine.data import Curriculum, Mixed, Shuffle
from ravine.loop import EarlyStopping
from ravine.schedules import Cosine, Plateau, Schedule, Warmup
from ravine.strategies import PathRecorder


def freed():
    x = torch.ones(4, 3)
    x.untyped_storage().resize_(0)
    return x


GARBAGE = ["two\nlines", (), [1.5], {}, {"x": 1}, object(), 10**400, 10**5000, -5, 2.5, float("nan"), None, True, b"x"]
GARBAGE += [torch.ones(7), torch.tensor(3.0), torch.tensor(float("nan")), torch.ones(4, 3).to_sparse(), freed()]


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def stopping():
    stop = EarlyStopping(model())
    stop(2.0)
    stop(3.0)
    return stop


def path():
    recorder = PathRecorder(model(), every=1)
    recorder.step()
    return recorder


def schedule():
    opt = ravine.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    made = ravine.Scheduler(opt, lr=Warmup(4) * Plateau(patience=1))
    opt.step()
    made.step()
    made.report(1.0)
    return made


def shuffle():
    order = Shuffle(range(10), seed=3)
    order.at(2, 5)
    return order


def walk():
    return iter(shuffle())


MADE = {
    "early stopping": stopping,
    "path": path,
    "scheduler": schedule,
    "shuffle": shuffle,
    "walk": walk,
    "curriculum": lambda: Curriculum(torch.arange(10.0), ravine.data.pacing.root(over=3), seed=3),
    "mixed": lambda: Mixed(torch.arange(10.0), seed=3),
}
every = pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())


def refused(part, given):
    before = repr(part.state_dict())
    rates = [group["lr"] for group in part.optimizer.param_groups] if isinstance(part, ravine.Scheduler) else []
    with pytest.raises(ValueError) as raised:
        part.load_state_dict(given)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400, raised.value
    assert repr(part.state_dict()) == before
    assert not rates or rates == [group["lr"] for group in part.optimizer.param_groups]


def fits(key, x):
    """Values that are no garbage there."""
    number = type(x) in (int, float) and x == x and abs(x) < 10
    return number and (key == "best" or (key == "seed" and x == -5))


@every
def test_garbage_is_refused_and_changes_nothing(make):
    part = make()
    given = copy.deepcopy(part.state_dict())
    for key in given:
        if key == "_last_lr":  # which is not read
            continue
        refused(part, {k: x for k, x in given.items() if k != key})
        for x in GARBAGE:
            if not fits(key, x) and not (key == "weights" and x is None):
                refused(part, given | {key: x})
    for wrong in (None, [], 3, "text", {}, {"x": 1}):
        refused(part, wrong)
    part.load_state_dict(given)
    assert repr(part.state_dict()) == repr(given)


@pytest.mark.parametrize(("make", "key"), [(stopping, "weights"), (path, "rows"), (path, "buffers"), (path, "steps")])
def test_garbage_further_inside_is_refused(make, key):
    part = make()
    given = copy.deepcopy(part.state_dict())
    box = given[key]
    for place in box if isinstance(box, dict) else range(len(box)):
        for x in GARBAGE:
            if (key == "buffers" and type(x) is dict and not x) or (
                place == "1.num_batches_tracked" and getattr(x, "shape", 0) == ()
            ):
                continue  # no garbage there
            changed = copy.copy(box)
            changed[place] = x
            refused(part, given | {key: changed})


def test_garbage_in_what_a_plateau_remembers_is_refused():
    part = schedule()
    given = part.state_dict()
    (kept,) = given["plateaus"]
    for k in kept:
        for x in GARBAGE:
            if not fits(k, x):
                refused(part, given | {"plateaus": [kept | {k: x}]})
    refused(part, given | {"plateaus": [kept | {"more": 1}]})


def test_a_step_that_a_schedule_does_not_know_is_refused():
    opt = ravine.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    part = ravine.Scheduler(opt, lr=lambda t: 1.1**t)
    opt.step()
    part.step()
    refused(part, part.state_dict() | {"last_epoch": 10**6})
    assert isinstance(Cosine(3), Schedule) and opt.param_groups[0]["lr"] == pytest.approx(0.11)
