"""K-FAC, given the preconditioned gradient. tests/sources/test_kronecker_factors.py has how that is made."""

import math

from .draw import DECAY, log, uniform


class KFACPaper:
    """Martens & Grosse 2015, sections 6.4 and 7    https://arxiv.org/abs/1503.05671

        δ = −α ν F⁻¹∇h + μ δ₀        ν = min(1, √(κ / (α² ∇hᵀ F⁻¹ ∇h)))
        θ ← θ + δ

    with a fixed α and μ in the place of those that minimize the quadratic model, α outside the momentum, and the norm
    constraint of kfac-jax over all parameters. Where F⁻¹∇h is not given, it is the last one. Decay is off the weights.
    """

    whole, curvature, least = True, True, -0.5

    def __init__(self, p, lr=0.03, momentum=0.9, damping=1e-3, norm_constraint=1e-3, weight_decay=0.0):
        self.theta, self.lr, self.mu = [x.clone() for x in p], lr, momentum
        self.kappa, self.lam = norm_constraint, weight_decay
        self.delta = [x * 0 for x in p]
        self.natural = None

    def step(self, g, h):
        self.natural = self.natural if h is None else h
        quadratic = self.lr * self.lr * sum((x * y).sum().item() for x, y in zip(g, self.natural, strict=True))
        nu = math.sqrt(self.kappa / quadratic) if self.kappa and quadratic > self.kappa else 1.0
        self.delta = [nu * u + self.mu * d for u, d in zip(self.natural, self.delta, strict=True)]
        kept = 1 - self.lr * self.lam
        self.theta = [kept * x - self.lr * d for x, d in zip(self.theta, self.delta, strict=True)]
        return self.theta


SPACES = {
    "KFAC": {
        "lr": log(1e-3, 1e-1),
        "momentum": uniform(0.5, 0.97),
        "norm_constraint": log(1e-5, 1e-1),
        "weight_decay": DECAY,
    }
}
EDGES = {"KFAC": [{"momentum": 0.0}, {"norm_constraint": 0.0}, {"lr": 0.0}]}
