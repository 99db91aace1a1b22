"""What docs/divergences.md says of pytorch_optimizer ("kozistr"), asked of the package where its 4.1 is installed."""

import importlib.metadata
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine

kozistr = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is not installed")
VERSION = importlib.metadata.version("pytorch_optimizer")
PAGE = (Path(__file__).parents[2] / "docs" / "divergences.md").read_text(encoding="utf-8")
pytestmark = [
    pytest.mark.skipif(not VERSION.startswith("4.1."), reason=f"the page speaks of 4.1, and {VERSION} is installed"),
    pytest.mark.filterwarnings("ignore"),  # theirs to mend
]


def walk(cls, *gradients, start=0.0, shape=(1,), **hyper):
    """The weights after each step, in float64; a number stands for a gradient that is it everywhere."""
    p = nn.Parameter(torch.full(shape, start, dtype=torch.float64))
    opt, out = cls([p], **hyper), []
    for g in gradients:
        p.grad = g.clone() if isinstance(g, torch.Tensor) else torch.full_like(p, g)
        opt.step()
        out.append(p.detach().clone())
    return torch.stack(out)


def same(a, b):
    return torch.allclose(a, b, rtol=1e-5, atol=1e-9)


def test_the_page_names_the_version_that_was_run():
    assert "4.1.0 was run" in PAGE and VERSION == "4.1.0"
    assert len(re.findall("kozistr", PAGE)) > 14


# what 4.1 still has


def test_adopts_clip_counts_from_one():
    assert same(walk(kozistr.ADOPT, 1.0, 1e3, lr=1.0, betas=(0.0, 0.5))[-1], torch.tensor([-(2**0.25)]).double())
    assert same(walk(ravine.ADOPT, 1.0, 1e3, lr=1.0, betas=(0.0, 0.5))[-1], torch.tensor([-1.0]).double())


def test_aggmo_updates_one_of_equal_betas_twice():
    betas = (0.9, 0.9, 0.5)
    assert not same(walk(kozistr.AggMo, 1.0, betas=betas, lr=0.1), walk(ravine.AggMo, 1.0, betas=betas, lr=0.1))
    betas = (0.9, 0.8, 0.5)
    assert same(walk(kozistr.AggMo, 1.0, -0.5, betas=betas, lr=0.1), walk(ravine.AggMo, 1.0, -0.5, betas=betas, lr=0.1))


def test_lambs_decay_is_outside_the_ratio_by_default():
    decay = {"start": 3.0, "lr": 0.1, "weight_decay": 0.5}
    assert same(walk(kozistr.Lamb, 0.0, **decay), torch.tensor([[3.0 * (1 - 0.1 * 0.5)]]).double())
    inside = 3.0 - 0.1 * 3.0  # the update is λ p, and the ratio ‖p‖ / ‖λ p‖
    assert same(walk(ravine.LAMB, 0.0, **decay), torch.tensor([[inside]]).double())


# what it has no longer


def test_adopt_divides_by_the_v_before():
    assert same(
        walk(kozistr.ADOPT, 1.0, 10.0, lr=1.0, betas=(0.0, 0.5), clip_lambda=None)[-1], torch.tensor([-10.0]).double()
    )


def test_d_adapt_adam_finds_the_distance_of_the_authors():
    gradients = [1.0, 1.0, 1.0, 0.5, 0.5]
    theirs = walk(kozistr.DAdaptAdam, *gradients, start=1.0, d0=1e-3, bias_correction=True)
    assert same(theirs, walk(ravine.DAdaptAdam, *gradients, start=1.0, d0=1e-3, use_bias_correction=True))


def test_lambs_pre_norm_clips():
    p = nn.Parameter(torch.ones(1, dtype=torch.float64))
    opt = kozistr.Lamb([p], pre_norm=True, max_grad_norm=1.0)
    p.grad = torch.full_like(p, 4.0)
    opt.step()
    assert opt.state[p]["exp_avg"].item() == pytest.approx(0.1, rel=1e-5)  # of 4 as it is 0.4, and amplified 1.6


@pytest.mark.parametrize(
    "hyper", [{"momentum": 0.0, "weight_decay": 0.5}, {"momentum": 0.9, "weight_decay": 0.0}], ids=str
)
def test_lars_has_both_norms_below_and_scales_its_first_buffer(hyper):
    hyper = {"lr": 1.0, "trust_coefficient": 0.01, "dampening": 0.0} | hyper
    theirs = walk(kozistr.LARS, 3.0, 2.0, start=1.0, shape=(2, 2), **hyper)
    del hyper["dampening"]
    assert same(theirs[0], walk(ravine.LARS, 3.0, start=1.0, shape=(2, 2), **hyper)[0])


def test_prodigy_counts_its_steps_once():
    gradients = [1.0, 1.0, 1.0, 0.5, 0.5]
    theirs = walk(kozistr.Prodigy, *gradients, start=1.0, lr=1.0, d0=1e-3, bias_correction=True)
    assert same(theirs, walk(ravine.Prodigy, *gradients, start=1.0, lr=1.0, d0=1e-3, use_bias_correction=True))


@pytest.mark.parametrize("foreach", [False, None])
def test_sgdw_begins_at_rest_and_has_momentum(foreach):
    theirs = walk(kozistr.SGDW, 1.0, 0.5, 0.0, start=1.0, lr=0.1, momentum=0.9, foreach=foreach)
    assert same(theirs, walk(torch.optim.SGD, 1.0, 0.5, 0.0, start=1.0, lr=0.1, momentum=0.9))


def test_shampoo_takes_the_fourth_root_of_both_sides_of_the_gradient():
    """Of diag(4, 1) both statistics are diag(16, 1), whose roots of 4 leave the identity."""
    theirs = walk(
        kozistr.Shampoo, torch.diag(torch.tensor([4.0, 1.0]).double()), shape=(2, 2), lr=1.0, matrix_eps=1e-12
    )
    assert same(theirs[0], -torch.eye(2).double())


def test_signum_keeps_its_buffer():
    assert walk(kozistr.SignSGD, 1.0, 1.0, -0.1, lr=1.0, momentum=0.9)[-1].item() == -3.0


# what 4.0 has mended in methods of curvature


def curved(cls, steps, **hyper):
    """What is kept of the Hessian of x y after each step; its diagonal is 0, and z ∘ H z is x's sign times y's."""
    torch.manual_seed(0)
    p = nn.Parameter(torch.ones(2, dtype=torch.float64))
    opt, out = cls([p], lr=0.0, **hyper), []
    for _ in range(steps):
        opt.zero_grad()
        p.prod().backward(create_graph=True)
        opt.step()
        out.append(opt.state[p])
    return [{k: x.clone() for k, x in state.items() if isinstance(x, torch.Tensor)} for state in out]


def test_adahessians_probes_have_both_signs():
    seen = {float(curved(kozistr.AdaHessian, n)[-1]["hessian"][0]) for n in range(1, 9)}
    assert seen == {1.0, -1.0}


def test_sophiah_uses_the_hessian_in_the_step_that_measures_it():
    assert float(curved(kozistr.SophiaH, 1)[0]["hessian_moment"].abs().max()) > 0


def test_adafactors_clip_makes_long_updates_short_and_no_short_one_long():
    """With a constant gradient before it, an update is as long as the gradient is beside that."""

    def step(length):
        walked = walk(kozistr.AdaFactor, 1.0, length, lr=1.0, shape=(4, 4), relative_step=False, scale_parameter=False)
        return float((walked[1] - walked[0]).abs().max())

    assert step(0.5) < 0.9 * step(2.0) and step(2.0) == step(100.0)
