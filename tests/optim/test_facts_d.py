"""Facts that papers state, or that follow at once: Adafactor, SM3, CAME, AdamMini."""

import math

import pytest
import torch

import ravine

SHAPES = ((6, 4), (5,), (3, 2, 2, 3))


def tensors(seed, scale=1.0, shapes=SHAPES):
    made = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=made, dtype=torch.float64) for shape in shapes]


def walk(make, steps=20, scale=1.0, shapes=SHAPES, **hyper):
    """The optimizer and its parameters after so many random gradients."""
    params = [torch.nn.Parameter(x) for x in tensors(0, shapes=shapes)]
    opt = make(params, backend="reference", **hyper)
    for t in range(steps):
        for p, g in zip(params, tensors(1 + t, scale, shapes), strict=True):
            p.grad = g
        opt.step()
    return opt, [p.detach() for p in params]


def same(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def rms(x):
    return x.square().mean().sqrt().item()


# Adafactor


@pytest.mark.parametrize("form", ["torch", "paper"])
def test_no_step_of_adafactor_is_longer_than_its_clip(form):
    """RMS(Δp) ≤ α d, whatever the gradients: after small ones, large ones are cut and never lengthened."""
    for size in (1e-6, 1.0, 1e6):
        p = torch.nn.Parameter(tensors(0)[0])
        opt = ravine.Adafactor([p], lr=0.1, d=1.5, form=form, backend="reference")
        for t in range(12):
            before = p.detach().clone()
            p.grad = (size if t % 5 == 4 else 1e-3) * tensors(t)[0]
            opt.step()
            alpha = rms(before) * min(0.1, 1 / math.sqrt(t + 1))
            assert rms(p.detach() - before) <= alpha * 1.5 * (1 + 1e-12)
            if t == 4 and size == 1e6:
                assert rms(p.detach() - before) > 1.49 * alpha


@pytest.mark.parametrize("form", ["torch", "paper"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_adafactor_and_came_stay_finite_at_zero_gradients(form, dtype):
    for make, hyper in ((ravine.Adafactor, {"form": form}), (ravine.CAME, {})):
        params = [torch.nn.Parameter(x.to(dtype)) for x in tensors(0)]
        opt = make(params, backend="reference", **hyper)
        for scale in (0.0, 0.0, 1.0, 0.0):
            for p, g in zip(params, tensors(1, scale), strict=True):
                p.grad = g.to(dtype)
            opt.step()
            assert all(p.isfinite().all() for p in params)


def test_adafactor_is_exact_where_squares_have_rank_one():
    """g² = r cᵀ: the factored second moment is the second moment itself, so the first u is the sign of g."""
    r, c = torch.tensor([1.0, 2.0, 5.0]).double(), torch.tensor([0.1, 3.0]).double()
    p = torch.nn.Parameter(torch.ones(3, 2, dtype=torch.float64))
    p.grad = torch.outer(r, c).sqrt() * torch.tensor([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]])
    ravine.Adafactor([p], lr=0.1, form="paper", backend="reference").step()
    same([p.detach()], [1 - 0.1 * p.grad.sign()])


def test_the_forms_of_adafactor_are_one_where_no_epsilon_counts():
    one, other = (walk(ravine.Adafactor, form=form, eps=(1e-30, 1e-3))[1] for form in ("torch", "paper"))
    same(one, other)


def test_adafactor_needs_sublinear_memory():
    opt, (p, q, _) = walk(ravine.Adafactor, 1)
    p, q = opt.param_groups[0]["params"][:2]
    assert {k: tuple(x.shape) for k, x in opt.state[p].items() if k != "step"} == {
        "row_var": (6, 1),
        "col_var": (1, 4),
    }
    assert {k: tuple(x.shape) for k, x in opt.state[q].items() if k != "step"} == {"variance": (5,)}


def test_an_epsilon_may_be_none_and_nothing_else():
    p = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert ravine.Adafactor([p], eps=[None, 1]).param_groups[0]["eps"] == (None, 1.0)
    with pytest.raises(TypeError, match=r"eps\[1\] is None"):
        ravine.Adafactor([p], eps=(1e-3, None))
    with pytest.raises(TypeError, match="tuple of 2 numbers"):
        ravine.Adafactor([p], eps=1e-3)
    opt = ravine.Adafactor([p], backend="reference")
    p.grad = torch.tensor([1.0, 1e-5], dtype=torch.float64)
    opt.step()
    before = p.detach().clone()
    opt.param_groups[0]["eps"] = (1.0, 1e-3)  # another program: u = g now
    opt.step()
    moved = before - p.detach()
    assert moved[1] / moved[0] == pytest.approx(1e-5)


# SM3


@pytest.mark.parametrize("variant", ["I", "II"])
def test_sm3_bounds_what_adagrad_sums_and_never_forgets(variant):
    """Σ g² ≤ v, which never falls, and v of II ≤ v of I, as the paper proves: read from the states."""
    totals, before = torch.zeros(6, 4, dtype=torch.float64), torch.zeros(6, 4, dtype=torch.float64)
    params = {k: torch.nn.Parameter(tensors(0)[0]) for k in ("I", "II")}
    opts = {k: ravine.SM3([p], variant=k, backend="reference") for k, p in params.items()}
    for t in range(15):
        g = tensors(1 + t)[0]
        totals += g**2
        for k, opt in opts.items():
            params[k].grad = g.clone()
            opt.step()
        bound = {k: torch.minimum(opt.state[params[k]]["R"], opt.state[params[k]]["C"]) for k, opt in opts.items()}
        assert (bound[variant] >= totals * (1 - 1e-12)).all()
        assert (bound[variant] >= before).all()
        assert (bound["II"] <= bound["I"] * (1 + 1e-12)).all()
        before = bound[variant]


@pytest.mark.parametrize("variant", ["I", "II"])
def test_sm3_of_a_row_or_a_vector_is_adagrad(variant):
    """A row shares no column: its columns' numbers are Adagrad's sums."""
    shapes = ((1, 7), (5,), ())
    one = walk(ravine.SM3, shapes=shapes, lr=0.1, momentum=0.0, variant=variant)[1]
    same(one, walk(ravine.Adagrad, shapes=shapes, lr=0.1, eps=1e-30)[1])


def test_sm3_without_momentum_has_m_plus_n_numbers():
    opt, _ = walk(ravine.SM3, 1, shapes=((60, 40),), momentum=0.0)
    (p,) = opt.param_groups[0]["params"]
    assert sum(x.numel() for k, x in opt.state[p].items() if k != "step") == 100


# CAME


def test_came_trusts_what_does_not_change():
    """Where û stays close to m the step is longer than where it turns, by more than m is."""
    p = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    opt = ravine.CAME([p], lr=1.0, betas=(0.9, 0.99, 0.99), eps=(1e-30, 1e-8), backend="reference")
    for t in range(200):
        before = p.detach().clone()
        p.grad = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double() + torch.tensor([[0.0], [0.5]]).double() * (-1) ** t
        opt.step()
    step, m = (before - p.detach()).abs(), opt.state[p]["m"].abs()
    assert (step[0] / m[0] > 1.5 * step[1] / m[1]).all()


def test_came_of_vectors_has_no_confidence():
    """There it is momentum of Adafactor's clipped update with a fixed β₂: β₃ and ε₂ change nothing."""
    one = walk(ravine.CAME, shapes=((5,),), betas=(0.9, 0.99, 0.5), eps=(1e-30, 1.0))[1]
    same(one, walk(ravine.CAME, shapes=((5,),), betas=(0.9, 0.99, 0.9999))[1], 0)


# Adam-mini


def test_adam_mini_of_single_weights_is_adamw():
    hyper = {"lr": 1e-2, "weight_decay": 0.1}
    one = walk(ravine.AdamMini, partition="element", **hyper)[1]
    same(one, walk(ravine.AdamW, **hyper)[1], 0)
    shapes = ((6, 1), ())  # where each row has one weight, it is AdamW too
    same(walk(ravine.AdamMini, shapes=shapes, **hyper)[1], walk(ravine.AdamW, shapes=shapes, **hyper)[1])


@pytest.mark.parametrize(
    ("partition", "numbers"), [("row", [6, 1, 3]), ("tensor", [1, 1, 1]), ("element", [24, 5, 36])]
)
def test_adam_mini_keeps_a_second_moment_for_each_block(partition, numbers):
    opt, _ = walk(ravine.AdamMini, 1, partition=partition)
    assert [opt.state[p]["v"].numel() for p in opt.param_groups[0]["params"]] == numbers


def test_groups_of_adam_mini_choose_their_blocks():
    p, q = (torch.nn.Parameter(x) for x in tensors(0)[:2])
    opt = ravine.AdamMini([{"params": [p]}, {"params": [q], "partition": "element"}], backend="reference")
    for x in (p, q):
        x.grad = torch.ones_like(x)
    opt.step()
    assert opt.state[p]["v"].shape == (6, 1) and opt.state[q]["v"].shape == (5,)
