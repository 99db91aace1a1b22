"""LAMB: Adam's direction, with a step as long as the layer's own weights allow."""

import math

import torch


class LAMBPaper:
    """You et al. 2020, Algorithm 2    https://arxiv.org/abs/1904.00962

        m_t = β₁ m_{t−1} + (1 − β₁) g_t
        v_t = β₂ v_{t−1} + (1 − β₂) g_t²
        m_t = m_t / (1 − β₁ᵗ)
        v_t = v_t / (1 − β₂ᵗ)
        r_t = m_t / (√v_t + ε)
        x_{t+1} = x_t − η_t φ(‖x_t‖) / ‖r_t + λ x_t‖ · (r_t + λ x_t)

    for each layer (here: tensor), with φ(z) = z. The ratio is 1 where either norm is 0. The corrected moments
    are read, not stored. trust_clip: the ratio is at most 1. always_adapt=False: it is 1 where λ = 0, too.
    eps_inside: √(v + ε). bias_correction=False leaves the third and fourth line out.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-6,
        weight_decay=0.0,
        eps_inside=False,
        bias_correction=True,
        trust_clip=False,
        always_adapt=True,
    ):
        self.x = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.eps_inside, self.bias_correction = eps_inside, bias_correction
        self.trust_clip, self.always_adapt = trust_clip, always_adapt
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        m, v = self.m, self.v
        if self.bias_correction:
            m = m / (1 - self.beta1**self.t)
            v = v / (1 - self.beta2**self.t)
        r = m / (torch.sqrt(v + self.eps) if self.eps_inside else torch.sqrt(v) + self.eps)
        u = r + self.lam * self.x
        norm_x = math.sqrt(math.fsum(x * x for x in self.x.flatten().tolist()))
        norm_u = math.sqrt(math.fsum(x * x for x in u.flatten().tolist()))
        ratio = norm_x / norm_u if norm_x > 0 and norm_u > 0 else 1.0
        if self.trust_clip and ratio > 1:
            ratio = 1.0
        if self.lam == 0 and not self.always_adapt:
            ratio = 1.0
        self.x = self.x - self.lr * ratio * u
        return self.x


def idle(change, hyper):
    """With decay the ratio is taken in any case."""
    return change == {"always_adapt"} and hyper["weight_decay"] != 0


IDLE = {"LAMB": idle}
