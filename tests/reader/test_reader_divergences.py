"""docs/divergences.md tells the truth: its methods exist, its defaults are the code's, its flags are taken."""

import ast
import inspect
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine
from ravine.catalog.methods import defaults
from ravine.optim import registry
from ravine.testing.subject import some

PAGE = Path(__file__).parents[2] / "docs" / "divergences.md"
LINES = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in LINES[2:]]
METHODS = registry() | {"lookahead": ravine.strategies.Lookahead, "sam": ravine.strategies.SAM}
HERE = {row[0]: METHODS[row[0].lower()] for row in ROWS if row[0].lower() in METHODS}
present = pytest.mark.parametrize("row", [row for row in ROWS if row[0] in HERE], ids=lambda row: row[0])


def said(cell):
    """(class, hyperparameters) of each `code` in a cell that is a setting, a call or a class."""
    for code in re.findall(r"`([^`]+)`", cell):
        if re.fullmatch(r"[\w.]+=.+", code):
            code = f"_({code})"
        tree = ast.parse(code, mode="eval").body
        if isinstance(tree, ast.Name):
            yield tree.id, {}
        elif isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            yield tree.func.id.strip("_"), {k.arg: ast.literal_eval(k.value) for k in tree.keywords}


def taken(cls):
    """The hyperparameters of an optimizer, or the arguments of a strategy, with their defaults."""
    if issubclass(cls, ravine.Optimizer):
        return defaults(cls)
    return {k: x.default for k, x in inspect.signature(cls).parameters.items()}


def one_step(cls, *gradients, start=1.0, **hyper):
    """(the optimizer, its weight) after these gradients, in float64."""
    p = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    opt = cls([p], **hyper)
    for g in gradients:
        p.grad = torch.tensor([g], dtype=torch.float64)
        if not getattr(cls, "dense", True):
            p.grad = p.grad.to_sparse()
        opt.step(**some(opt, 0) | {"loss": 1.0})
    return opt, p


def test_the_table_is_sorted_and_whole():
    assert len(ROWS) >= 50 and len(set(ROWS)) == len(ROWS)
    assert all(len(row) == 4 and all(row) for row in ROWS)
    assert [row[0].casefold() for row in ROWS] == sorted(row[0].casefold() for row in ROWS)


def test_every_method_is_here_under_its_name_or_is_marked_as_coming():
    for method in {row[0] for row in ROWS}:
        if method.endswith(" *(later)*"):
            assert method.removesuffix(" *(later)*").lower() not in METHODS, f"{method} has come: say what it does"
        else:
            assert METHODS[method.lower()].__name__ == method


@present
def test_the_defaults_are_the_codes(row):
    cls = HERE[row[0]]
    for name, hyper in said(row[2]):
        assert not name
        assert hyper.items() <= taken(cls).items(), f"{row[0]}: {row[2]}"


@present
def test_the_flags_are_taken_and_change_something(row):
    cls = HERE[row[0]]
    for name, hyper in said(row[3]):
        other = METHODS[name.lower()] if name else cls
        if not name:
            assert not hyper.items() <= taken(cls).items(), f"{row[0]}: {row[3]} is the default"
        params = [nn.Parameter(torch.zeros(1))]
        other(params if issubclass(other, ravine.Optimizer) else ravine.SGD(params), **hyper)


# slips: the right form, seen in a step


@pytest.mark.parametrize("cls", registry().values(), ids=registry().keys())
def test_no_method_climbs(cls):
    """Adagrad's plus, Adadelta's missing minus, Adam's first moment with a minus: all would."""
    opt, p = one_step(cls, *[1.0] * 20, start=0.0)
    opt.eval()
    assert p.item() <= 0.0


def test_nesterovs_look_ahead_is_in_the_direction_of_the_step():
    opt, p = one_step(ravine.NAG, 2.0, lr=0.1, momentum=0.5)
    ahead = p.item()
    opt.eval()
    assert (p.item(), ahead) == pytest.approx((1.0 - 0.2, 1.0 - 0.2 - 0.5 * 0.2))


@pytest.mark.parametrize("cls", [ravine.Adam, ravine.AMSGrad, ravine.NAdam, ravine.RAdam, ravine.Adamax])
def test_the_first_moment_has_the_gradients_sign(cls):
    opt, p = one_step(cls, 3.0)
    state = opt.state[p]
    assert state["exp_avg" if "exp_avg" in state else "m"].item() == pytest.approx(0.3)


def test_adams_bound_has_max():
    """One gradient after long silence: the step is lr (1 − β₁) / √(1 − β₂), more than lr, which min would say."""
    _, p = one_step(ravine.Adam, *[0.0] * 300, 1.0, start=0.0, lr=1.0, betas=(0.5, 0.9))
    bound = (1 - 0.5) / math.sqrt(1 - 0.9)
    assert -p.item() == pytest.approx(bound, rel=1e-6) and bound > 1.0


def test_adams_own_bound_is_exceeded_by_growing_gradients():
    b1, b2, n = 0.9, 0.999, 300
    growing = [(b1 / b2) ** (n - i) for i in range(n + 1)]
    long_ago = [1e-60] * 7000  # no silence: 0 / 0 is no step
    gradients = [*long_ago, *growing]
    (_, before), (_, p) = (one_step(ravine.Adam, *x, start=0.0, lr=1.0, eps=0.0) for x in (gradients[:-1], gradients))
    step, paper = before.item() - p.item(), (1 - b1) / math.sqrt(1 - b2)
    assert step == pytest.approx(paper / math.sqrt(1 - b1**2 / b2), rel=1e-3) == pytest.approx(7.27, abs=0.01)
    assert paper == pytest.approx(3.16, abs=0.01)


def test_rare_features_take_large_steps_with_adagrad():
    steps = []
    for every in (1, 10):
        gradients = [float((t + 1) % every == 0) for t in range(100)]
        (_, before), (_, after) = (one_step(ravine.Adagrad, *x, lr=1.0) for x in (gradients[:-1], gradients))
        steps.append(before.item() - after.item())
    assert steps == pytest.approx([100**-0.5, 10**-0.5])


def test_adamax_divides_by_the_largest_gradient_and_no_root_of_it():
    _, p = one_step(ravine.Adamax, 4.0, 4.0, start=0.0, lr=1.0)
    assert p.item() == pytest.approx(-2.0)  # with √u it would be −4


def test_the_velocitys_weight_is_beta_at_every_rate():
    """v ← μ v + η g with μ = β is torch's momentum, whatever η; with μ = η β it would hardly remember."""
    for lr in (0.5, 0.01):
        _, velocity = one_step(ravine.Momentum, 1.0, -2.0, 0.5, start=0.0, lr=lr, momentum=0.9)
        _, torchs = one_step(ravine.SGD, 1.0, -2.0, 0.5, start=0.0, lr=lr, momentum=0.9)
        assert velocity.item() == pytest.approx(torchs.item())


def test_a_sum_of_gradients_scales_by_one_over_one_minus_beta():
    for form, times in (("heavy_ball", 10.0), ("average", 1.0)):
        (_, before), (_, after) = (
            one_step(ravine.Momentum, *[1.0] * n, start=0.0, lr=1.0, momentum=0.9, form=form) for n in (400, 401)
        )
        assert before.item() - after.item() == pytest.approx(times)


def test_nadams_momentum_is_corrected_for_the_next_step_and_its_gradient_is_at_the_weights():
    _, p = one_step(ravine.NAdam, 1.0, start=0.0, lr=1.0, eps=0.0, constant_beta=True)
    assert -p.item() == pytest.approx(1 + 0.9 * (1 - 0.9) / (1 - 0.9**2))  # with 1 − β₁ below both it would be 1.9
    q = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    opt, seen = ravine.NAdam([q], lr=0.1), []
    for _ in range(3):
        seen.append(q.item())
        q.grad = q.detach() - 1
        opt.step()
        assert q.grad.item() == seen[-1] - 1  # what the gradient was taken at is the weight that the last step left


def test_qhadam_averages_below_too():
    """ν₂ = 0 divides by |g|, whatever v is; an average of two steps would divide by v's root."""
    _, p = one_step(ravine.QHAdam, 5.0, 1.0, start=0.0, lr=1.0, eps=0.0, nus=(0.0, 0.0))
    assert p.item() == pytest.approx(-2.0)


# defects elsewhere, and that they are not here


def test_sgd_takes_the_first_gradient_whole():
    _, p = one_step(ravine.SGD, 1.0, lr=0.1, momentum=0.9, dampening=0.5)
    assert p.item() == pytest.approx(0.9)


def test_rmsprop_centered_has_no_nan():
    _, p = one_step(ravine.RMSprop, *[1.1] * 50, lr=0.01, alpha=0.0, centered=True)
    assert math.isfinite(p.item())


def test_signum_keeps_its_momentum():
    _, with_momentum = one_step(ravine.Signum, 1.0, 1.0, -0.1, start=0.0, lr=1.0, momentum=0.9)
    _, without = one_step(ravine.Signum, 1.0, 1.0, -0.1, start=0.0, lr=1.0, momentum=0.0)
    assert (with_momentum.item(), without.item()) == (-3.0, -1.0)


def test_aggmo_keeps_equal_betas_apart():
    _, twice = one_step(ravine.AggMo, 1.0, -0.3, 0.2, betas=(0.9, 0.9))
    _, once = one_step(ravine.AggMo, 1.0, -0.3, 0.2, betas=(0.9,))
    assert twice.item() == pytest.approx(once.item(), rel=1e-12)


def test_lars_scales_its_first_step():
    _, p = one_step(ravine.LARS, 100.0, lr=1.0)
    assert p.item() == pytest.approx(1.0 - 1e-3)


def test_lion_decays_the_weights_and_not_the_gradient():
    _, p = one_step(ravine.Lion, -1.0, start=10.0, lr=0.1, weight_decay=0.5)
    assert p.item() == pytest.approx((1 - 0.05) * 10 + 0.1)


def test_yogi_does_not_move_a_weight_without_gradients():
    assert one_step(ravine.Yogi, 0.0, 0.0)[1].item() == 1.0


def test_sgdw_begins_at_rest():
    assert one_step(ravine.SGDW, 0.0, weight_decay=0.0)[1].item() == 1.0


def test_adam_eps_hat_is_adam_eps():
    """ε̂: √v + ε before the correction of v."""
    _, p = one_step(ravine.AdamEps, 0.01, start=0.0, lr=1.0, eps=1e-3)
    assert p.item() == pytest.approx(-0.01 * math.sqrt(0.001) / (0.01 * math.sqrt(0.001) + 1e-3))
