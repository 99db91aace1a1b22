"""Rules with matrix operations as a user writes them, and the same directions in plain torch."""

import torch
from torch import nn
from toys import waves

from ravine import Optimizer
from ravine.words import (
    col_max,
    col_total,
    cols,
    diagonal,
    eye,
    matrix_op,
    matrix_total,
    minimum,
    norm,
    row_total,
    rows,
    sqrt,
    total,
    trace,
    turn,
    zeros,
)

SHAPES = [(5,), (3, 4), (6, 3), (2, 3, 2, 2)]


def as_matrix(x):
    return x.reshape(x.shape[0], -1) if x.dim() > 1 else x.reshape(-1, 1)


def steps(cls, shape, backend="llvm", count=4, dtype=torch.float64, **hyper):
    """The parameter after some steps from ones, and the optimizer."""
    p = nn.Parameter(torch.ones(shape, dtype=dtype))
    opt = cls([p], backend=backend, **hyper)
    for g in waves(shape, count):
        p.grad = g.to(dtype)
        opt.step()
    return p.detach(), opt


def plain(direction, shape, count=4, lr=0.1):
    """The same in torch: `direction(state, g, t)` of the gradient as a matrix."""
    p, state = torch.ones(shape, dtype=torch.float64), {}
    for t, g in enumerate(waves(shape, count), 1):
        p = p - lr * direction(state, as_matrix(g), t).reshape(shape)
    return p


@matrix_op("n n -> n n")
def inverse_root(a, eps, power=4):
    w, q = torch.linalg.eigh(a)
    return q * (w.clamp(min=0) + eps)[..., None, :] ** (-1 / power) @ q.mT


@matrix_op("n n, n n -> n n")
def power_step(a, q):
    """One step of the power iteration for the eigenvectors of a, from q."""
    return torch.linalg.qr(a @ q).Q


@matrix_op("n n -> n, n n")
def eigen(a):
    return torch.linalg.eigh(a)


@matrix_op("r c -> r k")
def leading(x, k):
    return torch.linalg.svd(x, full_matrices=False).U[..., :k]


@matrix_op("r c, r -> r")
def rowwise(x, v):
    return x.sum(-1) * v


class Shampoo(Optimizer):
    """Roots every `interval` steps."""

    lr: float = 0.1
    eps: float = 1e-2
    interval: int = 1

    def init(self, s, p):
        s.L, s.R, s.PL, s.PR = zeros("r r"), zeros("c c"), eye("r"), eye(cols(p))

    def update(self, s, p, g, t):
        due = turn(t, self.interval)
        s.L, s.R = s.L + g @ g.T, 0.9 * s.R + g.T @ g
        s.PL = inverse_root(s.L, self.eps, power=4, due=due, old=s.PL)
        s.PR = inverse_root(s.R, self.eps, due=due, old=s.PR)
        return p - self.lr * (s.PL @ g @ s.PR)


def shampoo(interval=1, eps=1e-2):
    def direction(s, g, t):
        s["L"] = s.get("L", 0) + g @ g.T
        s["R"] = 0.9 * s.get("R", 0) + g.T @ g
        if (t - 1) % interval == 0:
            s["PL"], s["PR"] = inverse_root(s["L"], eps), inverse_root(s["R"], eps)
        return s["PL"] @ g @ s["PR"]

    return direction


class Soap(Optimizer):
    """Adam in a basis that follows the eigenvectors of g gᵀ."""

    lr: float = 0.1

    def init(self, s, p):
        s.L, s.Q, s.v = zeros("r r"), eye(rows(p)), zeros(p)

    def update(self, s, p, g, t):
        s.L = 0.9 * s.L + 0.1 * g @ g.T
        s.Q = power_step(s.L + 0.1 * eye("r"), s.Q)
        turned = s.Q.T @ g
        s.v = 0.9 * s.v + 0.1 * turned**2
        return p - self.lr * (s.Q @ (turned / (sqrt(s.v) + 0.1)))


def soap(s, g, t):
    identity = torch.eye(len(g), dtype=g.dtype)
    s["L"] = 0.9 * s.get("L", 0) + 0.1 * g @ g.T
    s["Q"] = power_step(s["L"] + 0.1 * identity, s.get("Q", identity))
    turned = s["Q"].T @ g
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * turned**2
    return s["Q"] @ (turned / (s["v"].sqrt() + 0.1))


class Spectral(Optimizer):
    """Eigenvalues and eigenvectors of both factors, put together again."""

    lr: float = 0.1

    def init(self, s, p):
        s.w, s.Q = zeros("r"), zeros("r r")

    def update(self, s, p, g, t):
        s.w, s.Q = eigen(g @ g.T)
        w, q = eigen(g.T @ g)
        return p - self.lr * (((s.Q * s.w.T) @ s.Q.T) @ g @ ((q * w) @ q.T))


class LowRank(Optimizer):
    """The gradient projected on a few directions."""

    lr: float = 0.1
    rank: int = 2

    def init(self, s, p):
        self.k = minimum(minimum(self.rank, rows(p)), cols(p))
        s.U = zeros("r k", k=self.k)

    def update(self, s, p, g, t):
        s.U = leading(g, k=minimum(minimum(rows(p), self.rank), cols(p)))
        return p - self.lr * (s.U @ (s.U.T @ g))


def low_rank(s, g, t):
    u = torch.linalg.svd(g, full_matrices=False).U[:, :2]
    return u @ u.T @ g


class Numbers(Optimizer):
    """Sums of factors, and numbers of rows and columns that matrix work makes."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        left, right = g @ g.T, g.T @ g
        scale = 1 + norm(left) + total(right) + trace(left) + matrix_total(right) + total(col_max(right))
        by_row = diagonal(left) + row_total(left) + col_total(left).T + rowwise(g, diagonal(left))
        by_col = diagonal(right) + col_total(right) + row_total(right).T
        return p - self.lr * (g / scale + by_row / (1 + by_col**2))


def numbers(s, g, t):
    left, right = g @ g.T, g.T @ g
    scale = 1 + left.norm() + right.sum() + left.trace() + right.sum() + right.amax(0).sum()
    by_row = left.diagonal() + left.sum(1) + left.sum(0) + g.sum(1) * left.diagonal()
    by_col = right.diagonal() + right.sum(0) + right.sum(1)
    return g / scale + by_row[:, None] / (1 + by_col**2)


RULES = {
    "shampoo": (Shampoo, shampoo()),
    "soap": (Soap, soap),
    "spectral": (Spectral, lambda s, g, t: g @ g.T @ g @ g.T @ g),
    "low rank": (LowRank, low_rank),
    "numbers": (Numbers, numbers),
}
