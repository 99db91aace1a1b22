"""SOAP: Adam in Shampoo's eigenbasis."""

import math

import torch

from ravine.matrix.eigen import basis
from transcriptions.draw import DECAY, EITHER, EPS, RATE, pair, uniform


class SOAPPaper:
    """Vyas et al. 2024, Algorithm 3, in the order of the authors' code    https://arxiv.org/abs/2409.11321

        L_t = β_2 L_{t−1} + (1 − β_2) G Gᵀ,  R_t likewise of Gᵀ G
        first step: Q_L, Q_R = Eigenvectors(L), Eigenvectors(R), and no update, or one with Q_L = I and Q_R = I
        G' = Q_Lᵀ G Q_R,  M' = β_1 M' + (1 − β_1) G',  V = β_2 V + (1 − β_2) G' ⊙ G'
        N' = M' / (√V + ε),  N = Q_L N' Q_Rᵀ,  W ← W − η √(1 − β_2ˢ) / (1 − β_1ˢ) N,  then W ← W − η λ W
        M = Q_L M' Q_Rᵀ;  every f steps Q ← QR(L Q).Q, with Q and V in the order of diag(Qᵀ L Q);  M' = Q_Lᵀ M Q_R

    Here Q and V are sorted, as the authors do it; which eigenvectors of 0 the first step takes is ravine's own choice.
    Vectors have one factor of one number, with which nothing turns.
    """

    def __init__(
        self, p, lr=3e-3, betas=(0.95, 0.95), shampoo_beta=None, eps=1e-8, weight_decay=0.01, interval=10,
        skip_first=True, bias_correction=True, normalize=False, sides="both",
    ):  # fmt: skip
        self.w, self.lr, self.eps, self.lam, self.f = p.clone(), lr, eps, weight_decay, interval
        self.beta1, self.beta2 = betas
        self.beta3 = self.beta2 if shampoo_beta is None else shampoo_beta
        self.skip, self.correct, self.normalize, self.sides = skip_first, bias_correction, normalize, sides
        self.m, self.v, self.t = torch.zeros_like(p), torch.zeros_like(p), 0
        shape = p.shape if p.dim() > 1 else ()
        used = [k for k in range(len(shape)) if sides in ("both", ("left", "right")[k])]
        self.factors = {k: torch.zeros(shape[k], shape[k], dtype=p.dtype) for k in used}
        self.q = {}

    def project(self, x, back=False):
        for k, q in self.q.items():
            x = torch.movedim(torch.tensordot(q, x, dims=([1 if back else 0], [k])), 0, k)
        return x

    def step(self, g):
        self.t += 1
        if self.t == 1 and self.skip:
            self.observe(g)
            return self.w
        s = self.t - 1 if self.skip else self.t
        turned = self.project(g)
        self.m = self.beta1 * self.m + (1 - self.beta1) * turned
        self.v = self.beta2 * self.v + (1 - self.beta2) * turned * turned
        rate = self.lr
        if self.correct:
            rate = rate * math.sqrt(1 - self.beta2**s) / (1 - self.beta1**s)
        n = self.project(self.m / (torch.sqrt(self.v) + self.eps), back=True)
        if self.normalize:
            n = n / (1e-30 + torch.sqrt(torch.mean(n * n)))
        self.w = self.w - rate * n
        self.w = self.w - self.lr * self.lam * self.w
        self.observe(g)
        if self.t > 1 and (self.t - 1) % self.f == 0:
            self.refresh()
        return self.w

    def observe(self, g):
        for k in self.factors:
            x = g if k == 0 else g.T
            self.factors[k] = self.beta3 * self.factors[k] + (1 - self.beta3) * (x @ x.T)
        if self.t == 1:
            self.q = {k: basis(a) for k, a in self.factors.items()}
            self.m = self.project(self.m)

    def refresh(self):
        m = self.project(self.m, back=True)
        for k, a in self.factors.items():
            order = torch.argsort(torch.diag(self.q[k].T @ a @ self.q[k]), descending=True)
            self.v = torch.index_select(self.v, k, order)
            self.q[k] = torch.linalg.qr(a @ self.q[k][:, order])[0]
        self.m = self.project(m)


SPACES = {
    "SOAP": {
        "lr": RATE,
        "betas": pair(uniform(0.5, 0.97), uniform(0.8, 0.99)),
        "shampoo_beta": uniform(0.7, 0.97),
        "eps": EPS,
        "weight_decay": DECAY,
        "interval": [2, 5],
        "skip_first": EITHER,
        "bias_correction": [True],
        "normalize": EITHER,
        "sides": ["both", "left", "right"],
    }
}
EDGES = {
    "SOAP": [
        {"betas": (0.9, 0.9), "interval": 1, "bias_correction": False},
        {"betas": (0.0, 0.9), "interval": 3},
    ]
}
