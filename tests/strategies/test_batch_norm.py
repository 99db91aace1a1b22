"""Running statistics after averaging against those computed by hand; SAM's second pass is not counted."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from walks import through_a_file

import ravine
from ravine.mods import EMA, Averaging
from ravine.strategies import ASAM, SAM, Lookahead, frozen_batch_norm, recompute_batch_norm

SIZES = (16, 16, 16, 3)  # a short last batch


def net(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def data():
    """Batches that differ in their means, and one that is short."""
    x = (
        torch.randn(sum(SIZES), 5, generator=torch.Generator().manual_seed(1))
        + torch.linspace(-2, 2, sum(SIZES))[:, None]
    )
    return [(a, a.sum(1).long() % 2) for a in x.split(SIZES)]


def train(model, opt, batches):
    for x, y in batches * 3:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()


def stats(layer):
    return [x.clone() for x in (layer.running_mean, layer.running_var, layer.num_batches_tracked)]


AVERAGED = {
    "EMA": lambda ps: ravine.SGD(ps, lr=0.1, mods=[EMA(0.9)]),
    "Averaging": lambda ps: ravine.SGD(ps, lr=0.1, mods=[Averaging()]),
    "Schedule-Free": lambda ps: ravine.ScheduleFreeAdamW(ps, lr=0.05),
    "Lookahead": lambda ps: Lookahead(ravine.SGD(ps, lr=0.1), k=5),
    "SAM": lambda ps: SAM(ravine.SGD(ps, lr=0.1, mods=[EMA(0.9)])),
    "Adam of torch": lambda ps: torch.optim.Adam(ps, lr=0.05),
}


@pytest.mark.parametrize("make", AVERAGED.values(), ids=AVERAGED.keys())
def test_statistics_are_those_of_the_weights_shown_over_all_data(make):
    model, batches = net(dropout=0.5), data()
    opt = make(model.parameters())
    train(model, opt if not isinstance(opt, SAM) else opt.optimizer, batches)
    while_training = [p.detach().clone() for p in model.parameters()]
    stale = stats(model[2])
    recompute_batch_norm(model, batches, opt)

    x, y = (torch.cat(z) for z in zip(*batches, strict=True))
    hidden = nn.functional.linear(x, model[1].weight, model[1].bias)  # all data at once, at the weights shown
    mean, var, count = stats(model[2])
    torch.testing.assert_close(mean, hidden.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(var, hidden.var(0), rtol=1e-5, atol=1e-6)
    assert count == len(batches) and not torch.allclose(mean, stale[0], rtol=1e-2)
    assert model.training and model[2].momentum == 0.1

    right = copy.deepcopy(model).eval()
    right[2].running_mean, right[2].running_var = hidden.mean(0).detach(), hidden.var(0).detach()
    at_once, by_hand = model.eval()(x), right(x)
    torch.testing.assert_close(at_once, by_hand, rtol=1e-4, atol=1e-5)
    assert ((at_once.argmax(1) == y).sum() == (by_hand.argmax(1) == y).sum()).item()
    if not isinstance(opt, torch.optim.Adam):
        assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), while_training, strict=True))
        opt.train()
    for p, q in zip(model.parameters(), while_training, strict=True):
        assert torch.equal(p, q)


def test_beside_update_bn():
    """The same where batches are alike; where they are not, update_bn is off."""
    alike, ours, theirs = [torch.randn(16, 5)] * 3, net(), net()
    recompute_batch_norm(ours, alike)
    update_bn(alike, theirs)
    torch.testing.assert_close(ours[2].running_mean, theirs[2].running_mean)
    torch.testing.assert_close(ours[2].running_var * 47 / 45, theirs[2].running_var)  # n − 1 of all, not of each
    assert ours[2].num_batches_tracked == theirs[2].num_batches_tracked

    recompute_batch_norm(ours, data())
    update_bn(data(), theirs)
    x = torch.cat([x for x, _ in data()])
    exact = ours[1](x).var(0)
    assert (ours[2].running_var / exact - 1).abs().max() < 1e-4
    assert (theirs[2].running_var / exact - 1).abs().max() > 0.1


def test_the_order_and_sizes_of_batches_do_not_matter():
    x = torch.cat([x for x, _ in data()])
    found = []
    for cut in (x.split(51), x.split(SIZES), x.flip(0).split(7)):
        model = net()
        recompute_batch_norm(model, cut)
        found.append(stats(model[2])[:2])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class Oops(Exception):
    pass


def test_whatever_is_raised_the_model_is_as_it_was():
    model, batches = net(), data()
    model.train()
    model[3].eval()
    model[2].momentum = None
    model(batches[0][0])
    before = stats(model[2])

    def failing():
        yield batches[1]
        raise Oops

    for loader, error in ((failing(), Oops), (iter(()), ValueError), ([torch.randn(1, 5)], ValueError)):
        with pytest.raises(error):
            recompute_batch_norm(model, loader)
        for a, b in zip(before, stats(model[2]), strict=True):
            assert torch.equal(a, b)
        assert model[2].momentum is None and model.training and model[2].training and not model[3].training
        assert not model[2]._forward_hooks


def test_what_is_not_reached_or_keeps_no_statistics_is_left_alone():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.aside, self.free = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
            self.free = nn.BatchNorm2d(3, track_running_stats=False)

        def forward(self, *, pixels):
            return self.free(self.used(pixels))

    model = Two().eval()
    model.aside.running_mean.fill_(7.0)
    x = torch.randn(4, 3, 2, 2) * 3 + 1
    recompute_batch_norm(model, [{"pixels": x}])
    torch.testing.assert_close(model.used.running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(model.used.running_var, x.transpose(0, 1).flatten(1).var(1))
    assert model.aside.running_mean.eq(7).all() and not model.training
    recompute_batch_norm(model, [x + 1], forward=lambda model, x: model(pixels=x))
    torch.testing.assert_close(model.used.running_mean, x.mean((0, 2, 3)) + 1)
    recompute_batch_norm(nn.Linear(2, 2), [])  # no batch norm: nothing to do, as update_bn


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(5), nn.SyncBatchNorm(5), nn.BatchNorm1d(5, momentum=None)])
def test_frozen_uses_the_batch_and_counts_nothing(norm):
    x, other = torch.randn(2, 8, 5)
    norm(x)
    before, free = stats(norm), nn.BatchNorm1d(5)
    with frozen_batch_norm(nn.Sequential(norm)):
        assert torch.equal(norm(other * torch.nan).isnan(), torch.ones(8, 5, dtype=torch.bool))
        assert torch.equal(norm(other), free(other))  # by the batch
        norm.eval()
        assert not torch.equal(norm(other), free(other))  # a layer in eval mode goes on using its statistics
        norm.train()
    for a, b in zip(before, stats(norm), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(Oops), frozen_batch_norm(norm):
        raise Oops
    norm(other)
    assert not torch.equal(before[0], norm.running_mean) and norm.num_batches_tracked == 2


# SAM


@pytest.mark.parametrize("cls", [SAM, ASAM])
@pytest.mark.parametrize("way", ["closure", "two calls"])
def test_the_second_pass_is_not_counted(cls, way):
    model, batches = net(), data()
    opt = cls(ravine.SGD(model.parameters(), lr=0.1), rho=0.5, model=model)
    for x, y in batches[:3] * 2:
        alone = copy.deepcopy(model)
        alone(x)  # one pass at w, by hand
        outputs = []

        def closure(x=x, y=y, outputs=outputs):
            outputs.append(model(x))
            loss = nn.functional.cross_entropy(outputs[-1], y)
            loss.backward()
            return loss

        if way == "closure":
            opt.step(closure)
        else:
            closure()
            opt.first_step(zero_grad=True)
            closure()
            opt.second_step(zero_grad=True)
        assert not torch.equal(*outputs)
        for a, b in zip(stats(alone[2]), stats(model[2]), strict=True):
            assert torch.equal(a, b)
    assert model[2].track_running_stats


def test_without_the_model_both_are_counted():
    model = net()
    opt = SAM(ravine.SGD(model.parameters(), lr=0.1))
    opt.step(lambda: model(data()[0][0]).square().mean().backward())
    assert model[2].num_batches_tracked == 2


def test_batch_norm_counts_again_after_an_exception_and_is_held_by_a_checkpoint():
    model = net()
    opt = SAM(ravine.SGD(model.parameters(), lr=0.1), model=model)
    x = data()[0][0]
    calls = []

    def closure():
        model(x).square().mean().backward()
        calls.append(model[2].track_running_stats)
        if len(calls) == 2:
            raise Oops

    with pytest.raises(Oops):
        opt.step(closure)
    assert calls == [True, False] and model[2].track_running_stats
    opt.zero_grad()
    model(x).square().mean().backward()
    opt.first_step(zero_grad=True)

    other = net()
    other.load_state_dict(model.state_dict())
    resumed = SAM(ravine.SGD(other.parameters(), lr=0.1), model=other)
    resumed.load_state_dict(through_a_file(opt.state_dict()))
    assert not other[2].track_running_stats
    other(x).square().mean().backward()
    resumed.second_step()
    assert other[2].track_running_stats and other[2].num_batches_tracked == 2

    opt.restore()
    both, twin = copy.deepcopy((model, opt))
    assert twin.model is both
    with pytest.raises(TypeError, match=r"model is the torch\.nn\.Module"):
        SAM(ravine.SGD(model.parameters()), model=model.parameters())  # pyright: ignore
