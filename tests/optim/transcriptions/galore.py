"""GaLore: Adam in a low-rank subspace of the gradient."""

import math

import torch

from transcriptions.draw import ADAM, EITHER


class GaLorePaper:
    """Zhao et al. 2024, Algorithm 2, in the order of the authors' code    https://arxiv.org/abs/2403.03507

        if t mod T = 0: U, S, V = SVD(G_t);  P = U[:, :r], here for m ≤ n; else on the other side, or as proj_type says
        R = Pᵀ G;  M = β_1 M + (1 − β_1) R,  V = β_2 V + (1 − β_2) R²,  N = M / (√V + ε)
        W ← W − η √(1 − β_2ᵗ) / (1 − β_1ᵗ) α P N,  then W ← W − η λ W

    Column i of a new P points to where column i of the last one does; which sign the first has does not matter.
    rotate, ravine's own: M ← P'ᵀ P M and V ← (P'ᵀ P)² V at a change.
    """

    def __init__(
        self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, rank=128, update_proj_gap=200, scale=0.25,
        proj_type="std", rotate=False,
    ):  # fmt: skip
        self.w, self.lr, self.eps, self.lam, self.alpha = p.clone(), lr, eps, weight_decay, scale
        (self.beta1, self.beta2), self.rank, self.gap, self.rotate = betas, rank, update_proj_gap, rotate
        self.bases, self.t, self.m, self.v = {}, 0, 0.0, 0.0
        self.used = []
        if p.dim() > 1:
            short = "left" if p.shape[0] < p.shape[1] else "right"
            long = "right" if short == "left" else "left"
            kind = {"std": short, "reverse_std": long}.get(proj_type, proj_type)
            self.used = {"left": [0], "right": [1], "full": [0, 1]}[kind]

    def refresh(self, g):
        u, _, vh = torch.linalg.svd(g, full_matrices=False)
        for k in self.used:
            new = (u, vh.T)[k][:, : self.rank]
            if k in self.bases:
                old = self.bases[k]
                new = new * torch.sign(torch.sum(new * old, 0))
                if self.rotate:
                    turn = new.T @ old
                    self.m = torch.movedim(torch.tensordot(turn, self.m, ([1], [k])), 0, k)
                    self.v = torch.movedim(torch.tensordot(turn * turn, self.v, ([1], [k])), 0, k)
            self.bases[k] = new

    def step(self, g):
        if self.used and self.t % self.gap == 0:
            self.refresh(g)
        self.t += 1
        r = g
        for k in self.used:
            r = torch.movedim(torch.tensordot(self.bases[k], r, ([0], [k])), 0, k)
        self.m = self.beta1 * self.m + (1 - self.beta1) * r
        self.v = self.beta2 * self.v + (1 - self.beta2) * r * r
        n = self.m / (torch.sqrt(self.v) + self.eps)
        for k in self.used:
            n = torch.movedim(torch.tensordot(self.bases[k], n, ([1], [k])), 0, k)
        if self.used:
            n = self.alpha * n
        self.w = self.w - self.lr * math.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t) * n
        self.w = self.w - self.lr * self.lam * self.w
        return self.w


SPACES = {
    "GaLore": ADAM
    | {
        "rank": [3, 25],
        "update_proj_gap": [4],
        "scale": lambda rng: 0.1 + rng.random(),
        "proj_type": ["std", "reverse_std", "full"],
        "rotate": EITHER,
    }
}
EDGES = {
    "GaLore": [
        {"betas": (0.0, 0.0), "rank": 1, "proj_type": "right"},
        {"update_proj_gap": 1, "rank": 2, "proj_type": "left"},
    ]
}
