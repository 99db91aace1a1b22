"""What the monitor measures at a step: norms and histograms of each layer, each tensor once."""

from functools import partial

import pytest
import torch
from monitored import ADAM, cross_entropy, mlp, train
from torch import nn

import ravine
from ravine.instruments.histogram import BINS, LOW


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
