"""APOLLO: channel rates from a random projection."""

import math

import torch

from ravine.compile.interpret import factor
from transcriptions.draw import ADAM


class APOLLOPaper:
    """Zhu et al. 2025, Algorithm 1, in the order of the authors' code    https://arxiv.org/abs/2412.05270

        if t mod T = 0: another P ~ N(0, 1/r);  R = P G, here for m ≤ n; else R = G P, or as proj_type says
        M = β_1 M + (1 − β_1) R,  V = β_2 V + (1 − β_2) R²,  R~ = M / (√V + ε)
        s_j = ‖R~[:, j]‖ / ‖R[:, j]‖, or the same of whole matrices;  G ← G diag(s)
        if ‖G‖ / ‖G of the last step‖ > γ: G ← G / ‖G‖ γ ‖G of the last step‖
        W ← W − η √(1 − β_2ᵗ) / (1 − β_1ᵗ) √α G,  then W ← W − η λ W

    The numbers of P are ravine's, which tests/optim/test_low_rank.py looks at. γ = 0 is no limit.
    """

    def __init__(
        self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, rank=256, scale=1.0, scale_type="channel",
        proj="random", update_proj_gap=200, proj_type="std", norm_growth=1.01,
    ):  # fmt: skip
        self.w, self.lr, self.eps, self.lam, self.alpha = p.clone(), lr, eps, weight_decay, scale
        (self.beta1, self.beta2), self.gap, self.gamma = betas, update_proj_gap, norm_growth
        self.by_channel, self.svd = scale_type == "channel", proj == "svd"
        self.t, self.m, self.v, self.last, self.p = 0, 0.0, 0.0, None, None
        self.matrix = p.dim() > 1
        if self.matrix:
            self.rank = min(rank, *p.shape)
            tall = p.shape[0] >= p.shape[1]
            self.right = {"std": tall, "reverse_std": not tall, "right": True, "left": False}[proj_type]

    def refresh(self, g):
        if self.svd:
            vectors = torch.linalg.svd(g.T if not self.right else g, full_matrices=False)[2][: self.rank].T
            self.p = vectors if self.p is None else vectors * torch.sign(torch.sum(vectors * self.p, 0))
        else:
            shape = (g.shape[1], self.rank) if self.right else (self.rank, g.shape[0])
            drawn = factor(shape, 0, self.t // self.gap, torch.device("cpu")).double() / math.sqrt(self.rank)
            self.p = drawn if self.right else drawn.T

    def step(self, g):
        r = g
        if self.matrix:
            if self.t % self.gap == 0:
                self.refresh(g)
            r = g @ self.p if self.right else self.p.T @ g
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * r
        self.v = self.beta2 * self.v + (1 - self.beta2) * r * r
        n = self.m / (torch.sqrt(self.v) + self.eps)
        if self.matrix:
            n = math.sqrt(self.alpha) * self.limited(g * self.factor(n, r))
        self.w = self.w - self.lr * math.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t) * n
        self.w = self.w - self.lr * self.lam * self.w
        return self.w

    def factor(self, n, r):
        if not self.by_channel:
            return torch.linalg.matrix_norm(n) / (torch.linalg.matrix_norm(r) + 1e-8)
        dim = 1 if self.right else 0
        return n.norm(dim=dim, keepdim=True) / (r.norm(dim=dim, keepdim=True) + 1e-8)

    def limited(self, x):
        if self.gamma and self.last is not None:
            x = x / (max(x.norm().item() / (self.last + 1e-8), self.gamma) / self.gamma)
        self.last = x.norm().item()
        return x


SPACES = {
    "APOLLO": ADAM
    | {
        "rank": [3],
        "scale": lambda rng: 0.5 + rng.random(),
        "scale_type": ["channel", "tensor"],
        "proj": ["random", "svd"],
        "update_proj_gap": [4, 7],
        "proj_type": ["std", "reverse_std"],
        "norm_growth": lambda rng: 1.0 + 0.3 * rng.random(),
    }
}
EDGES = {
    "APOLLO": [
        {"rank": 1, "scale": 128.0, "scale_type": "tensor"},
        {"rank": 1, "norm_growth": 0.0, "proj_type": "right"},
        {"proj_type": "left", "rank": 40, "update_proj_gap": 1, "betas": (0.0, 0.0)},
    ]
}
