"""MARS: AdamW on gradients whose variance is reduced by the gradient before."""

import math

import torch

from .draw import ADAM, EITHER, uniform


class MARSPaper:
    """Yuan et al. 2025, Algorithm 2 (MARS-AdamW)    https://arxiv.org/abs/2411.10438

        c_t = g_t + γ β₁/(1 − β₁) (g_t − g_{t−1})
        c̃_t = c_t / ‖c_t‖₂ if ‖c_t‖₂ > 1, else c_t
        m_t = β₁ m_{t−1} + (1 − β₁) c̃_t
        v_t = β₂ v_{t−1} + (1 − β₂) c̃_t²
        m̂_t = m_t / (1 − β₁ᵗ)        v̂_t = v_t / (1 − β₂ᵗ)
        x_{t+1} = x_t − η (m̂_t / (√v̂_t + ε) + λ x_t)

    in the approximate form, where g_{t−1} is the gradient of the last step on its own batch; g_0 = 0, as in the
    authors' code. amsgrad: the largest v so far, then corrected.
    """

    def __init__(self, p, lr=3e-3, betas=(0.95, 0.99), eps=1e-8, weight_decay=0.0, amsgrad=False, gamma=0.025):
        self.x = p.clone()
        self.m, self.v, self.vmax, self.last = (torch.zeros_like(p) for _ in range(4))
        self.lr, self.eps, self.lam, self.amsgrad, self.gamma = lr, eps, weight_decay, amsgrad, gamma
        self.beta1, self.beta2 = betas
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        c = g + self.gamma * self.beta1 / (1 - self.beta1) * (g - self.last)
        self.last = g.clone()
        length = math.sqrt(math.fsum(x * x for x in c.flatten().tolist()))
        if length > 1:
            c = c / length
        self.m = self.beta1 * self.m + (1 - self.beta1) * c
        self.v = self.beta2 * self.v + (1 - self.beta2) * c * c
        self.vmax = torch.maximum(self.vmax, self.v)
        mhat = self.m / (1 - self.beta1**self.t)
        vhat = (self.vmax if self.amsgrad else self.v) / (1 - self.beta2**self.t)
        self.x = self.x - self.lr * (mhat / (torch.sqrt(vhat) + self.eps) + self.lam * self.x)
        return self.x


SPACES = {"MARS": ADAM | {"amsgrad": EITHER, "gamma": uniform(0.01, 0.5)}}
EDGES = {"MARS": [{"gamma": 0.0}, {"betas": (0.0, 0.0)}]}
