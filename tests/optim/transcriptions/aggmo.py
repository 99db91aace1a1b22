"""AggMo: several momenta at once."""

import torch

from transcriptions.draw import DECAY, RATE, choice


class AggMoPaper:
    """Lucas et al. 2019, equation 3    https://arxiv.org/abs/1804.00325

        v_t⁽ⁱ⁾ = β⁽ⁱ⁾ v_{t−1}⁽ⁱ⁾ − ∇f(θ_{t−1})        for i = 1 … K
        θ_t = θ_{t−1} + γ_t / K Σᵢ v_t⁽ⁱ⁾

    weight_decay is L2.
    """

    def __init__(self, p, lr=1e-2, betas=(0.0, 0.9, 0.99), weight_decay=0.0):
        self.theta = p.clone()
        self.lr, self.betas, self.lam = lr, betas, weight_decay
        self.v = [torch.zeros_like(p) for _ in betas]

    def step(self, g):
        g = g + self.lam * self.theta
        total = torch.zeros_like(self.theta)
        for i, beta in enumerate(self.betas):
            self.v[i] = beta * self.v[i] - g
            total = total + self.v[i]
        self.theta = self.theta + self.lr / len(self.betas) * total
        return self.theta


SPACES = {
    "AggMo": {
        "lr": RATE,
        "betas": choice((0.1, 0.9, 0.99), (0.2, 0.85, 0.95), (0.5, 0.9), (0.6, 0.6, 0.9, 0.97), (0.8,)),
        "weight_decay": DECAY,
    },
}
EDGES = {"AggMo": [{"betas": (0.0,)}, {"betas": (0.9, 0.9)}, {"betas": (0.0, 0.0, 0.5)}]}
