"""Yogi: an additive second moment, steered by a sign."""

import torch

from .draw import ADAM, EITHER, uniform


class YogiPaper:
    """Zaheer et al. 2018, Algorithm 2    https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization

        m_t = β₁ m_{t−1} + (1 − β₁) g_t
        v_t = v_{t−1} − (1 − β₂) sign(v_{t−1} − g_t²) g_t²
        x_{t+1} = x_t − η_t m_t / (√v_t + ε)

    bias_correction: with m_t/(1 − β₁ᵗ) and v_t/(1 − β₂ᵗ) in the last line, as the libraries. v₀ is
    initial_accumulator; v_from_gradient: v₁ = g₁² and v is not corrected. Decay: L2, or ηλx_t beside the step.
    """

    def __init__(
        self,
        p,
        lr=1e-2,
        betas=(0.9, 0.999),
        eps=1e-3,
        initial_accumulator=1e-6,
        weight_decay=0.0,
        decoupled_weight_decay=False,
        v_from_gradient=False,
        bias_correction=True,
    ):
        self.x = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.decoupled, self.first, self.correct = decoupled_weight_decay, v_from_gradient, bias_correction
        self.m = torch.zeros_like(p)
        self.v = torch.full_like(p, initial_accumulator)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        decay = 0.0
        if self.decoupled:
            decay = self.lr * self.lam * self.x
        else:
            g = g + self.lam * self.x
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        if self.first and self.t == 1:
            self.v = g * g
        else:
            self.v = self.v - (1 - self.beta2) * torch.sign(self.v - g * g) * g * g
        m, v = self.m, self.v
        if self.correct:
            m = m / (1 - self.beta1**self.t)
            if not self.first:
                v = v / (1 - self.beta2**self.t)
        self.x = self.x - decay - self.lr * m / (torch.sqrt(v) + self.eps)
        return self.x


SPACES = {
    "Yogi": ADAM
    | {
        "initial_accumulator": uniform(0.01, 0.5),
        "decoupled_weight_decay": EITHER,
        "v_from_gradient": EITHER,
        "bias_correction": EITHER,
    }
}
EDGES = {"Yogi": [{"betas": (0.0, 0.9)}, {"initial_accumulator": 0.0}]}
IDLE = {"Yogi": lambda change, hyper: change == {"initial_accumulator"} and hyper["v_from_gradient"]}
