"""NorMuon: the rows of an orthogonalized step, each divided by its running root mean square."""

import math

import torch

from .draw import DECAY, EITHER, EPS, RATE, uniform
from .muon import JORDAN, orthogonalized, triple


class NorMuonPaper:
    """Li et al. 2025, Algorithm 1    https://arxiv.org/abs/2510.05491

        M_t = β₁ M_{t−1} + (1 − β₁) G_t
        O_t = NS5(M_t)
        v_t = β₂ v_{t−1} + (1 − β₂) mean_cols(O_t ⊙ O_t)
        Ô_t = O_t / (√V_t + ε)
        η̂ = 0.2 η √(m n) / ‖Ô_t‖_F
        W_t = W_{t−1} − η λ W_{t−1} − η̂ Ô_t

    The authors' code, which is the default here: Nesterov's (1 − β₁) G_t + β₁ M_t for M_t, the length ‖O_t‖_F
    √max(1, m / n) for 0.2 √(m n), and ε beside ‖Ô_t‖_F.
    """

    def __init__(
        self,
        p,
        lr=0.02,
        weight_decay=0.0,
        momentum=0.95,
        beta2=0.95,
        nesterov=True,
        eps=1e-10,
        ns_coefficients=JORDAN,
        adjust_lr_fn="original",
    ):
        self.W = p.clone()
        self.lr, self.lam, self.beta1, self.beta2, self.eps = lr, weight_decay, momentum, beta2, eps
        self.nesterov, self.paper, self.abc = nesterov, adjust_lr_fn == "match_rms_adamw", ns_coefficients
        self.M, self.v = torch.zeros_like(p), [0.0] * (p.shape[0] if p.dim() else 1)

    def step(self, g):
        self.M = self.beta1 * self.M + (1 - self.beta1) * g
        u = (1 - self.beta1) * g + self.beta1 * self.M if self.nesterov else self.M
        o = orthogonalized(u.reshape(len(self.v), -1), [self.abc] * 5, 1e-7)
        m, n = o.shape
        hat = []
        for i, row in enumerate(o):
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * (row @ row).item() / n
            hat.append(row / (math.sqrt(self.v[i]) + self.eps))
        hat = torch.stack(hat)
        length = 0.2 * math.sqrt(m * n) if self.paper else torch.linalg.norm(o).item() * math.sqrt(max(1, m / n))
        rate = self.lr * length / (torch.linalg.norm(hat).item() + self.eps)
        self.W = self.W - self.lr * self.lam * self.W - rate * hat.reshape(g.shape)
        return self.W


SPACES = {
    "NorMuon": {
        "lr": RATE,
        "weight_decay": DECAY,
        "momentum": uniform(0.3, 0.97),
        "beta2": uniform(0.3, 0.99),
        "nesterov": EITHER,
        "eps": EPS,
        "ns_coefficients": triple,
        "adjust_lr_fn": ["original", "match_rms_adamw"],
    }
}
