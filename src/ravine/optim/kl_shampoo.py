"""KL-Shampoo and KL-SOAP."""

from typing import ClassVar, Literal

import torch

from ravine.matrix import basis, follow
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import cols, eye, is_vector, matrix_op, norm, numel, rows, sqrt, turn, where, zeros

# Of a factor S = Q Λ Qᵀ a rule keeps Q Λ^(−1/2): its columns are the eigenvectors, and their lengths the roots


@matrix_op("n n, n k -> n n")
def refined(q, z, beta, most):
    """The scaled basis q with Λ ← (β + (1 − β) mean z²) Λ, where z has a row for each column of q; and its longest
    columns cut to min(n, most), or to 10."""
    q = q / (beta + (1 - beta) * z.square().mean(-1))[..., None, :].sqrt() if z.numel() else q
    return q * (max(10.0, min(float(q.shape[-1]), most)) / lengths(q)).clamp(max=1.0) if most else q


@matrix_op("n n, n n, n k -> n n, n k")
def followed(a, q, m, first, t):
    """The scaled basis after a QR of a q, at t = 1 eigenvectors of a with Λ = `first`; and m, which is in q, in it."""
    if t <= 1:
        return basis(a) / first**0.5, m
    old, size = q / lengths(q), lengths(q)
    new = follow(a, old, sort=False)
    return new * size, new.mT @ (old @ m)


@matrix_op("n n -> n n")
def unscaled(q):
    """The basis itself."""
    return q / lengths(q)


def divided(x, *given, sides):
    """x / (√(λₗ λᵣᵀ) + ε), for x in the bases; given are these, and ε."""
    *q, eps = given
    left = lengths(q[0]).mT if sides != "right" else 1.0
    right = lengths(q[-1]) if sides != "left" else 1.0
    return x / (1 / (left * right) + eps)


def lengths(q):
    """The length of each column."""
    return torch.linalg.vector_norm(q, dim=-2, keepdim=True)


class KLShampoo(Optimizer):
    """Shampoo with the factors whose Gaussian is nearest to that of the gradients: each is seen through the other.

        m ← β₁ m + (1 − β₁) g
        p ← (1 − lr λ) (p − lr Qₗ (Qₗᵀ m Qᵣ / (√(Λₗ Λᵣᵀ) + ε)) Qᵣᵀ)
        L ← β₂ L + (1 − β₂) g Qᵣ Λᵣ⁻¹ Qᵣᵀ gᵀ / c         R ← β₂ R + (1 − β₂) gᵀ Qₗ Λₗ⁻¹ Qₗᵀ g / r
        Λₗ ← β₂ Λₗ + (1 − β₂) mean over j of (Qₗᵀ g Qᵣ)ᵢⱼ² / Λᵣⱼ         Λᵣ likewise over i
        Qₗ, Qᵣ ← QR of L Qₗ and R Qᵣ every `interval` steps

    L ⊗ R minimises the KL divergence between Gaussians of gradients, where Shampoo's factors each minimise it with the
    other held at the identity. So they have the right scale, and there is no graft. Λ is an average of its own, since
    the eigenvalues of a basis that is old are those of no factor.

    As in the authors' code: the first step moves nothing, its gradient alone makes Q with the identity for the other
    side, and Λ is `initial`; nothing is corrected for its start; 1 / √Λ is at most min(n, max_root) for n rows or
    columns and never below 10, and max_root=0.0 leaves that out; the decay is of the weights after the step. β₂ is
    shampoo_beta where that is given. normalize gives each tensor's step an RMS of lr. The state has Q Λ^(−1/2) in one
    matrix. sides="left" or "right" has one factor, and the identity for the other. Vectors, which the authors leave to
    AdamW, have Adam's step without corrections, m / (√v + ε). A tensor of more dimensions is one matrix, where the
    authors have a factor for each up to three. Columns are orthogonalised as they stand.

    Use it where you would use SOAP, for less memory: it has no v. Large embeddings want sides="right" or a rule of
    their own (`ravine.Routed`).

    Lin et al. 2026, Figure 3    https://arxiv.org/abs/2509.03378
    """

    papers = ("lin2026kl",)
    ranges = {"shampoo_beta": "[0, 1)", "initial": "(0, inf)"}

    lr: float | torch.Tensor = 1e-4
    betas: Pair = (0.9, 0.98)
    shampoo_beta: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.01
    interval: int = 10
    stagger: bool = False
    initial: float = 0.1
    max_root: float = 4000.0
    normalize: bool = False
    sides: Literal["both", "left", "right"] = "both"
    blocks: Block | None = None

    in_basis: ClassVar[bool] = False  # True: Adam's m and v of matrices, in the bases

    def init(self, s, p):
        s.m = zeros(p)
        if self.in_basis or is_vector(p):
            s.v = zeros(p, positive=True)
        if not is_vector(p):
            if self.sides != "right":
                s.L, s.QL = zeros("r r"), eye("r")
            if self.sides != "left":
                s.R, s.QR = zeros("c c"), eye("c")

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        matrix = not is_vector(p)
        x = self.into(s, g) if matrix and self.in_basis else g
        m = b1 * s.m + (1 - b1) * x
        if self.in_basis or not matrix:
            v = b2 * s.v + (1 - b2) * x**2
            u = m / (sqrt(v) + self.eps)
            s.v = where(t > 1, v, s.v)
        else:
            u = self.over(s, self.into(s, m))
        u = self.out_of(s, u) if matrix else u
        if self.normalize:
            u = u / (1e-30 + sqrt(norm(u) ** 2 / numel(u)))
        new = (1 - self.lr * self.weight_decay) * (p - self.lr * u)
        m, new = where(t > 1, m, s.m), where(t > 1, new, p)
        s.m = self.learned(s, m, g, t) if matrix else m
        return new

    def into(self, s, x):
        """x in the bases."""
        x = x if self.sides == "right" else unscaled(s.QL).T @ x
        return x if self.sides == "left" else x @ unscaled(s.QR)

    def out_of(self, s, x):
        """What is x in the bases."""
        x = x if self.sides == "right" else unscaled(s.QL) @ x
        return x if self.sides == "left" else x @ unscaled(s.QR).T

    def over(self, s, x):
        """x, which is in the bases, over the roots of their eigenvalues."""
        left, right = ([] if self.sides == "right" else [s.QL]), ([] if self.sides == "left" else [s.QR])
        shapes = ", ".join(["r c", *("r r" for _ in left), *("c c" for _ in right)])
        return matrix_op(f"{shapes} -> r c")(divided)(x, *left, *right, self.eps, sides=self.sides)

    def learned(self, s, m, g, t):
        """m in the bases of the next step, where it is in them; the factors are those of g and of the old ones."""
        b3 = self.betas[1] if self.shampoo_beta is None else self.shampoo_beta
        due = turn(t, self.interval, stagger=self.stagger)
        x = g if self.sides == "left" else g @ s.QR
        y = g if self.sides == "right" else s.QL.T @ g
        z = x if self.sides == "right" else s.QL.T @ x
        if self.sides != "right":
            s.L = b3 * s.L + (1 - b3) / cols(g) * (x @ x.T)
            q = refined(s.QL, z, b3, self.max_root)
            s.QL, turned = followed(s.L, q, m, self.initial, t, due=due, old=(q, m))
            m = turned if self.in_basis else m
        if self.sides != "left":
            s.R = b3 * s.R + (1 - b3) / rows(g) * (y.T @ y)
            q = refined(s.QR, z.T, b3, self.max_root)
            s.QR, turned = followed(s.R, q, m.T, self.initial, t, due=due, old=(q, m.T))
            m = turned.T if self.in_basis else m
        return m


class KLSOAP(KLShampoo):
    """SOAP in the eigenbases of KL-Shampoo's factors: Adam there, with a number for each weight.

        g' = Qₗᵀ g Qᵣ
        m' ← β₁ m' + (1 − β₁) g'         v ← β₂ v + (1 − β₂) g'²
        p ← (1 − lr λ) (p − lr Qₗ (m' / (√v + ε)) Qᵣᵀ)

    L, R, Λ, Qₗ and Qᵣ are learned as by `KLShampoo`, which has all the arguments too; when a basis turns, m' goes into
    the new one. As in the authors' code, m' and v are not corrected for their start, and the first step moves nothing.

    Use it where SOAP is used, with SOAP's rates; the authors found KLShampoo, without v, a little better.

    Lin et al. 2026, Figure 3    https://arxiv.org/abs/2509.03378
    """

    in_basis: ClassVar[bool] = True
