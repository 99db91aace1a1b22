"""QHM and QHAdam: an average of the gradient and of its running average."""

import torch

from transcriptions.draw import ADAM, DECAY, EITHER, RATE, pair, uniform


class QHMPaper:
    """Ma & Yarats 2019, equations 3 and 4    https://arxiv.org/abs/1810.06801

        g_{t+1} ← β g_t + (1 − β) ∇L(θ_t)
        θ_{t+1} ← θ_t − α [(1 − ν) ∇L(θ_t) + ν g_{t+1}]

    weight_decay is L2, or θ_t (1 − αλ) in the place of θ_t with decoupled_weight_decay.
    """

    def __init__(self, p, lr=0.1, momentum=0.999, nu=0.7, weight_decay=0.0, decoupled_weight_decay=False):
        self.theta = p.clone()
        self.lr, self.beta, self.nu = lr, momentum, nu
        self.lam, self.decoupled = weight_decay, decoupled_weight_decay
        self.g = torch.zeros_like(p)

    def step(self, gradient):
        if self.decoupled:
            self.theta = self.theta - self.lr * self.lam * self.theta
        else:
            gradient = gradient + self.lam * self.theta
        self.g = self.beta * self.g + (1 - self.beta) * gradient
        self.theta = self.theta - self.lr * ((1 - self.nu) * gradient + self.nu * self.g)
        return self.theta


class QHAdamPaper:
    """Ma & Yarats 2019, section 4 (QHAdam)    https://arxiv.org/abs/1810.06801

        g_{t+1} ← β₁ g_t + (1 − β₁) ∇           g'_{t+1} ← g_{t+1} / (1 − β₁^{t+1})
        s_{t+1} ← β₂ s_t + (1 − β₂) ∇²          s'_{t+1} ← s_{t+1} / (1 − β₂^{t+1})
        θ_{t+1} ← θ_t − α [(1 − ν₁) ∇ + ν₁ g'_{t+1}] / (√[(1 − ν₂) ∇² + ν₂ s'_{t+1}] + ε)

    with t from 0. Weight decay as in QHM.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        nus=(1.0, 1.0),
        eps=1e-8,
        weight_decay=0.0,
        decoupled_weight_decay=False,
    ):
        self.theta = p.clone()
        self.lr, self.betas, self.nus, self.eps = lr, betas, nus, eps
        self.lam, self.decoupled = weight_decay, decoupled_weight_decay
        self.g = torch.zeros_like(p)
        self.s = torch.zeros_like(p)
        self.t = 0

    def step(self, gradient):
        beta1, beta2 = self.betas
        nu1, nu2 = self.nus
        if self.decoupled:
            self.theta = self.theta - self.lr * self.lam * self.theta
        else:
            gradient = gradient + self.lam * self.theta
        self.g = beta1 * self.g + (1 - beta1) * gradient
        self.s = beta2 * self.s + (1 - beta2) * gradient * gradient
        g = self.g / (1 - beta1 ** (self.t + 1))
        s = self.s / (1 - beta2 ** (self.t + 1))
        self.t = self.t + 1
        below = torch.sqrt((1 - nu2) * gradient * gradient + nu2 * s) + self.eps
        self.theta = self.theta - self.lr * ((1 - nu1) * gradient + nu1 * g) / below
        return self.theta


SPACES = {
    "QHM": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.99),
        "nu": uniform(0.2, 0.95),
        "weight_decay": DECAY,
        "decoupled_weight_decay": EITHER,
    },
    "QHAdam": ADAM | {"nus": pair(uniform(0.2, 0.95), uniform(0.2, 0.95)), "decoupled_weight_decay": EITHER},
}
EDGES = {
    "QHM": [{"momentum": 0.0}, {"nu": 0.0}, {"nu": 1.0}, {"nu": 1.3, "lr": 0.01}],
    "QHAdam": [{"betas": (0.0, 0.0)}, {"nus": (0.7, 1.0), "betas": (0.995, 0.999)}, {"nus": (0.0, 0.0)}],
}
