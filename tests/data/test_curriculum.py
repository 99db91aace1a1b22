"""Curricula, paces, the mixed strategy, controls, and difficulty by a model's loss."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from ravine.data import Curriculum, Mixed, difficulty, pacing

N = 200
HARD = torch.randperm(N, generator=torch.Generator().manual_seed(0)).double()  # a rank for each sample
PACES = {
    "linear": pacing.linear(4, 0.1),
    "quadratic": pacing.quadratic(4, 0.1),
    "root": pacing.root(4, 0.1),
    "step": pacing.step(4, 0.1),
    "exponential": pacing.exponential(4, 0.1),
    "logarithmic": pacing.logarithmic(4, 0.1),
    "competence": pacing.competence(4, 0.1),
    "staircase": pacing.staircase(0.5, 1.5, 0.1),
}
paces = pytest.mark.parametrize("pace", PACES.values(), ids=PACES.keys())


@paces
def test_paces_begin_at_start_never_fall_and_open_everything(pace):
    shares = [pace(t / 50) for t in range(301)]
    assert shares[0] == pytest.approx(0.1) and shares[-1] == 1.0
    assert all(0 < a <= b <= 1 for a, b in pairwise(shares))


@pytest.mark.parametrize(
    ("name", "f"),
    [  # as in the paper, with N = 1 and T = 10
        ("linear", lambda t, a, b: b + (1 - b) / (10 * a) * t),
        ("quadratic", lambda t, a, b: b + (1 - b) / (10 * a) ** 2 * t**2),
        ("root", lambda t, a, b: b + (1 - b) / (10 * a) ** 0.5 * t**0.5),
        ("step", lambda t, a, b: b + (t // (10 * a))),
        ("exponential", lambda t, a, b: b + (1 - b) / (math.e**10 - 1) * (math.exp(10 * t / (10 * a)) - 1)),
        ("logarithmic", lambda t, a, b: b + (1 - b) * (1 + 0.1 * math.log(t / (10 * a) + math.e**-10))),
    ],
)
def test_the_family_of_the_paper(name, f):
    a, b = 0.4, 0.25
    pace = getattr(pacing, name)(10 * a, b)
    for t in (0.0, 0.3, 1.0, 2.5, 3.9, 4.0, 7.0):
        assert pace(t) == pytest.approx(min(1.0, f(t, a, b)), abs=1e-5)


def test_competence_grows_as_its_differential_equation_says():
    """dc/dt = P / c: new samples come in proportion to how many there are."""
    c, h = pacing.competence(4, 0.1), 1e-5
    rates = [(c(t + h) - c(t - h)) / (2 * h) * c(t) for t in (0.5, 1.0, 2.0, 3.5)]
    assert rates == pytest.approx([rates[0]] * 4, rel=1e-4)


def test_the_staircase_stands_and_climbs():
    pace = pacing.staircase(2, 2.0, 0.2)
    assert [pace(t) for t in (0, 1.9, 2, 4, 6, 1e6)] == pytest.approx([0.2, 0.2, 0.4, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("wrong", [(0, 0.1), (-1, 0.1), (3, 0.0), (3, 1.1), (math.nan, 0.1)])
def test_a_pace_refuses_what_is_none(wrong):
    for make in (pacing.linear, pacing.competence):
        with pytest.raises(ValueError, match="epochs above 0 and a start"):
            make(*wrong)


@paces
@pytest.mark.parametrize("first", ["easy", "hard"])
def test_what_is_open_grows_and_is_the_easiest(pace, first):
    order = Curriculum(HARD, pace, first=first, seed=1)
    rank = HARD if first == "easy" else N - 1 - HARD
    opened = 0
    for epoch in range(6):
        given = rank[order.order(epoch)]
        assert len(given) == N
        left = N
        while left:  # pass by pass
            size = order.open(epoch + 1 - left / N)
            assert size >= opened
            one = given[N - left :][:size]
            assert one.max() < size and len(one.unique()) == len(one) == min(size, left)
            opened, left = size, left - len(one)
    assert opened == N


def test_when_all_are_open_an_epoch_is_one_pass():
    order = Curriculum(HARD, pacing.linear(1), seed=1)
    for epoch in (1, 2, 30):
        assert sorted(order.order(epoch).tolist()) == list(range(N))


def test_the_random_control_has_the_pace_and_not_the_order():
    pace = pacing.step(3, 0.25)
    random, easy = (Curriculum(HARD, pace, first=first, seed=1) for first in ("random", "easy"))
    some = set(random.order(0).tolist())
    assert some == set(random.order(2).tolist()) and len(some) == 50 == len(set(easy.order(0).tolist()))
    assert HARD[list(some)].mean() == pytest.approx((N - 1) / 2, abs=20)  # 12 of the 50 easiest by chance
    assert len(some & set(easy.order(0).tolist())) < 25


def test_equal_difficulty_keeps_the_order_of_the_data():
    order = Curriculum(torch.zeros(10), pacing.step(1, 0.3))
    assert set(order.order(0).tolist()) == {0, 1, 2}


def test_a_curriculum_refuses_what_it_cannot_sort():
    with pytest.raises(ValueError, match="one number for each sample and no NaN"):
        Curriculum(torch.tensor([1.0, math.nan]), pacing.linear(1))
    with pytest.raises(ValueError, match="easy, hard or random"):
        Curriculum(HARD, pacing.linear(1), first="worst")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"after 0\.0 epochs; it must be above 0"):
        Curriculum(HARD, lambda t: 0.0).order(0)


# the mixed strategy

LEVELS = torch.cat([torch.full((n,), level) for level, n in ((3, 9000), (5, 900), (8, 90), (13, 10))])


def shares(order, epoch):
    """How often each level was drawn."""
    return torch.bincount(LEVELS[order.order(epoch)], minlength=14)[[3, 5, 8, 13]] / len(LEVELS)


def test_mixed_draws_levels_alike_however_many_samples_they_have():
    assert shares(Mixed(LEVELS, seed=1), 0).tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_within_a_level_samples_are_drawn_alike():
    order = Mixed(LEVELS, seed=1)
    drawn = torch.cat([order.order(e) for e in range(20)])
    counts = torch.bincount(drawn, minlength=len(LEVELS))[-10:].float()  # about 5000 each
    assert counts.min() > 4600 and counts.max() < 5400
    for level in (3, 5, 8, 13):  # and from its first to its last
        assert (torch.bincount(drawn, minlength=len(LEVELS))[level == LEVELS] > 0).float().mean() > 0.98


@pytest.mark.parametrize("mixed", [0.2, 0.0, 1.0])
@pytest.mark.parametrize("current", [0, 1, 3])
def test_combined_draws_the_current_level_and_the_mixture(mixed, current):
    order = Mixed(LEVELS, lambda epochs: (current + 1) / 4, mixed=mixed, seed=1)
    expected = [mixed / 4 + (1 - mixed) * (i == current) for i in range(4)]
    assert shares(order, 0).tolist() == pytest.approx(expected, abs=0.02)


def test_the_level_rises_within_an_epoch():
    order = Mixed(LEVELS, pacing.linear(1, 0.01), mixed=0.0)
    given = LEVELS[order.order(0)]
    assert given.tolist() == sorted(given.tolist()) and set(given.tolist()) == {3, 5, 8, 13}


def test_mixed_refuses_a_share_that_is_none():
    with pytest.raises(ValueError, match=r"mixed is 1\.5"):
        Mixed(LEVELS, mixed=1.5)


# difficulty


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.drop, self.norm = nn.Linear(3, 1), nn.Dropout(0.5), nn.BatchNorm1d(1)

    def forward(self, x):
        return self.norm(self.drop(self.f(x)))


def squared(model, batch):
    return (model(batch[0]) - batch[1]).square().mean(1)


def test_losses_are_those_of_each_sample_alone():
    model, data = Noisy(), TensorDataset(torch.randn(23, 3), torch.randn(23, 1))
    model.f.eval()
    before = {k: x.clone() for k, x in model.state_dict().items()}
    found = difficulty.losses(model, data, squared, batch_size=4)
    assert model.training and model.drop.training and not model.f.training  # as they were
    assert all(torch.equal(x, before[k]) for k, x in model.state_dict().items())
    model.eval()
    alone = [squared(model, (x[None], y[None])).item() for x, y in data]
    assert found.tolist() == pytest.approx(alone, rel=1e-5)


def test_losses_that_are_means_are_refused():
    data = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    model = nn.Linear(3, 1)
    for wrong in (lambda m, b: squared(m, b).mean(), lambda m, b: squared(m, b)[:1]):
        with pytest.raises(ValueError, match='reduction="none"'):
            difficulty.losses(model, data, wrong, batch_size=4)


def test_an_error_in_the_loss_leaves_the_model_in_training():
    model = nn.Linear(3, 1)
    with pytest.raises(ZeroDivisionError):
        difficulty.losses(model, TensorDataset(torch.randn(8, 3)), lambda m, b: 1 / 0)
    assert model.training


def test_mislabelled_samples_are_the_hard_ones():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=g)
    y = (x[:, 0] > 0).float()
    y[:15] = 1 - y[:15]
    model = nn.Linear(2, 1)
    opt = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        opt.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y).backward()
        opt.step()

    def loss(model, batch):
        return nn.functional.binary_cross_entropy_with_logits(model(batch[0]).squeeze(1), batch[1], reduction="none")

    hard = difficulty.losses(model, TensorDataset(x, y), loss)
    assert len(set(hard.argsort()[-30:].tolist()) & set(range(15))) >= 13


def test_balanced_opens_classes_in_proportion():
    labels = torch.cat([torch.zeros(150), torch.ones(50)])
    hard = HARD + 1000 * labels  # a class is harder as a whole
    order = Curriculum(difficulty.balanced(hard, labels), pacing.step(1, 0.2))
    chosen = torch.tensor(sorted(set(order.order(0).tolist())))
    assert labels[chosen].sum() == 10 and len(chosen) == 40
    ones = chosen[labels[chosen] == 1]
    assert set(ones.tolist()) == set((150 + hard[150:].argsort()[:10]).tolist())
