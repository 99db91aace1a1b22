"""SGDW: momentum, and decay that does not pass through it."""

import torch

from transcriptions.draw import DECAY, EITHER, RATE, uniform


class SGDWPaper:
    """Loshchilov & Hutter 2019, Algorithm 1 (SGDW)    https://arxiv.org/abs/1711.05101

        m_t ← β₁ m_{t−1} + η_t α g_t
        θ_t ← θ_{t−1} − m_t − η_t λ' θ_{t−1}

    Here η_t α is lr, and η_t λ' is lr λ. nesterov, of the authors' code: η_t α g_t + β₁ m_t in the place of m_t.
    """

    def __init__(self, p, lr=1e-3, momentum=0.9, weight_decay=1e-2, nesterov=False):
        self.theta = p.clone()
        self.lr, self.beta1, self.lam, self.nesterov = lr, momentum, weight_decay, nesterov
        self.m = torch.zeros_like(p)

    def step(self, g):
        before = self.theta
        self.m = self.beta1 * self.m + self.lr * g
        move = self.lr * g + self.beta1 * self.m if self.nesterov else self.m
        self.theta = before - move - self.lr * self.lam * before
        return self.theta


SPACES = {"SGDW": {"lr": RATE, "momentum": uniform(0.3, 0.99), "weight_decay": DECAY, "nesterov": EITHER}}
EDGES = {"SGDW": [{"momentum": 0.0}, {"momentum": 0.0, "nesterov": True}]}
