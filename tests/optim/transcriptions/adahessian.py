"""AdaHessian: Adam with the Hessian's diagonal in the second moment."""

import torch

from .draw import BETAS, DECAY, EPS, log


class AdaHessianPaper:
    """Yao et al. 2021, Algorithm 1    https://arxiv.org/abs/2006.00719

        m_t = (1 − β₁) Σᵢ β₁^(t−i) gᵢ / (1 − β₁ᵗ)                           equation 10
        v_t = (√((1 − β₂) Σᵢ β₂^(t−i) Dᵢ Dᵢ / (1 − β₂ᵗ)))ᵏ
        θ_t = θ_{t−1} − η m_t / v_t

    with ε added to v_t and decay off the weights, as in the authors' code. Where D is not measured, it is the last one.
    """

    curvature = True

    def __init__(self, p, lr=0.15, betas=(0.9, 0.999), eps=1e-4, weight_decay=0.0, hessian_power="1"):
        self.theta, self.lr, self.eps, self.lam = p.clone(), lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.k = {"1": 1.0, "1/2": 0.5, "1/4": 0.25}[hessian_power]
        self.gs, self.Ds = [], []

    def step(self, g, h):
        self.gs.append(g)
        self.Ds.append(self.Ds[-1] if h is None else h)
        t = len(self.gs)
        sum_g = sum(self.beta1 ** (t - i) * x for i, x in enumerate(self.gs, 1))
        sum_D = sum(self.beta2 ** (t - i) * D * D for i, D in enumerate(self.Ds, 1))
        m = (1 - self.beta1) * sum_g / (1 - self.beta1**t)
        v = torch.pow(torch.sqrt((1 - self.beta2) * sum_D / (1 - self.beta2**t)), self.k)
        self.theta = self.theta - self.lr * (m / (v + self.eps) + self.lam * self.theta)
        return self.theta


SPACES = {
    "AdaHessian": {
        "lr": log(1e-3, 1e-1),
        "betas": BETAS,
        "eps": EPS,
        "weight_decay": DECAY,
        "hessian_power": ["1", "1/2", "1/4"],
    }
}
EDGES = {"AdaHessian": [{"betas": (0.0, 0.0)}, {"lr": 0.0}]}
