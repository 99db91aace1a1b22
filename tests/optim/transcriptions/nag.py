"""Nesterov's accelerated gradient, the gradient taken at the true look-ahead point."""

import torch


class NAGPaper:
    """Nesterov 1983; as momentum: Sutskever et al. 2013, eq. 3-4    https://proceedings.mlr.press/v28/sutskever13.html

    heavy_ball    g = ∇f(θ − γ v)        v ← γ v + η g             θ ← θ − v        (their v, sign turned)
    average       g = ∇f(θ − η γ v)      v ← γ v + (1 − γ) g       θ ← θ − η v

    weight_decay is L2, a part of the objective: its gradient too is taken at the look-ahead point. The
    point is fixed when a step ends (`ahead`): a rate changed afterwards changes the next update, not
    where its gradient is taken.
    """

    def __init__(self, p, lr=1e-2, momentum=0.9, weight_decay=0.0, form="heavy_ball"):
        self.theta = p.clone()
        self.lr, self.gamma, self.lam, self.form = lr, momentum, weight_decay, form
        self.v = torch.zeros_like(p)
        self.ahead = p.clone()

    def step(self, grad_fn):
        g = grad_fn(self.ahead) + self.lam * self.ahead
        if self.form == "heavy_ball":
            self.v = self.gamma * self.v + self.lr * g
            self.theta = self.theta - self.v
            self.ahead = self.theta - self.gamma * self.v
        elif self.form == "average":
            self.v = self.gamma * self.v + (1 - self.gamma) * g
            self.theta = self.theta - self.lr * self.v
            self.ahead = self.theta - self.lr * self.gamma * self.v
        else:
            raise ValueError(self.form)
        return self.theta
