"""AMSGrad, the paper's own form: no bias correction."""

import torch


class AMSGradPaper:
    """Reddi, Kale & Kumar 2018, Algorithm 2    https://arxiv.org/abs/1904.09237

        m_t = β₁ m_{t−1} + (1 − β₁) g_t
        v_t = β₂ v_{t−1} + (1 − β₂) g_t²
        v̂_t = max(v̂_{t−1}, v_t)
        x_{t+1} = x_t − α_t m_t / √v̂_t          (the projection onto F is left to the caller)

    with β₁ constant. The paper has no ε; here √v̂ + ε, or √(v̂ + ε) with eps_inside. weight_decay is L2.
    """

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, eps_inside=False):
        self.x = p.clone()
        self.lr, self.eps, self.lam, self.eps_inside = lr, eps, weight_decay, eps_inside
        self.beta1, self.beta2 = betas
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.vhat = torch.zeros_like(p)

    def step(self, g):
        g = g + self.lam * self.x
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        self.vhat = torch.maximum(self.vhat, self.v)
        root = torch.sqrt(self.vhat + self.eps) if self.eps_inside else torch.sqrt(self.vhat) + self.eps
        self.x = self.x - self.lr * self.m / root
        return self.x
