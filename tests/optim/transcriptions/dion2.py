"""Dion2: the rows or columns with the largest ℓ₁ norms, one by one."""

import math

import torch

from .draw import DECAY, RATE, uniform
from .muon import NAMED, orthogonalized

# The authors' code of Amsel et al. 2025 for five steps and singular values from 1e-3 on
POLAR_EXPRESS = [
    (8.237312490495558, -23.157747414558195, 16.680568411445908),
    (4.082441999064832, -2.8930477353325834, 0.5252849256975642),
    (3.9263479922546574, -2.854746803476531, 0.5318022422894991),
    (3.298218713308514, -2.424541981026708, 0.4863200835884411),
    (2.3200073128898104, -1.6862169729967615, 0.4206802734023512),
]


class Dion2Paper:
    """Ahn, Amsel & Langford 2025    https://arxiv.org/abs/2512.16928

        M_t = M_{t−1} + G_t
        K = the ⌈α d⌉ indices of rows (columns, where d_out > d_in) with the largest ℓ₁ norms
        O = NewtonSchulz(M_t[K, :])
        X_t = (1 − η λ) X_{t−1},  X_t[K, :] −= η s O
        M_t[K, :] ← μ M_t[K, :]

    s = √(d_out / d_in), or 0.2 √max(d_out, d_in) or 1: adjust_lr of the authors' code.
    """

    def __init__(
        self,
        p,
        lr=0.01,
        weight_decay=0.01,
        fraction=0.25,
        ef_decay=0.95,
        adjust_lr="spectral_norm",
        ns_coefficients=(3.0, -3.2, 1.2),
        polynomials="polar_express",
    ):
        self.X, self.M = p.clone(), torch.zeros_like(p)
        self.lr, self.lam, self.alpha, self.mu, self.adjust = lr, weight_decay, fraction, ef_decay, adjust_lr
        self.p = NAMED[polynomials](5) if polynomials in NAMED else [ns_coefficients] * 5
        if polynomials == "polar_express":
            self.p = POLAR_EXPRESS

    def step(self, g):
        self.M = self.M + g
        out, into = (self.M.shape[0], self.M[0].numel()) if self.M.dim() > 1 else (self.M.numel(), 1)
        m = self.M.reshape(out, into).clone()
        x = ((1 - self.lr * self.lam) * self.X).reshape(out, into)
        s = {
            "spectral_norm": math.sqrt(out / into),
            "rms_norm": 0.2 * math.sqrt(max(out, into)),
            None: 1.0,
        }[self.adjust]
        if out > into:
            m, x = m.T.contiguous(), x.T.contiguous()
        d = m.shape[0]
        by_length = sorted(range(d), key=lambda i: -sum(abs(v) for v in m[i].tolist()))
        K = sorted(by_length[: math.ceil(self.alpha * d)])
        o = orthogonalized(torch.stack([m[i] for i in K]), self.p, 1e-7)
        for row, i in zip(o, K, strict=True):
            x[i] = x[i] - self.lr * s * row
            m[i] = self.mu * m[i]
        if out > into:
            m, x = m.T, x.T
        self.M, self.X = m.reshape(g.shape), x.reshape(g.shape)
        return self.X


SPACES = {
    "Dion2": {
        "lr": RATE,
        "weight_decay": DECAY,
        "fraction": [0.25, 0.6, 1.0],
        "ef_decay": uniform(0.3, 0.97),
        "adjust_lr": ["spectral_norm", "rms_norm", None],
        "ns_coefficients": lambda rng: tuple(x * uniform(0.95, 1.0)(rng) for x in (3.0, -3.2, 1.2)),
        "polynomials": ["given", "deepseek"],
    }
}
EDGES = {"Dion2": [{"fraction": 1e-3, "polynomials": "modula"}, {"ef_decay": 0.0, "polynomials": "modula"}]}
IDLE = {"Dion2": lambda change, hyper: change == {"ns_coefficients"} and hyper["polynomials"] != "given"}
