"""Adam generalized from the L² to the Lᵖ norm."""

import torch

from .draw import BETAS, DECAY, RATE, log


class LpAdamPaper:
    """Kingma & Ba 2015, section 7.1    https://arxiv.org/abs/1412.6980

        v_t = β₂ᵖ v_{t−1} + (1 − β₂ᵖ) |g_t|ᵖ
            = (1 − β₂ᵖ) Σᵢ β₂^{p(t−i)} |g_i|ᵖ

    whose weights add up to 1 − β₂^{pt}. The step is α m̂_t / ((v_t / (1 − β₂^{pt}))^{1/p} + ε); L2 decay.
    Written with the sum over all gradients, whose largest is taken out of it, as the paper does for p → ∞.
    """

    def __init__(self, theta, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, p=4):
        self.theta = theta.clone()
        self.lr, self.eps, self.lam, self.p = lr, eps, weight_decay, p
        self.beta1, self.beta2 = betas
        self.m = torch.zeros_like(theta)
        self.seen = []

    def step(self, g):
        g = g + self.lam * self.theta
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.seen.append(g.abs())
        t = len(self.seen)
        aged = torch.stack([self.beta2 ** (t - i) * x for i, x in enumerate(self.seen, 1)])
        largest = aged.amax(0)
        shares = torch.where(largest > 0, aged / largest, torch.zeros_like(aged)) ** self.p
        c = (1 - self.beta2**self.p) / (1 - self.beta2 ** (self.p * t))
        u = largest * (c * shares.sum(0)) ** (1 / self.p)
        self.theta = self.theta - self.lr * (self.m / (1 - self.beta1**t)) / (u + self.eps)
        return self.theta


SPACES = {"LpAdam": {"lr": RATE, "betas": BETAS, "eps": log(1e-2, 1e-1), "weight_decay": DECAY, "p": [2, 4, 8, 16]}}
EDGES = {"LpAdam": [{"betas": (0.0, 0.9)}, {"betas": (0.9, 0.0), "eps": 1e-3, "p": 2}]}
