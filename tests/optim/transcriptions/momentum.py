"""Classical momentum, in the three forms of the literature."""

import torch


class MomentumPaper:
    """Polyak 1964, eq. 9 (https://doi.org/10.1016/0041-5553(64)90137-5) and its two rewritings.

    polyak        θ_{t+1} = θ_t − η g_t + γ (θ_t − θ_{t−1}),   θ_0 = θ_{−1}
    heavy_ball    v_t = γ v_{t−1} + η g_t                       θ_{t+1} = θ_t − v_t
                  (Ruder 2016, section 4.1, https://arxiv.org/abs/1609.04747)
    average       v_t = γ v_{t−1} + (1 − γ) g_t                 θ_{t+1} = θ_t − η v_t

    weight_decay is L2: λθ joins the gradient.
    """

    def __init__(self, p, lr=1e-2, momentum=0.9, weight_decay=0.0, form="heavy_ball"):
        self.theta = p.clone()
        self.lr, self.gamma, self.lam, self.form = lr, momentum, weight_decay, form
        self.before = p.clone()
        self.v = torch.zeros_like(p)

    def step(self, g):
        g = g + self.lam * self.theta
        if self.form == "polyak":
            after = self.theta - self.lr * g + self.gamma * (self.theta - self.before)
            self.before = self.theta
            self.theta = after
        elif self.form == "heavy_ball":
            self.v = self.gamma * self.v + self.lr * g
            self.theta = self.theta - self.v
        elif self.form == "average":
            self.v = self.gamma * self.v + (1 - self.gamma) * g
            self.theta = self.theta - self.lr * self.v
        else:
            raise ValueError(self.form)
        return self.theta
