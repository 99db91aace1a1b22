"""AdamW: Adam with decoupled weight decay."""

import torch


class AdamWPaper:
    """Loshchilov & Hutter 2019, Algorithm 2 (the green lines)    https://arxiv.org/abs/1711.05101

         7: m_t ← β₁ m_{t−1} + (1 − β₁) g_t
         8: v_t ← β₂ v_{t−1} + (1 − β₂) g_t²
         9: m̂_t ← m_t / (1 − β₁ᵗ)
        10: v̂_t ← v_t / (1 − β₂ᵗ)
        12: θ_t ← θ_{t−1} − η_t (α m̂_t / (√v̂_t + ε) + λ θ_{t−1})

    Here, as in torch, the schedule multiplier and α are one rate (lr = η_t α), and the decay is lr·λ
    where the paper has η_t λ: the same path for λ_paper = α λ_torch. amsgrad, eps_inside, bias_correction
    as for Adam.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        eps_inside=False,
        bias_correction=True,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.amsgrad, self.eps_inside, self.bias_correction = amsgrad, eps_inside, bias_correction
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.vmax = torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        self.vmax = torch.maximum(self.vmax, self.v)
        mhat = self.m
        vhat = self.vmax if self.amsgrad else self.v
        if self.bias_correction:
            mhat = mhat / (1 - self.beta1**self.t)
            vhat = vhat / (1 - self.beta2**self.t)
        root = torch.sqrt(vhat + self.eps) if self.eps_inside else torch.sqrt(vhat) + self.eps
        self.theta = self.theta - self.lr * (mhat / root + self.lam * self.theta)
        return self.theta
