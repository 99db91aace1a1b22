"""AdaMax: Adam with the infinity norm."""

import torch


class AdamaxPaper:
    """Kingma & Ba 2015, Algorithm 2 (section 7.1)    https://arxiv.org/abs/1412.6980

        m_t ← β₁ m_{t−1} + (1 − β₁) g_t
        u_t ← max(β₂ u_{t−1}, |g_t|)
        θ_t ← θ_{t−1} − α / (1 − β₁ᵗ) · m_t / u_t

    The paper has no ε. eps_inside=True is torch's place for it, max(β₂ u, |g| + ε); False: m / (u + ε).
    bias_correction=False leaves 1 − β₁ᵗ out. weight_decay is L2.
    """

    def __init__(
        self,
        p,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        eps_inside=True,
        bias_correction=True,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.eps_inside, self.bias_correction = eps_inside, bias_correction
        self.m = torch.zeros_like(p)
        self.u = torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        g = g + self.lam * self.theta
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        rate = self.lr / (1 - self.beta1**self.t) if self.bias_correction else self.lr
        if self.eps_inside:
            self.u = torch.maximum(self.beta2 * self.u, torch.abs(g) + self.eps)
            self.theta = self.theta - rate * self.m / self.u
        else:
            self.u = torch.maximum(self.beta2 * self.u, torch.abs(g))
            self.theta = self.theta - rate * self.m / (self.u + self.eps)
        return self.theta
