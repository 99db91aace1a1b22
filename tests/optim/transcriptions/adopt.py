"""ADOPT: yesterday's second moment, then momentum."""

import torch

from .draw import ADAM, EITHER, log, uniform


class ADOPTPaper:
    """Taniguchi et al. 2024, Algorithm 2 (second version, with clipping)    https://arxiv.org/abs/2411.02853

        v_0 ← g_0 ⊙ g_0,  m_0 ← 0
        for t = 1 to T:
            m_t ← β₁ m_{t−1} + (1 − β₁) Clip(g_t / max{√v_{t−1}, ε}, c_t)
            θ_t ← θ_{t−1} − α_t m_t
            v_t ← β₂ v_{t−1} + (1 − β₂) g_t ⊙ g_t

    c_t = t^¼, here t^clip_exponent; clip=False: the first version. Decay: L2, or α_t λ θ_{t−1} beside the step.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.9999),
        eps=1e-6,
        weight_decay=0.0,
        decouple=False,
        clip=True,
        clip_exponent=0.25,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.decouple, self.clip, self.exponent = decouple, clip, clip_exponent
        self.m = torch.zeros_like(p)
        self.v = None
        self.t = 0

    def step(self, g):
        if not self.decouple:
            g = g + self.lam * self.theta
        if self.v is None:
            self.v = g * g
            return self.theta
        self.t = self.t + 1
        c = g / torch.clamp(torch.sqrt(self.v), min=self.eps)
        if self.clip:
            c = torch.clamp(c, -(self.t**self.exponent), self.t**self.exponent)
        self.m = self.beta1 * self.m + (1 - self.beta1) * c
        decay = self.lr * self.lam * self.theta if self.decouple else 0.0
        self.theta = self.theta - decay - self.lr * self.m
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        return self.theta


SPACES = {  # a clip hides a small ε
    "ADOPT": ADAM | {"eps": log(0.1, 1.0), "decouple": EITHER, "clip": EITHER, "clip_exponent": uniform(0.1, 0.4)}
}
EDGES = {"ADOPT": [{"betas": (0.0, 0.9)}, {"betas": (0.0, 0.0), "eps": 1e-3}, {"clip_exponent": 0.0}]}
IDLE = {"ADOPT": lambda change, hyper: change == {"clip_exponent"} and not hyper["clip"]}
