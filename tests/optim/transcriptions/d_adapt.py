"""SGD and Adam with D-Adaptation."""

import math

import torch

from .draw import BETAS, EITHER, EPS, RATE, log, uniform
from .whole import flat, unflat


class DAdaptSGDPaper:
    """Defazio & Mishchenko 2023, Algorithm 4    https://arxiv.org/abs/2301.07733

        λ_k = d_k γ_k / ‖g_0‖
        s_{k+1} = s_k + λ_k g_k
        z_{k+1} = z_k − λ_k g_k
        x_{k+1} = β x_k + (1 − β) z_{k+1}
        d̂_{k+1} = 2 Σ λ_i ⟨g_i, s_i⟩ / ‖s_{k+1}‖
        d_{k+1} = max(d_k, d̂_{k+1})

    on all parameters as one vector, z_0 = x_0. As in the authors' code d grows by growth_rate at most, weight decay
    is g + λx, and g_0 is without it.
    """

    whole = True

    def __init__(self, points, lr=1.0, momentum=0.0, weight_decay=0.0, d0=1e-6, growth_rate=math.inf):
        self.shapes = [p.shape for p in points]
        self.x = flat(points)
        self.z, self.s = self.x.clone(), torch.zeros_like(self.x)
        self.lr, self.beta, self.lam, self.d, self.growth = lr, momentum, weight_decay, d0, growth_rate
        self.sum, self.first = 0.0, None

    def step(self, grads):
        g = flat(grads)
        if self.first is None:
            self.first = math.sqrt(math.fsum(x * x for x in g.tolist()))
        g = g + self.lam * self.x
        lam = self.d * self.lr / self.first
        self.sum += lam * torch.dot(g, self.s).item()
        self.s = self.s + lam * g
        self.z = self.z - lam * g
        self.x = self.beta * self.x + (1 - self.beta) * self.z
        length = self.s.norm().item()
        if length > 0:
            self.d = max(self.d, min(2 * self.sum / length, self.d * self.growth))
        return unflat(self.x, self.shapes)


class DAdaptAdamPaper:
    """Defazio & Mishchenko 2023, Algorithm 5    https://arxiv.org/abs/2301.07733

        m_{k+1} = β₁ m_k + (1 − β₁) d_k γ_k g_k
        v_{k+1} = β₂ v_k + (1 − β₂) g_k²
        A = diag(√v + ε)
        x_{k+1} = x_k − A_{k+1}⁻¹ m_{k+1}
        s_{k+1} = √β₂ s_k + (1 − √β₂) d_k γ_k g_k
        r_{k+1} = √β₂ r_k + (1 − √β₂) d_k γ_k ⟨g_k, s_k⟩ in A⁻¹
        d̂_{k+1} = r_{k+1} / ((1 − √β₂) ‖s_{k+1}‖₁)
        d_{k+1} = max(d_k, d̂_{k+1})

    on all parameters as one vector. As in the authors' code the A of r is A_k; d grows by growth_rate at most; γ is
    multiplied by √(1 − β₂^{k+1}) / (1 − β₁^{k+1}) if asked for; layer_scale multiplies m, r and ‖s‖₁; weight decay is
    g + λx, or off x as d γ λ x.
    """

    whole = True

    def __init__(
        self,
        points,
        lr=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        decouple=False,
        use_bias_correction=False,
        layer_scale=1.0,
        d0=1e-6,
        growth_rate=math.inf,
    ):
        self.shapes = [p.shape for p in points]
        self.x = flat(points)
        self.s, self.m, self.v = (torch.zeros_like(self.x) for _ in range(3))
        self.lr, self.eps, self.lam, self.decouple = lr, eps, weight_decay, decouple
        self.beta1, self.beta2 = betas
        self.correct, self.scale, self.growth = use_bias_correction, layer_scale, growth_rate
        self.d, self.r, self.k = d0, 0.0, 0

    def step(self, grads):
        g, x, root = flat(grads), self.x, math.sqrt(self.beta2)
        rate = self.d * self.lr
        if self.correct:
            rate *= math.sqrt(1 - self.beta2 ** (self.k + 1)) / (1 - self.beta1 ** (self.k + 1))
        if not self.decouple:
            g = g + self.lam * x
        product = torch.dot(g, self.s / (torch.sqrt(self.v) + self.eps)).item()
        self.r = root * self.r + (1 - root) * rate * self.scale * product
        self.m = self.beta1 * self.m + (1 - self.beta1) * rate * self.scale * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        self.s = root * self.s + (1 - root) * rate * g
        length = self.scale * self.s.abs().sum().item()
        if length > 0:
            self.d = max(self.d, min(self.r / ((1 - root) * length), self.d * self.growth))
        move = self.m / (torch.sqrt(self.v) + self.eps)
        if self.decouple:
            move = move + rate * self.lam * x
        self.x = x - move
        self.k += 1
        return unflat(self.x, self.shapes)


# with gradients that are mostly noise d grows only if lr is large
SPACES = {
    "DAdaptSGD": {
        "lr": uniform(2.0, 8.0),
        "momentum": [0.0, 0.8],
        "weight_decay": RATE,
        "d0": log(1e-3, 1e-2),
        "growth_rate": uniform(1.01, 1.03),
    },
    "DAdaptAdam": {
        "lr": uniform(2.0, 8.0),
        "betas": BETAS,
        "eps": EPS,
        "weight_decay": RATE,
        "decouple": EITHER,
        "use_bias_correction": EITHER,
        "layer_scale": uniform(0.5, 2.0),
        "d0": log(1e-3, 1e-2),
        "growth_rate": uniform(1.01, 1.03),
    },
}
EDGES = {
    "DAdaptSGD": [{"d0": 1e-2, "lr": 8.0}, {"growth_rate": 1.0}, {"lr": 0.0}],
    "DAdaptAdam": [{"d0": 1e-2, "lr": 8.0}, {"growth_rate": 1.0}, {"betas": (0.0, 0.9)}, {"lr": 0.0}],
}
