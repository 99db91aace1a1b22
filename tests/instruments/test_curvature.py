"""The whole Hessian and Fisher matrix, and steps along them."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ravine.instruments import exact_fisher, exact_hessian, solved


def problem(hidden=True):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)] if hidden else [nn.Linear(4, 3)]
    model, x = nn.Sequential(*layers).double(), torch.randn(10, 4).double()
    return model, x, torch.arange(10) % 3


def flat_loss(model, x, y):
    shapes = {k: p.shape for k, p in model.named_parameters()}

    def loss(flat):
        parts = flat.split([s.numel() for s in shapes.values()])
        return cross_entropy(
            torch.func.functional_call(
                model, {k: v.view(s) for (k, s), v in zip(shapes.items(), parts, strict=True)}, x
            ),
            y,
        )

    return loss, torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_hessian_is_torchs():
    model, x, y = problem()
    got = exact_hessian(cross_entropy(model(x), y), model.parameters())
    torch.testing.assert_close(got, torch.autograd.functional.hessian(*flat_loss(model, x, y)))


def test_of_a_linear_classifier_the_fisher_matrix_is_the_hessian_and_of_others_it_is_not():
    for hidden in (False, True):
        model, x, y = problem(hidden)
        logits = model(x)
        same = torch.allclose(
            exact_fisher(logits, model.parameters()), exact_hessian(cross_entropy(logits, y), model.parameters())
        )
        assert same == (not hidden)
        assert torch.linalg.eigvalsh(exact_fisher(logits, model.parameters())).min() > -1e-12


@pytest.mark.parametrize("which", ["newton", "natural"])
def test_damped_steps_arrive_where_gradient_descent_has_hardly_begun(which):
    model, x, y = problem(False)
    params = list(model.parameters())
    for _ in range(12):
        logits = model(x)
        loss = cross_entropy(logits, y) + 0.01 * sum(p.square().sum() for p in params)
        matrix = exact_hessian(loss, params) if which == "newton" else exact_fisher(logits, params)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, d in solved(matrix, params, 1e-9 if which == "newton" else 0.02).items():
                p -= d
    assert max(p.grad.abs().max() for p in params) < 1e-12


def test_what_is_too_large_or_does_not_fit_is_said():
    big = nn.Parameter(torch.zeros(5001))
    with pytest.raises(
        ValueError, match=r"exact_hessian: the parameters have 5,001 numbers.*up to 5,000.*ravine.sources"
    ):
        exact_hessian(big.sum(), [big])
    p = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"solved: the matrix is \(2, 2\), and the parameters have 3 numbers"):
        solved(torch.eye(2), [p], 0.1)
    with pytest.raises(ValueError, match=r"exact_fisher: logits have shape \(3,\)"):
        exact_fisher(p * 1, [p])
    assert exact_hessian(p.sum(), [p]).tolist() == [[0.0] * 3] * 3
