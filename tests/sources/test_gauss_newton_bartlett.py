"""The diagonal of the Gauss-Newton matrix, with targets that the model draws."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ravine
from ravine.instruments import exact_fisher, exact_hessian
from ravine.sources import GaussNewtonBartlett, Hutchinson


def problem(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return model, torch.randn(6, 3).double(), torch.arange(6) % 3


def mean(model, opt, source, count, one):
    """Of so many estimates at the same weights; the parameters' arrays as one vector."""
    params, found = list(model.parameters()), 0.0
    for _ in range(count):
        opt.zero_grad()
        one(source)
        opt.step()
        found = found + torch.cat([opt.state[p]["h"].flatten() for p in params]) / count
    return found


@pytest.mark.ci
def test_the_mean_of_many_is_the_diagonal_of_the_true_fisher_matrix():
    model, x, y = problem()
    source = GaussNewtonBartlett(every=1)
    opt = ravine.SophiaG(model.parameters(), lr=0.0, sources=[source])

    def one(source):
        logits = model(x)
        source.backward(logits)
        cross_entropy(logits, y).backward()

    want = exact_fisher(model(x), model.parameters()).diagonal()
    got = mean(model, opt, source, 1000, one)
    assert (got - want).abs().max() < 0.1 * want.max()
    empirical = torch.stack(
        [
            torch.cat([g.flatten() for g in torch.autograd.grad(cross_entropy(model(a), b), list(model.parameters()))])
            for a, b in zip(x.split(1), y.split(1), strict=True)
        ]
    )
    assert (empirical.square().mean(0) - want).abs().max() > 0.2 * want.max()  # with the data's targets it is not


@pytest.mark.ci
def test_hutchinsons_mean_of_many_is_the_diagonal_of_the_hessian():
    model, x, y = problem()
    source = Hutchinson()
    opt = ravine.SophiaH(model.parameters(), lr=0.0, sources=[source])
    want = exact_hessian(cross_entropy(model(x), y), model.parameters()).diagonal()
    got = mean(model, opt, source, 1000, lambda source: source.backward(cross_entropy(model(x), y)))
    assert (got - want).abs().max() < 0.1 * want.abs().max() and (want < 0).any()


def test_signs_are_both_as_likely():
    """`randint_like(p, 0, 1) * 2 - 1` is −1 always."""
    p = nn.Parameter(torch.zeros(10_000))
    source = Hutchinson()
    ravine.AdaHessian([p], sources=[source])
    z = source.signs(p, 0)
    assert set(z.tolist()) == {-1.0, 1.0} and z.mean().abs() < 0.05
    assert not torch.equal(z, source.signs(p, 1))


def test_parts_of_a_batch_count_as_one():
    model, x, y = problem()
    whole, parts = (GaussNewtonBartlett(seed=3) for _ in range(2))
    opts = [ravine.SophiaG(model.parameters(), lr=0.0, sources=[source]) for source in (whole, parts)]
    targets = [whole.drawn(model(a).detach()) for a in x.split(3)]
    parts.drawn = lambda logits: targets.pop(0)
    together = torch.cat(targets)
    whole.drawn = lambda logits: together
    whole.backward(model(x))
    for a in x.split(3):
        parts.backward(model(a))
    cross_entropy(model(x), y).backward()
    for opt in opts:
        opt.step()
    for p in model.parameters():
        torch.testing.assert_close(opts[0].state[p]["h"], opts[1].state[p]["h"])


def test_it_is_measured_in_every_kth_step_and_the_average_moves_then_only():
    def run(steps, saved=None):
        model, x, y = problem()
        source = GaussNewtonBartlett(every=3)
        opt = ravine.SophiaG(model.parameters(), lr=0.01, sources=[source])
        if saved:
            model.load_state_dict(saved[0])
            opt.load_state_dict(saved[1])
        moved = []
        for _ in range(steps):
            before = opt.state.get(model[0].weight, {}).get("c", torch.zeros(4, 3).double()).clone()
            opt.zero_grad()
            logits = model(x)
            source.backward(logits)
            cross_entropy(logits, y).backward()
            opt.step()
            moved.append(not torch.equal(before, opt.state[model[0].weight]["c"]))
        return model.state_dict(), deepcopy(opt.state_dict()), moved

    straight, _, moved = run(7)
    assert moved == [True, False, False, True, False, False, True]
    half = run(4)
    again, _, moved = run(3, half)
    assert moved == [False, False, True]
    assert all(torch.equal(straight[k], again[k]) for k in straight)


def test_gradients_are_left_alone_and_what_is_missing_is_said():
    model, x, y = problem()
    source = GaussNewtonBartlett()
    opt = ravine.SophiaG(model.parameters(), sources=[source])
    with pytest.raises(ValueError, match=r"logits have shape \(6, 3\) and no graph; they must be \(…, classes\)"):
        source.backward(model(x).detach())
    source.backward(model(x))
    assert all(p.grad is None for p in model.parameters())
    copied = deepcopy(source)
    assert not copied.sums and not copied.rows
    cross_entropy(model(x), y).backward()
    opt.step()
    other = ravine.SophiaG(model.parameters(), sources=[GaussNewtonBartlett()])
    with pytest.raises(RuntimeError, match=r"backward\(logits\) was not called in a step that takes a new estimate"):
        other.step()
    with pytest.raises(
        TypeError, match=r"(?s)SophiaG: parameter 0.*given no 'h'.*fisher = ravine.sources.Gauss.*logits"
    ):
        ravine.SophiaG(model.parameters()).step()
    scaler_like = ravine.SophiaG(model.parameters(), sources=[GaussNewtonBartlett()])
    scaler_like.found_inf, scaler_like.grad_scale = torch.zeros(1), torch.ones(1)
    with pytest.raises(RuntimeError, match="GradScaler scales the loss, and GaussNewtonBartlett would give"):
        scaler_like.step()


def test_bf16_weights_have_an_estimate_in_float32():
    model, x, y = problem()
    model, x = model.bfloat16(), x.bfloat16()
    source = GaussNewtonBartlett()
    opt = ravine.SophiaG(model.parameters(), storage="int8", sources=[source])
    logits = model(x)
    source.backward(logits)
    cross_entropy(logits, y).backward()
    opt.step()
    assert all(opt.state[p]["h"].dtype == torch.float32 and opt.state[p]["h"].any() for p in model.parameters())


def test_spatial_averages_are_those_of_adahessians_authors():
    params = [nn.Parameter(torch.randn(s).double()) for s in [(), (3,), (4, 3), (2, 3, 5), (2, 3, 2, 2)]]
    plain, source = Hutchinson(seed=1), Hutchinson(seed=1, spatial=True)
    a, b = (ravine.AdaHessian(params, lr=0.0, sources=[x]) for x in (plain, source))
    for opt, x in ((a, plain), (b, source)):
        opt.zero_grad()
        x.backward(sum((p**4).sum() for p in params) + params[0] * params[1].sum())
        opt.step()
    for p, dims in zip(params, [(), (), (1,), (2,), (2, 3)], strict=True):
        h = a.state[p]["h"].abs()
        torch.testing.assert_close(b.state[p]["h"], h.mean(dims, keepdim=True).expand_as(h) if dims else h)
