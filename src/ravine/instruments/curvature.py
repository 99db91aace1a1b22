"""The whole Hessian and the whole Fisher matrix of a small model: what estimates of them are measured against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

LARGEST = 5000  # parameters: their matrix has 25 million numbers, 200 MB in float64


def exact_hessian(loss: Tensor, params: Iterable[Tensor]) -> Tensor:
    """∂² loss / ∂p ∂p, (n, n), of all n numbers of the parameters, in their order: n backward passes.

        >>> import torch
        >>> from ravine.instruments import exact_hessian
        >>> p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> exact_hessian(p[0] ** 2 * p[1], [p]).tolist()
        [[4.0, 2.0], [2.0, 0.0]]

    The graph of the loss stays, so `loss.backward()` may follow. Raises ValueError above 5,000 numbers.
    """
    params = small("exact_hessian", params)
    grads = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    flat = torch.cat([g.flatten() for g in grads])
    if not flat.requires_grad:  # a linear loss
        return flat.new_zeros(len(flat), len(flat))
    return torch.stack([row(x, params) for x in flat.unbind()])


def exact_fisher(logits: Tensor, params: Iterable[Tensor]) -> Tensor:
    """The Fisher matrix of a classifier, (n, n), a mean over the rows of the logits (…, classes):

        F = 1/B Σᵢ Σₖ πᵢₖ ∇log πᵢₖ (∇log πᵢₖ)ᵀ          πᵢ = softmax(logitsᵢ)

    The expectation is over the classes that the model would draw, and not over the targets of the data. It is the
    Gauss-Newton matrix of the mean cross-entropy. One backward pass for each row and class.

        >>> import torch
        >>> from ravine.instruments import exact_fisher
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> exact_fisher(p[None], [p]).tolist()
        [[0.25, -0.25], [-0.25, 0.25]]

    The graph of the logits stays. Raises ValueError above 5,000 numbers.
    """
    params = small("exact_fisher", params)
    if logits.dim() < 2:
        raise ValueError(f"exact_fisher: logits have shape {tuple(logits.shape)}; they must be (…, classes)")
    logs = logits.reshape(-1, logits.shape[-1]).log_softmax(1)
    found = 0.0
    for one in logs.unbind():
        scores = torch.stack([row(x, params) for x in one.unbind()])
        found = found + scores.T @ (one.detach().exp()[:, None] * scores)
    return found / len(logs)  # pyright: ignore[reportReturnType]


def solved(matrix: Tensor, params: Iterable[Tensor], damping: float) -> dict[Tensor, Tensor]:
    """{p: its part of (matrix + damping I)⁻¹ g}, with the gradients that the parameters have.

    p ← p − lr times it is a damped Newton step with `exact_hessian`, and one of the natural gradient with
    `exact_fisher` (Amari 1998). Without enough damping a Hessian's negative curvature leads up.

        >>> import torch
        >>> from ravine.instruments import exact_hessian, solved
        >>> p = torch.nn.Parameter(torch.tensor([3.0, -1.0]))
        >>> loss = (torch.tensor([1.0, 50.0]) * (p - 2) ** 2).sum()
        >>> H = exact_hessian(loss, [p])
        >>> loss.backward()
        >>> with torch.no_grad():
        ...     for q, d in solved(H, [p], damping=0.0).items():
        ...         q -= d
        >>> p.tolist()
        [2.0, 2.0]
    """
    params = small("solved", params)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    flat = torch.cat([g.flatten() for g in grads]).detach().to(matrix.dtype)
    if matrix.shape != (len(flat), len(flat)):
        raise ValueError(
            f"solved: the matrix is {tuple(matrix.shape)}, and the parameters have {len(flat)} numbers; give it the "
            "parameters that the matrix was made of"
        )
    step = torch.linalg.solve(matrix + damping * torch.eye(len(flat), dtype=matrix.dtype, device=matrix.device), flat)
    parts = step.split([p.numel() for p in params])
    return {p: x.view(p.shape).to(p.dtype) for p, x in zip(params, parts, strict=True)}


def small(who: str, params: Iterable[Tensor]) -> Sequence[Tensor]:
    """The parameters, where a matrix of all is not too large."""
    params = list(params)
    if (n := sum(p.numel() for p in params)) > LARGEST:
        raise ValueError(
            f"{who}: the parameters have {n:,} numbers, and their matrix {n * n:,}; up to {LARGEST:,} are taken. "
            "ravine.sources has estimates of its diagonal and of its factors"
        )
    return params


def row(x: Tensor, params: Sequence[Tensor]) -> Tensor:
    """The gradient of a number, as one vector."""
    made = torch.autograd.grad(x, params, retain_graph=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in made]).detach()
