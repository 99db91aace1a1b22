"""SparseAdam, as torch writes it."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import sqrt, zeros


class SparseAdam(Optimizer):
    """Adam for embedding tables: only the rows that the batch has touched move, and only they cost anything.

    For the rows of the sparse gradient:

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        p ← p − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)

    t counts the steps of the whole table. A row that is not touched keeps its m and v as they are: they do not
    fade, so that an old momentum acts in full when the row comes back. ε stands beside √v before the correction,
    so it counts 1/√(1 − β₂ᵗ) times what it does in Adam. Dense gradients raise; Adam takes both kinds.

    Use it for large embeddings with nn.Embedding(sparse=True), where torch.optim.SparseAdam was used; Adam and AdamW
    here take the same gradients, with weight decay for the touched rows, and may hold the dense layers too.

    Kingma & Ba 2015, end of section 2    https://arxiv.org/abs/1412.6980
    Numbers, names and defaults are those of torch.optim.SparseAdam.
    """

    papers = ("kingma2015adam",)
    twin = torch.optim.SparseAdam
    names = {"m": "exp_avg", "v": "exp_avg_sq"}
    sparse = True
    dense = False
    real_only = True

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        return p - self.lr * sqrt(1 - b2**t) / (1 - b1**t) * s.m / (sqrt(s.v) + self.eps)
