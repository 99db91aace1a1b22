"""Rprop: a step size for every weight, moved by the signs of the gradient alone."""

import torch


class RpropPaper:
    """iRprop−: Igel & Hüsken 2003, without weight-backtracking    https://doi.org/10.1016/S0925-2312(01)00700-7
    after Riedmiller & Braun 1993    https://doi.org/10.1109/ICNN.1993.298623

        for each weight w:
            if   ∂E_{t−1} · ∂E_t > 0:   Δ ← min(Δ · η⁺, Δ_max)
            elif ∂E_{t−1} · ∂E_t < 0:   Δ ← max(Δ · η⁻, Δ_min);  ∂E_t ← 0
            w ← w − sign(∂E_t) Δ

    backtracking=True is Rprop+, section 2.1 there and the form of 1993: it keeps the last change of each weight,

            if   ∂E_{t−1} · ∂E_t ≥ 0:   Δw_t ← −sign(∂E_t) Δ
            else:                       Δw_t ← −Δw_{t−1};  ∂E_t ← 0
            w ← w + Δw_t

    Every Δ starts at lr, and ∂E_0 = 0. lr is read nowhere else. (torch clamps Δ on every step, so an lr
    outside step_sizes is cut there at once, here when first multiplied.)
    """

    def __init__(self, p, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), backtracking=False):
        self.w = p.clone()
        self.lr = lr
        self.eta_minus, self.eta_plus = etas
        self.delta_min, self.delta_max = step_sizes
        self.delta = torch.full_like(p, lr)
        self.dE = torch.zeros_like(p)
        self.backtracking, self.change = backtracking, [0.0] * p.numel()

    def step(self, g):
        w, delta, before, now = (x.flatten().tolist() for x in (self.w, self.delta, self.dE, g))
        for i in range(len(w)):
            turned = before[i] * now[i] < 0
            if before[i] * now[i] > 0:
                delta[i] = min(delta[i] * self.eta_plus, self.delta_max)
            elif before[i] * now[i] < 0:
                delta[i] = max(delta[i] * self.eta_minus, self.delta_min)
                now[i] = 0.0
            sign = (now[i] > 0) - (now[i] < 0)
            self.change[i] = -self.change[i] if turned and self.backtracking else -sign * delta[i]
            w[i] = w[i] + self.change[i]
        self.w, self.delta, self.dE = (torch.tensor(x, dtype=torch.float64).reshape(g.shape) for x in (w, delta, now))
        return self.w
