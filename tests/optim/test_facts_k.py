"""Facts about KFAC's rule, which is given the preconditioned gradient."""

import pytest
import torch
from torch import nn

import ravine


@pytest.mark.parametrize("lr", [0.5, 2.0])
def test_kfacs_norm_constraint_is_of_the_whole_step_and_lr_does_not_change_its_length(lr):
    p, q = (nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in range(2))
    opt = ravine.KFAC([p, q], lr=lr, momentum=0.0, norm_constraint=0.04)
    p.grad, q.grad = torch.tensor([3.0, 0.0, 4.0]).double(), torch.tensor([0.0, 12.0, 0.0]).double()
    opt.step(u={x: 4 * x.grad for x in (p, q)})
    moved = torch.cat([p, q]).detach()
    assert (moved**2).sum().item() / 4 == pytest.approx(0.04)  # Σ Δ F Δ, where F is 1/4
    assert (moved / torch.cat([p.grad, q.grad])).nan_to_num(-0.2 / 13 * 2).allclose(torch.tensor(-0.4 / 13).double())


def test_kfacs_short_steps_are_not_cut_and_momentum_adds_them_up():
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    opt = ravine.KFAC([p], lr=0.1, momentum=0.5, norm_constraint=1.0, weight_decay=0.5)
    for want in (-0.2, -0.2 * 0.95 - 0.3):
        p.grad = torch.ones(1).double()
        opt.step(u={p: torch.tensor([2.0]).double()})
        assert p.item() == pytest.approx(want)
