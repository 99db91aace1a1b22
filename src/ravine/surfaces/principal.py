"""The plane nearest to long vectors, by their Gram matrix, and how near random walks would lie to theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
COLUMNS = 2**20  # of the vectors that are held in float64 at a time


@dataclass(frozen=True, eq=False)
class Principal:
    """Two principal directions, and where the vectors lie by them."""

    origin: Tensor  # (n,): the point of the plane that is nearest to 0
    axes: Tensor  # (2, n), orthonormal
    shares: tuple[float, float]  # of the squared distances from the centre that lie along each
    points: Array  # (vectors, 2): the inner products with the axes, which are 0 at the origin
    distances: Array  # (vectors,): from the centre
    away: Array  # (vectors,): from the plane


def principal(rows: Sequence[Tensor], weights: Array) -> Principal:
    """Principal directions of vectors of n numbers about the centre Σ weights[i] rows[i].

        G = X Xᵀ = Σ λₖ aₖ aₖᵀ        uₖ = Xᵀ aₖ / √λₖ        X: the rows less the centre

    It takes memory for the result and for COLUMNS of all rows; n × n is never made. The directions point to where the
    later rows lie. ValueError says so where the rows lie on one line.
    """
    gram = np.zeros((len(rows), len(rows)))
    for block, _ in centred(rows, weights):
        gram += (block @ block.T).numpy()
    eigenvalues, vectors = np.linalg.eigh(gram)
    largest, vectors = eigenvalues[:-3:-1], vectors[:, :-3:-1]
    if not largest[1] > 1e-12 * largest[0]:
        raise ValueError("principal: the snapshots lie on one line, so there is no plane through them")
    points = vectors * np.sqrt(largest)
    squares = np.diag(gram)
    away = np.sqrt(np.maximum(squares - (points**2).sum(1), 0))
    signs = np.where(np.linspace(-1, 1, len(rows)) @ points < 0, -1.0, 1.0)
    mix = torch.from_numpy((signs * vectors / np.sqrt(largest)).T)
    parts = [(mix @ block, centre) for block, centre in centred(rows, weights)]
    axes, centre = (torch.cat(x, -1) for x in zip(*parts, strict=True))
    middle, (first, second) = axes @ centre, largest / eigenvalues.sum()
    precise = torch.promote_types(rows[0].dtype, torch.float32)
    return Principal(
        origin=(centre - middle @ axes).to(precise),
        axes=axes.to(precise),
        shares=(float(first), float(second)),
        points=signs * points + middle.numpy(),
        distances=np.sqrt(squares),
        away=away,
    )


def centred(rows: Sequence[Tensor], weights: Array) -> Iterator[tuple[Tensor, Tensor]]:
    """Some columns at a time of the rows less the centre, and of the centre, in float64."""
    share = torch.from_numpy(weights)
    for i in range(0, len(rows[0]), COLUMNS):
        block = torch.stack([row[i : i + COLUMNS] for row in rows]).double()
        centre = share @ block
        yield block - centre, centre


def walks(steps: Sequence[Sequence[int]], gone: Sequence[float], weights: Array) -> tuple[float, float]:
    """The shares of two principal directions for random walks in very many dimensions, one for each path.

    They begin at one point and have snapshots at the same steps; `gone` is how far each is from its start at its end,
    on average. Their inner products are then known, E xᵢ · xⱼ = d² min(i, j) / last within a walk and 0 between two.

        >>> import numpy as np
        >>> one = range(1000)
        >>> "%.3f %.3f" % walks([one], [1.0], np.full(1000, 1 / 1000))  # 6/π² and a quarter of that
        '0.608 0.152'

    Antognini & Sohl-Dickstein 2018, section 2    https://arxiv.org/abs/1806.08805
    """
    gram, at = np.zeros((len(weights), len(weights))), 0
    for each, distance in zip(steps, gone, strict=True):
        t = np.array(each, dtype=float) - each[0]
        here = slice(at, at + len(t))
        gram[here, here] = distance**2 * np.minimum(t[:, None], t) / max(t[-1], 1.0)
        at += len(t)
    less = np.eye(len(weights)) - weights  # each row less the centre
    eigenvalues = np.linalg.eigvalsh(less @ gram @ less.T)
    first, second = eigenvalues[:-3:-1] / eigenvalues.sum()
    return float(first), float(second)
