"""AdaMuon: an orthogonalized sign of the momentum, with a second moment for each element."""

import math

import torch

from .draw import BETAS, DECAY, EITHER, EPS, RATE
from .muon import JORDAN, orthogonalized, triple


class AdaMuonPaper:
    """Si, Zhang & Shen 2025, Algorithm 1    https://arxiv.org/abs/2507.11005

        M_t = β M_{t−1} + G_t
        O_t = NS(Sign(M_t))
        V_t = β V_{t−1} + (1 − β) O_t ⊙ O_t
        Ô_t = O_t / (√V_t + ε)
        γ_t = 0.2 √(m n) / ‖Ô_t‖_F
        W_t = W_{t−1} − η (γ_t Ô_t + λ W_{t−1})

    β may be two numbers here, and ε stands beside ‖Ô_t‖_F as in the authors' code. sign=False: O_t = NS(M_t), the
    paper's first version.
    """

    def __init__(self, p, lr=1e-3, weight_decay=0.1, betas=(0.95, 0.95), eps=1e-8, sign=True, ns_coefficients=JORDAN):
        self.W = p.clone()
        self.lr, self.lam, self.eps, self.sign, self.abc = lr, weight_decay, eps, sign, ns_coefficients
        self.beta1, self.beta2 = betas
        self.M, self.V = torch.zeros_like(p), torch.zeros_like(p)

    def step(self, g):
        self.M = self.beta1 * self.M + g
        m = torch.sign(self.M) if self.sign else self.M
        matrix = m.reshape(m.shape[0], -1) if m.dim() > 1 else m.reshape(-1, 1)
        o = orthogonalized(matrix, [self.abc] * 5, 1e-7).reshape(g.shape)
        self.V = self.beta2 * self.V + (1 - self.beta2) * o * o
        hat = o / (torch.sqrt(self.V) + self.eps)
        gamma = 0.2 * math.sqrt(hat.numel()) / (torch.linalg.norm(hat).item() + self.eps)
        self.W = self.W - self.lr * (gamma * hat + self.lam * self.W)
        return self.W


SPACES = {
    "AdaMuon": {
        "lr": RATE,
        "weight_decay": DECAY,
        "betas": BETAS,
        "eps": EPS,
        "sign": EITHER,
        "ns_coefficients": triple,
    }
}
