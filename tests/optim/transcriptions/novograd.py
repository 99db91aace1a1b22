"""NovoGrad: one second moment for each layer."""

import math

import torch

from .draw import ADAM, EITHER


class NovoGradPaper:
    """Ginsburg et al. 2019, Algorithm 1    https://arxiv.org/abs/1905.11286

        t = 1:   v_1 = ‖g_1‖²                           m_1 = g_1/√v_1 + d w_0
        t > 1:   v_t = β₂ v_{t−1} + (1 − β₂) ‖g_t‖²     m_t = β₁ m_{t−1} + (g_t/(√v_t + ε) + d w_t)
        w_{t+1} = w_t − λ_t m_t

    for each layer (here: tensor). ε stands in the first step too. As in NVIDIA's code, v begins at the first gradient
    that is not zero. grad_averaging multiplies what is added to m by 1 − β₁; amsgrad takes the largest v so far.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.95, 0.98),
        eps=1e-8,
        weight_decay=0.0,
        grad_averaging=False,
        amsgrad=False,
    ):
        self.w, self.m = p.clone(), torch.zeros_like(p)
        self.lr, self.eps, self.d = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.grad_averaging, self.amsgrad = grad_averaging, amsgrad
        self.v = self.vmax = 0.0

    def step(self, g):
        square = math.fsum(x * x for x in g.flatten().tolist())
        self.v = square if self.v == 0 else self.beta2 * self.v + (1 - self.beta2) * square
        self.vmax = max(self.vmax, self.v)
        direction = g / (math.sqrt(self.vmax if self.amsgrad else self.v) + self.eps) + self.d * self.w
        if self.grad_averaging:
            direction = (1 - self.beta1) * direction
        self.m = self.beta1 * self.m + direction
        self.w = self.w - self.lr * self.m
        return self.w


SPACES = {"NovoGrad": ADAM | {"grad_averaging": EITHER, "amsgrad": EITHER}}
EDGES = {"NovoGrad": [{"betas": (0.0, 0.0)}, {"betas": (0.95, 0.0), "amsgrad": True}]}
