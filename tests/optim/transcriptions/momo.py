"""MoMo and MoMo-Adam: momentum with a step as long as a model of the loss allows."""

import torch

from .draw import BETAS, DECAY, EITHER, EPS, log, uniform
from .whole import flat, unflat


class MoMoPaper:
    """Schaipp et al. 2024, Algorithm 1    https://arxiv.org/abs/2305.07583

        f̄_k = (1 − β) f_k + β f̄_{k−1}                f̄_0 = f_1
        d_k = (1 − β) g_k + β d_{k−1}                d_0 = g_1
        γ_k = (1 − β) ⟨g_k, x_k⟩ + β γ_{k−1}         γ_0 = ⟨g_1, x_1⟩
        h_k = (1 + α λ) (f̄_k − γ_k) + ⟨d_k, x_k⟩
        τ_k = min(α / ρ_k, [h_k − (1 + α λ) ρ_k f_*]_+ / ‖d_k‖²)
        x_{k+1} = (x_k − τ_k d_k) / (1 + α λ)

    on all parameters as one vector, ρ_k = 1. With bias_correction the averages begin at 0 and ρ_k = 1 − βᵏ. With
    use_fstar f_* is found as in the authors' code: where h_k < (1 + α λ) ρ_k f_*, f_* is h_k / (2 (1 + α λ) ρ_k)
    first; after τ_k it is (f̄_k + ⟨d_k, x_k⟩ − γ_k − ½ τ_k ‖d_k‖²) / ρ_k; never below the f_* of the beginning.
    """

    whole = loss = True

    def __init__(self, points, lr=1.0, weight_decay=0.0, beta=0.9, lb=0.0, bias_correction=False, use_fstar=False):
        self.shapes = [p.shape for p in points]
        self.x = flat(points)
        self.lr, self.lam, self.beta = lr, weight_decay, beta
        self.lowest = self.fstar = lb
        self.correct, self.search = bias_correction, use_fstar
        self.k = 0

    def step(self, grads, loss):
        g, x, beta = flat(grads), self.x, self.beta
        self.k += 1
        if self.k == 1:
            start = 0.0 if self.correct else 1.0
            self.f, self.d, self.gamma = start * loss, start * g, start * torch.dot(g, x).item()
        self.f = (1 - beta) * loss + beta * self.f
        self.d = (1 - beta) * g + beta * self.d
        self.gamma = (1 - beta) * torch.dot(g, x).item() + beta * self.gamma
        rho = 1 - beta**self.k if self.correct else 1.0
        tau = self.tau(self.d, rho)
        self.x = (x - tau * self.d) / (1 + self.lr * self.lam)
        return unflat(self.x, self.shapes)

    def tau(self, u, rho):
        more = 1 + self.lr * self.lam
        far = torch.dot(self.d, self.x).item()
        length = torch.dot(self.d, u).item()
        h = more * (self.f - self.gamma) + far
        if self.search and h < more * rho * self.fstar:
            self.fstar = max(h / (2 * more * rho), self.lowest)
        tau = min(self.lr / rho, max(h - more * rho * self.fstar, 0.0) / length)
        if self.search:
            self.fstar = max((self.f + far - self.gamma - 0.5 * tau * length) / rho, self.lowest)
        return tau


class MoMoAdamPaper(MoMoPaper):
    """Schaipp et al. 2024, Algorithm 2    https://arxiv.org/abs/2305.07583

        v_k = (1 − β₂) g_k² + β₂ v_{k−1}
        D_k = diag(ε + √(v_k / (1 − β₂ᵏ)))
        τ_k = min(α / (1 − β₁ᵏ), [h_k − (1 + α λ) (1 − β₁ᵏ) f_*]_+ / ‖d_k‖² in D_k⁻¹)
        x_{k+1} = (x_k − τ_k D_k⁻¹ d_k) / (1 + α λ)

    with averages that begin at 0, and all else as above. divide=False: (1 − α λ) x_k − τ_k D_k⁻¹ d_k.
    """

    def __init__(
        self,
        points,
        lr=1e-2,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        lb=0.0,
        divide=True,
        use_fstar=False,
    ):
        super().__init__(points, lr, weight_decay, betas[0], lb, True, use_fstar)
        self.beta2, self.eps, self.divide = betas[1], eps, divide
        self.d, self.v = torch.zeros_like(self.x), torch.zeros_like(self.x)
        self.f = self.gamma = 0.0

    def step(self, grads, loss):
        g, x = flat(grads), self.x
        self.k += 1
        self.f = (1 - self.beta) * loss + self.beta * self.f
        self.d = (1 - self.beta) * g + self.beta * self.d
        self.v = (1 - self.beta2) * g * g + self.beta2 * self.v
        self.gamma = (1 - self.beta) * torch.dot(g, x).item() + self.beta * self.gamma
        u = self.d / (self.eps + torch.sqrt(self.v / (1 - self.beta2**self.k)))
        tau = self.tau(u, 1 - self.beta**self.k)
        decay = self.lr * self.lam
        self.x = (x - tau * u) / (1 + decay) if self.divide else (1 - decay) * x - tau * u
        return unflat(self.x, self.shapes)


SPACES = {
    "MoMo": {
        "lr": log(1e-2, 1e-1),
        "weight_decay": DECAY,
        "beta": uniform(0.5, 0.97),
        "lb": uniform(-1.0, 1.0),
        "bias_correction": EITHER,
        "use_fstar": EITHER,
    },
    "MoMoAdam": {
        "lr": log(1e-2, 1e-1),
        "betas": BETAS,
        "eps": EPS,
        "weight_decay": DECAY,
        "lb": uniform(-1.0, 1.0),
        "divide": EITHER,
        "use_fstar": EITHER,
    },
}
EDGES = {
    "MoMo": [{"beta": 0.0}, {"lb": 4.0, "use_fstar": True}, {"lr": 0.0}],
    "MoMoAdam": [{"betas": (0.0, 0.0)}, {"lb": 4.0, "use_fstar": True}, {"lr": 0.0}],
}
