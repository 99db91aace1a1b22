"""MADGRAD: dual averaging with a cube root."""

import math

import torch

from .draw import ADAM, EITHER, uniform


class MADGRADPaper:
    """Defazio & Jelassi 2022, Algorithm 1    https://arxiv.org/abs/2101.11075

        λ_k = γ_k √(k + 1)
        s_{k+1} = s_k + λ_k g_k
        ν_{k+1} = ν_k + λ_k g_k²
        z_{k+1} = x_0 − s_{k+1} / (∛ν_{k+1} + ε)
        x_{k+1} = (1 − c) x_k + c z_{k+1}

    for k = 0, 1 …, with c = 1 − momentum. weight_decay adds λ x_k to g_k; decouple_decay takes lr λ x_k off x_{k+1}
    instead. As in the authors' code, without momentum x_0 is not kept: it is what x_k and the sums say it must
    have been, so the decoupled decay moves it.
    """

    def __init__(self, p, lr=1e-2, momentum=0.9, weight_decay=0.0, eps=1e-6, decouple_decay=False):
        self.x, self.x0 = p.clone(), p.clone()
        self.s, self.nu = torch.zeros_like(p), torch.zeros_like(p)
        self.lr, self.momentum, self.eps, self.lam, self.decouple = lr, momentum, eps, weight_decay, decouple_decay
        self.k = 0

    def below(self):
        root = torch.tensor([math.cbrt(x) for x in self.nu.flatten().tolist()], dtype=self.nu.dtype)
        root = root.reshape(self.nu.shape) + self.eps
        return torch.where(root == 0, torch.inf, root)

    def step(self, g):
        old = self.x
        if not self.decouple:
            g = g + self.lam * old
        if self.momentum == 0:
            self.x0 = old + self.s / self.below()
        lam = self.lr * math.sqrt(self.k + 1)
        self.s = self.s + lam * g
        self.nu = self.nu + lam * g * g
        z = self.x0 - self.s / self.below()
        c = 1 - self.momentum
        self.x = (1 - c) * old + c * z
        if self.decouple:
            self.x = self.x - self.lr * self.lam * old
        self.k = self.k + 1
        return self.x


SPACES = {
    "MADGRAD": {
        "lr": ADAM["lr"],
        "momentum": [0.0, 0.8],
        "weight_decay": uniform(0.1, 1.0),
        "eps": ADAM["eps"],
        "decouple_decay": EITHER,
    }
}
EDGES = {"MADGRAD": [{"eps": 0.0}, {"eps": 0.0, "momentum": 0.0}, {"lr": 0.0}]}
