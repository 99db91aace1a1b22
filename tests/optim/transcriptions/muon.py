"""Muon: every singular value of the momentum is put through the polynomials, one by one."""

import math

import torch

from .draw import DECAY, EITHER, RATE, log, uniform

JORDAN = (3.4445, -4.7750, 2.0315)
NAMED = {
    "modula": lambda n: [(3.0, -3.2, 1.2)] * n,
    "deepseek": lambda n: [JORDAN] * 8 + [(2.0, -1.5, 0.5)] * 2,
    "aol": lambda n: [
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ],
}


def orthogonalized(x, polynomials, eps, aol=False):
    """U p(S) V^T of x / max(|x|, eps) as a matrix, by its singular value decomposition."""
    x = x / max(torch.linalg.norm(x).item(), eps)
    if aol:
        tall = x.shape[0] > x.shape[1]
        y = x.T if tall else x
        gram = y @ y.T
        y = torch.stack([row / math.sqrt(gram[i].abs().sum().item()) for i, row in enumerate(y)])
        x = y.T if tall else y
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    for a, b, c in polynomials:
        s = a * s + b * s**3 + c * s**5
    return u @ torch.diag(s) @ v


class MuonPaper:
    """Jordan et al. 2024    https://kellerjordan.github.io/posts/muon/

        B_t = μ B_{t−1} + (1 − μ) G_t
        O_t = NewtonSchulz5((1 − μ) G_t + μ B_t)    (without Nesterov: of B_t)
        θ_t = (1 − η λ) θ_{t−1} − η √max(1, r / c) O_t

    match_rms_adamw: 0.2 √max(r, c) for the last root (Liu et al. 2025, eq. 4). The average instead of the post's sum
    B_t = μ B_{t−1} + G_t is the authors' code and torch's; O_t is the same, but for ε.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=JORDAN,
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
        polynomials="given",
    ):
        self.theta = p.clone()
        self.lr, self.lam, self.mu, self.nesterov = lr, weight_decay, momentum, nesterov
        self.eps, self.moonlight, self.aol = eps, adjust_lr_fn == "match_rms_adamw", polynomials == "aol"
        self.p = NAMED[polynomials](ns_steps) if polynomials in NAMED else [ns_coefficients] * ns_steps
        self.B = torch.zeros_like(p)

    def step(self, g):
        self.B = self.mu * self.B + (1 - self.mu) * g
        u = (1 - self.mu) * g + self.mu * self.B if self.nesterov else self.B
        matrix = u.reshape(u.shape[0], -1) if u.dim() > 1 else u.reshape(-1, 1)
        r, c = matrix.shape
        scale = 0.2 * math.sqrt(max(r, c)) if self.moonlight else math.sqrt(max(1, r / c))
        o = orthogonalized(matrix, self.p, self.eps, self.aol).reshape(g.shape)
        self.theta = (1 - self.lr * self.lam) * self.theta - self.lr * scale * o
        return self.theta


def triple(rng):
    return tuple(x * uniform(0.97, 1.03)(rng) for x in JORDAN)


SPACES = {
    "Muon": {
        "lr": RATE,
        "weight_decay": DECAY,
        "momentum": uniform(0.3, 0.97),
        "nesterov": EITHER,
        "ns_coefficients": triple,
        "eps": log(0.3, 10.0),
        "ns_steps": [3, 5],
        "adjust_lr_fn": [None, "match_rms_adamw"],
        "polynomials": ["given", "aol"],
    }
}
EDGES = {"Muon": [{"polynomials": "modula"}, {"polynomials": "deepseek"}, {"momentum": 0.0}, {"ns_steps": 0}]}
IDLE = {
    "Muon": lambda change, hyper: (
        (change == {"ns_coefficients"} and hyper["polynomials"] != "given")
        or (change == {"eps"} and hyper["polynomials"] == "aol")  # which rescales rows anyway
        or (change == {"ns_steps"} and hyper["polynomials"] == "aol")
    )
}
