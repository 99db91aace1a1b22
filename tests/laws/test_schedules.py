"""What holds for every schedule."""

import copy
import inspect
import io
import math
import pickle

import pytest
import torch

import ravine
from ravine import schedules
from ravine.catalog.bib import papers
from ravine.mods import GradientNoise
from ravine.schedules import Cosine, Linear, Plateau, Schedule, Scheduler, Warmup, create
from ravine.schedules.by_name import registry

ALL = registry()
every = pytest.mark.parametrize("name", ALL)
TOTAL = 24


def values(schedule, steps=3 * TOTAL):
    return [schedule(t) for t in range(steps)]


def model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Linear(5, 3)


def walk(net, opt, scheduler, steps, first=0):
    """Train, and say what the groups held before each step."""
    seen = []
    for t in range(first, first + steps):
        groups = [{k: x for k, x in group.items() if k not in ("params", "mods")} for group in opt.param_groups]
        seen.append(copy.deepcopy(groups))
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(t))
        opt.zero_grad()
        net(x).square().mean().backward()
        opt.step()
        scheduler.step()
        if scheduler._plateaus():
            scheduler.report(1.0)
    return seen


def test_all_schedules_are_registered():
    made = {x for x in vars(schedules).values() if inspect.isclass(x) and issubclass(x, Schedule) and x.name}
    assert made == set(ALL.values())


@every
def test_it_is_a_pure_function_of_t(name):
    schedule = create(name, TOTAL)
    forwards, backwards = values(schedule), [schedule(t) for t in reversed(range(3 * TOTAL))]
    assert forwards == backwards[::-1] == values(pickle.loads(pickle.dumps(schedule)))
    assert schedule == create(name, TOTAL) == copy.deepcopy(schedule)
    assert eval(repr(schedule), vars(schedules)) == schedule


@every
@pytest.mark.parametrize("total", [1, 2, 3, 10, TOTAL, 1000])
def test_it_is_a_part_of_the_base_value_and_ends_where_it_ends(name, total):
    schedule = create(name, total)
    seen = values(schedule, 2 * total)
    assert all(isinstance(x, float) and 0 <= x <= 1 for x in seen)
    if "total" in ALL[name].suited(total):
        assert set(seen[total:]) == {seen[total]} and seen[total] < 1e-5
        assert total < 3 or seen[total - 1] > 0  # no step of a run is made at a rate of zero


@every
def test_it_is_documented_and_cited(name):
    text = inspect.getdoc(ALL[name]) or ""
    assert "\n\nUse it" in text and "https://" in text and "    " in text
    assert ALL[name].papers and set(ALL[name].papers) <= papers().keys()


@every
@pytest.mark.parametrize("make", [ravine.SGD, torch.optim.SGD], ids=["ravine", "torch"])
def test_a_scheduler_sets_what_it_says(name, make):
    net, schedule = model(), create(name, TOTAL)
    opt = make([{"params": [net.weight], "lr": 0.3}, {"params": [net.bias]}], lr=0.1, momentum=0.9, weight_decay=0.01)
    scheduler = Scheduler(opt, lr=schedule, momentum=schedule.between(0.8, 0.9), weight_decay=schedule)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    twin = create(name, TOTAL)  # a plateau remembers
    for t, groups in enumerate(walk(net, opt, scheduler, TOTAL)):
        assert [g["lr"] for g in groups] == [0.3 * twin(t), 0.1 * twin(t)]
        assert all(math.isclose(g["momentum"], 0.9 - 0.1 * twin(t), rel_tol=1e-12) for g in groups)
        assert all(g["weight_decay"] == 0.01 * twin(t) for g in groups)
        if isinstance(twin, Plateau):
            twin.report(1.0)
    assert scheduler.get_last_lr() == [0.3 * twin(TOTAL), 0.1 * twin(TOTAL)]


@every
@pytest.mark.parametrize("order", ["optimizer first", "scheduler first"])
def test_resuming_equals_not_stopping_bit_for_bit(name, order):
    def new():
        net = model()
        opt = ravine.AdamW(net.parameters(), lr=0.1, mods=[GradientNoise(0.01)])
        schedule = Warmup(3) * create(name, TOTAL)
        betas = (schedule.between(0.85, 0.95), Cosine(TOTAL).between(0.95, 0.999))
        return net, opt, Scheduler(opt, lr=schedule, betas=betas, weight_decay=schedule, **{"mods.0.eta": schedule})

    whole = new()
    expected = walk(*whole, TOTAL)
    parts = new()
    first = walk(*parts, 9)
    file = io.BytesIO()
    torch.save([x.state_dict() for x in parts], file)
    file.seek(0)
    saved, again = torch.load(file, weights_only=True), new()
    pairs = list(zip(again, saved, strict=True))
    for x, state in pairs if order == "optimizer first" else [pairs[0], pairs[2], pairs[1]]:
        x.load_state_dict(state)
    assert first + walk(*again, TOTAL - 9, first=9) == expected
    assert torch.equal(again[0].weight, whole[0].weight)
    assert again[1].param_groups[0]["mods"][0].eta == whole[1].param_groups[0]["mods"][0].eta
    assert again[2].state_dict() == whole[2].state_dict()


@every
def test_nothing_is_compiled_again(name, compilations):
    """Not on the way, not where a value would be exactly zero, and not where one begins at zero."""
    net, s = model(), create(name, 6)
    opt = ravine.AdamW(net.parameters(), lr=0.1, weight_decay=0.1, mods=[GradientNoise(0.1)])
    down = Linear(6)
    scheduler = Scheduler(
        opt, lr=down * s, betas=(down * s, s.between(0.9, 0.99)), weight_decay=down * s, **{"mods.0.eta": down * s}
    )
    other, heavy = model(), None
    heavy = ravine.SGD(other.parameters(), lr=0.1)
    second = Scheduler(heavy, momentum=(down * s).between(0.9, 0.0), weight_decay=down.between(0.0, 0.1))
    walk(net, opt, scheduler, 1)
    walk(other, heavy, second, 1)
    before, arranged = list(compilations), (opt._arranged, heavy._arranged)
    walk(net, opt, scheduler, 9)
    walk(other, heavy, second, 9)
    assert sorted(set(before)) == ["AdamW", "SGD"] and compilations == before
    assert (opt._arranged, heavy._arranged) == arranged
    assert all(p.isfinite().all() for p in [*net.parameters(), *other.parameters()])


def test_the_number_in_the_place_of_zero_adds_nothing():
    """Bit for bit the steps of another program, which has no decay, no momentum in it."""
    from ravine.schedules.scheduler import TINY

    for cls, hyper in ((ravine.AdamW, ("weight_decay",)), (ravine.SGD, ("weight_decay", "momentum"))):
        ends = []
        for x in (0.0, TINY):
            net = model()
            opt = cls(net.parameters(), lr=0.1, **dict.fromkeys(hyper, x))
            for _ in range(4):
                opt.zero_grad()
                net(torch.ones(2, 5)).square().mean().backward()
                opt.step()
            ends.append(net.weight.detach())
        assert torch.equal(*ends)
