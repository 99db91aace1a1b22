"""AdamP and SGDP: no step along weights whose length does not matter."""

import math

import torch

from .draw import ADAM, EITHER, uniform


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))


def length(a):
    return math.sqrt(dot(a, a))


def cosine(a, b, eps):
    return abs(dot(a, b)) / (max(length(a), eps) * max(length(b), eps))


def without(w, d, eps):
    """Π_w(d) = d − (ŵ · d) ŵ, with ŵ = w / (‖w‖ + ε)."""
    unit = w / (length(w) + eps)
    return d - dot(unit, d) * unit


def project(w, g, d, delta, eps):
    """Heo et al. 2021, equation 12, in the order of the authors' code: (what to step along, whether projected).

        cos(w, g) < δ / √dim(w)   for all channels:   q = Π_w(d) in each channel
        else for the whole layer:                     q = Π_w(d)
        else                                          q = d

    Tensors of fewer than two dimensions are never projected.
    """
    if w.ndim < 2:
        return d, False
    dim = w.numel() // w.shape[0]
    if max(cosine(a, b, eps) for a, b in zip(w, g, strict=True)) < delta / math.sqrt(dim):
        return torch.stack([without(a, b, eps) for a, b in zip(w, d, strict=True)]), True
    if cosine(w, g, eps) < delta / math.sqrt(w.numel()):
        return without(w, d, eps), True
    return d, False


class AdamPPaper:
    """Heo et al. 2021, Algorithm 2    https://arxiv.org/abs/2006.08217

    m_t = β₁ m_{t−1} + (1 − β₁) g_t        v_t = β₂ v_{t−1} + (1 − β₂) g_t²
    p_t = m̂_t / (√v̂_t + ε)                 nesterov: (β₁ m_t + (1 − β₁) g_t) / (1 − β₁ᵗ) for m̂_t
    q_t = p_t, projected
    w_{t+1} = w_t − η q_t − η λ w_t        the decay times wd_ratio where projected
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        delta=0.1,
        wd_ratio=0.1,
        nesterov=False,
    ):
        self.w, self.m, self.v = p.clone(), torch.zeros_like(p), torch.zeros_like(p)
        self.lr, self.eps, self.lam, self.delta, self.ratio = lr, eps, weight_decay, delta, wd_ratio
        self.beta1, self.beta2 = betas
        self.nesterov = nesterov
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        m = self.beta1 * self.m + (1 - self.beta1) * g if self.nesterov else self.m
        m = m / (1 - self.beta1**self.t)
        d = m / (torch.sqrt(self.v / (1 - self.beta2**self.t)) + self.eps)
        q, projected = project(self.w, g, d, self.delta, self.eps)
        lam = self.lam * (self.ratio if projected else 1)
        self.w = self.w - self.lr * q - self.lr * lam * self.w
        return self.w


class SGDPPaper:
    """Heo et al. 2021, Algorithm 1    https://arxiv.org/abs/2006.08217

        p_t = β p_{t−1} + (1 − dampening) g_t        nesterov: g_t + β p_t is projected
        q_t = p_t, projected
        w_{t+1} = w_t − η q_t − η λ/(1 − β) w_t      the decay times wd_ratio where projected

    with 1/(1 − β) at the decay as in the authors' code.
    """

    def __init__(
        self,
        p,
        lr=0.1,
        momentum=0.0,
        dampening=0.0,
        weight_decay=0.0,
        nesterov=False,
        eps=1e-8,
        delta=0.1,
        wd_ratio=0.1,
    ):
        self.w, self.p = p.clone(), torch.zeros_like(p)
        self.lr, self.beta, self.dampening, self.lam = lr, momentum, dampening, weight_decay
        self.nesterov, self.eps, self.delta, self.ratio = nesterov, eps, delta, wd_ratio

    def step(self, g):
        self.p = self.beta * self.p + (1 - self.dampening) * g
        d = g + self.beta * self.p if self.nesterov else self.p
        q, projected = project(self.w, g, d, self.delta, self.eps)
        lam = self.lam / (1 - self.beta) * (self.ratio if projected else 1)
        self.w = self.w - self.lr * q - self.lr * lam * self.w
        return self.w


# δ so large that some steps are projected by channels, some by layer and some not at all, whatever else is drawn
PROJECTION = {"delta": [1.2, 2.4], "wd_ratio": uniform(0.05, 0.9), "nesterov": EITHER}
SPACES = {
    "AdamP": ADAM | PROJECTION,
    "SGDP": {key: ADAM[key] for key in ("lr", "eps", "weight_decay")}
    | {"momentum": [0.0, 0.8], "dampening": uniform(0.1, 0.5)}
    | PROJECTION,
}
EDGES = {
    "AdamP": [{"betas": (0.0, 0.0)}, {"delta": 0.0}, {"delta": 100.0, "weight_decay": 0.1}],
    "SGDP": [{"delta": 100.0, "weight_decay": 0.1, "wd_ratio": 0.0}, {"momentum": 0.9, "dampening": 1.0}],
}
IDLE = {"SGDP": lambda change, hyper: change == {"nesterov"} and hyper["momentum"] == 0}
