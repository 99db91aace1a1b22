"""AdaGrad's primal-dual subgradient update, with an l1 penalty."""

import torch

from .draw import EPS, RATE, uniform


class AdaGradRDAPaper:
    """Duchi, Hazan & Singer 2011, update (3) with figure 1    https://jmlr.org/papers/v12/duchi11a.html

        s_{t,i} = ‖g_{1:t,i}‖₂          H_t = δI + diag(s_t)          ψ_t(x) = ½⟨x, H_t x⟩
        x_{t+1} = argmin_x { η⟨ḡ_t, x⟩ + ηφ(x) + ψ_t(x) / t }          ḡ_t = (1/t) Σ_{τ≤t} g_τ

    with φ(x) = λ‖x‖₁ and δ = eps. Beside the paper, which starts at x₁ = 0 with one η: ψ_t is of x − x₁, and η is
    inside the sums, so that times t the problem is, for each weight,

        min_x  Σ_τ η_τ g_τ x + Σ_τ η_τ λ |x| + ½ h (x − x₁)²

    It is solved here by its cases: the root of the derivative where x > 0, where x < 0, and x = 0 where neither has
    that sign. Where h = 0 the weight is x₁.
    """

    def __init__(self, p, lr=1e-2, l1=0.0, eps=1e-10):
        self.x, self.x1 = p.clone(), p.clone()
        self.lr, self.lam, self.delta = lr, l1, eps
        self.g = []
        self.eta = []

    def step(self, g):
        self.g.append(g)
        self.eta.append(self.lr)
        h = self.delta + torch.stack(self.g).square().sum(0).sqrt()
        linear = sum(eta * g for eta, g in zip(self.eta, self.g, strict=True))
        penalty = sum(self.eta) * self.lam
        above = self.x1 - (linear + penalty) / h
        below = self.x1 - (linear - penalty) / h
        x = torch.where(above > 0, above, torch.where(below < 0, below, torch.zeros_like(h)))
        self.x = torch.where(h == 0, self.x1, x)
        return self.x


SPACES = {"AdaGradRDA": {"lr": RATE, "l1": uniform(0.02, 0.3), "eps": EPS}}
EDGES = {"AdaGradRDA": [{"eps": 0.0, "l1": 0.1}, {"eps": 0.0}, {"l1": 0.1, "eps": 1.0}, {"lr": 0.0}]}
