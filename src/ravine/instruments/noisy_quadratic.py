"""The noisy quadratic model: what a noise scale says about the batch size that is still worth it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

DIMENSIONS = 10_000  # as in the paper; curvatures 1, 1/2, 1/3 … 1/DIMENSIONS
GOAL = 0.01  # of the loss at the start: where a run is said to have arrived
KINDS = {  # momentum β, and which power of the curvature the preconditioner is
    "sgd": (0.0, 0.0),
    "momentum": (0.9, 0.0),
    "adam": (0.9, 0.5),  # divides by √v, and v is the noise, which is the curvature: h^½
}


def critical_batch(noise_scale: float, kind: str = "sgd", goal: float = GOAL) -> float:
    """The batch that needs twice the fewest steps, by the noisy quadratic model, where B_simple is `noise_scale`.

    Below it more examples in a batch save almost as many steps; above it they save few. The model is a quadratic
    loss ½ Σ hᵢ θᵢ² with hᵢ = 1/i, whose gradients have noise of covariance σ² hᵢ / B (the curvature is the covariance
    of gradients, as for a likelihood), from θᵢ² = 1 on:

        vᵢ ← β vᵢ + hᵢ^−p (hᵢ θᵢ + noise)        θᵢ ← θᵢ − α vᵢ

    For each batch the best constant rate α is taken, and the steps are counted until the expected loss is `goal` of
    the first. σ² is what gives the model the measured noise scale where it starts: B_simple = σ² Σhᵢ / Σhᵢ². So the
    answer is a number, which depends on method and goal, times the noise scale.

    kind: "sgd", β = p = 0; "momentum", β = 0.9; "adam", β = 0.9 and p = ½.

    Zhang et al. 2019, "Which Algorithmic Choices Matter at Which Batch Sizes?", sections 3.1 to 3.3
    https://arxiv.org/abs/1907.04164
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; the model knows {', '.join(map(repr, KINDS))}")
    if not 0 < goal < 1:
        raise ValueError(f"goal is {goal}; it is a part of the loss at the start, between 0 and 1")
    return noise_scale * factor(kind, goal)


@cache
def factor(kind: str, goal: float) -> float:
    """The critical batch where the noise scale is 1."""
    curves = expected_loss(*KINDS[kind])
    fewest = curves.steps(math.inf, goal)
    low, high = 1e-6, 1e6
    for _ in range(40):  # steps fall with the batch
        middle = math.sqrt(low * high)
        low, high = (middle, high) if curves.steps(middle, goal) > 2 * fewest else (low, middle)
    return math.sqrt(low * high)


@dataclass(eq=False)
class Curves:
    """The expected loss over steps, for each rate: what is left of the start, plus noise / batch times what it adds."""

    t: Tensor  # (times,)
    left: Tensor  # (rates, times), 1 at the start
    added: Tensor  # where the noise scale is 1 and the batch 1

    def steps(self, batch: float, goal: float) -> float:
        """The fewest steps until the loss is `goal` of the first, over all rates; interpolated, so not whole."""
        loss = (self.left + self.added / batch).nan_to_num(nan=math.inf).clamp(max=1e30).log()
        below = loss <= math.log(goal)
        i = below.int().argmax(1)  # the first time, or 0 where there is none
        there = below.any(1) & (i > 0)
        if not there.any():
            return math.inf
        rate, i = there.nonzero().flatten(), i[there]
        a, b = loss[rate, i - 1], loss[rate, i]
        part = (a - math.log(goal)) / (a - b)
        return float((self.t[i - 1].log() * (1 - part) + self.t[i].log() * part).exp().min())


@cache
def expected_loss(momentum: float, power: float) -> Curves:
    """The model without simulation: second moments of θ and v follow a linear map, whose powers are squared."""
    h, weight = spectrum()
    rates = 2 * (1 + momentum) * 2.0 ** -torch.arange(0.25, 16, 0.25, dtype=torch.float64)  # below where it diverges
    a, b, k = rates[:, None], momentum, (h ** (1 - power))[None, :]
    noise = (h ** (1 - 2 * power))[None, :].expand(len(rates), -1)
    zero = torch.zeros(len(rates), len(h), dtype=torch.float64)
    one = zero + 1
    # of (E v², E vθ, E θ², 1): first the new v, with the old θ, then the new θ
    vv = torch.stack([one * b * b, zero + 2 * b * k, zero + k * k, noise], -1)
    vt = torch.stack([zero, one * b, zero + k, zero], -1)
    tt = torch.stack([zero, zero, one, zero], -1)
    step = torch.stack([vv, vt - a[..., None] * vv, tt - 2 * a[..., None] * vt + a[..., None] ** 2 * vv], -2)
    last = torch.stack([zero, zero, zero, one], -1)
    step = torch.cat([step, last[..., None, :]], -2)

    two, three, four = step @ step, step @ step @ step, step @ step @ step @ step
    now = {4: four, 5: four @ step, 6: three @ three, 7: four @ three}
    times, maps = [1, 2, 3], [step, two, three]
    left, added = [], []
    scale = float((weight * h).sum() / (weight * h * h).sum())  # B_simple / σ²

    def keep(m: Tensor) -> None:
        left.append((weight * h * m[..., 2, 2]).sum(-1) / (weight * h).sum())
        added.append((weight * h * m[..., 2, 3]).sum(-1) / (weight * h).sum() / scale)

    for m in maps:
        keep(m)
    for _ in range(22):  # up to 2²⁴ steps
        for t, m in now.items():
            times.append(t)
            keep(m)
        now = {2 * t: m @ m for t, m in now.items()}
    return Curves(torch.tensor(times, dtype=torch.float64), torch.stack(left, 1), torch.stack(added, 1))


def spectrum() -> tuple[Tensor, Tensor]:
    """The curvatures 1/i, those far out in groups of neighbours, and how many are in each."""
    edges = [*range(1, 33), *(round(32 * 1.1**i) for i in range(1, 61))]
    edges = [x for x in edges if x <= DIMENSIONS] + [DIMENSIONS + 1]
    first, end = torch.tensor(edges[:-1]), torch.tensor(edges[1:])
    weight = (end - first).double()
    middle = torch.tensor([sum(1 / i for i in range(a, b)) for a, b in pairwise(edges)])
    return middle.double() / weight, weight
