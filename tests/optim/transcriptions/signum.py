"""signSGD and Signum: steps of one length, along the signs of the gradient or of its momentum."""

import torch

from transcriptions.draw import DECAY, EITHER, RATE, uniform


class SignSGDPaper:
    """Bernstein et al. 2018, Algorithm 1    https://arxiv.org/abs/1802.04434

        x_{k+1} ← x_k − δ sign(g̃_k)

    weight_decay is L2, or x_k (1 − δλ) in the place of x_k with decoupled_weight_decay.
    """

    def __init__(self, p, lr=1e-4, weight_decay=0.0, decoupled_weight_decay=False):
        self.x = p.clone()
        self.lr, self.lam, self.decoupled = lr, weight_decay, decoupled_weight_decay

    def direction(self, g):
        return torch.sign(g)

    def step(self, g):
        if self.decoupled:
            self.x = self.x - self.lr * self.lam * self.x
        else:
            g = g + self.lam * self.x
        self.x = self.x - self.lr * self.direction(g)
        return self.x


class SignumPaper(SignSGDPaper):
    """Bernstein et al. 2018, Algorithm 2    https://arxiv.org/abs/1802.04434

    m_{k+1} ← β m_k + (1 − β) g̃_k
    x_{k+1} ← x_k − δ sign(m_{k+1})
    """

    def __init__(self, p, lr=1e-4, momentum=0.9, weight_decay=0.0, decoupled_weight_decay=False):
        super().__init__(p, lr, weight_decay, decoupled_weight_decay)
        self.beta, self.m = momentum, torch.zeros_like(p)

    def direction(self, g):
        self.m = self.beta * self.m + (1 - self.beta) * g
        return torch.sign(self.m)


SPACES = {
    "SignSGD": {"lr": RATE, "weight_decay": DECAY, "decoupled_weight_decay": EITHER},
    "Signum": {"lr": RATE, "momentum": uniform(0.3, 0.99), "weight_decay": DECAY, "decoupled_weight_decay": EITHER},
}
EDGES = {"Signum": [{"momentum": 0.0}]}
