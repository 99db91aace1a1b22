"""Schedule-Free learning: three sequences instead of a schedule."""

import math

import torch

from .draw import ADAM, BETAS, EITHER, RATE, uniform


class Sequences:
    """Defazio et al. 2024, equations 3-5 and Algorithm 1    https://arxiv.org/abs/2405.15682

        y_t = (1 − β) z_t + β x_t                       where the gradient is taken
        z_{t+1} = z_t − γ_t (direction at y_t)
        c_{t+1} = w_t / Σᵢ₌₁ᵗ wᵢ
        x_{t+1} = (1 − c_{t+1}) x_t + c_{t+1} z_{t+1}   where the model is evaluated

    with w_t = tʳ (max of γ so far)^power, as in the authors' package (the paper: γ_t²). While all weights are 0
    the average stays where it is.
    """

    def start(self, p, beta, r, power):
        self.x, self.y, self.z = p.clone(), p.clone(), p.clone()
        self.beta, self.r, self.power = beta, r, power
        self.t, self.largest, self.sum = 0, 0.0, 0.0

    def walk(self, gamma, direction):
        self.z = self.z - gamma * direction
        self.largest = max(self.largest, gamma)
        weight = self.t**self.r * self.largest**self.power
        self.sum = self.sum + weight
        c = weight / self.sum if self.sum > 0 else 0.0
        self.x = (1 - c) * self.x + c * self.z
        self.y = (1 - self.beta) * self.z + self.beta * self.x
        return self.y

    def evaluated(self):
        return self.x


class ScheduleFreeSGDPaper(Sequences):
    """Equations 3-5 with the direction g + λ y; γ = lr min(1, t / warmup_steps)."""

    def __init__(
        self, p, lr=1.0, momentum=0.9, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0
    ):  # lr as in the authors' package
        self.lr, self.lam, self.warmup = lr, weight_decay, warmup_steps
        self.start(p, momentum, r, weight_lr_power)

    def step(self, g):
        self.t = self.t + 1
        gamma = self.lr * (min(1.0, self.t / self.warmup) if self.warmup > 0 else 1.0)
        return self.walk(gamma, g + self.lam * self.y)


class ScheduleFreeAdamWPaper(Sequences):
    """Algorithm 1 (correct_lr=True):

        v_t = β₂ v_{t−1} + (1 − β₂) g_t²
        γ_t = γ √(1 − β₂ᵗ) min(1, t / T_warmup)
        z_{t+1} = z_t − γ_t g_t / (√v_t + ε) − γ_t λ y_t

    The authors' package (correct_lr=False) has γ_t without the root, and √(v_t / (1 − β₂ᵗ)) instead of √v_t.
    """

    def __init__(
        self,
        p,
        lr=2.5e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        warmup_steps=0,
        r=0.0,
        weight_lr_power=2.0,
        correct_lr=False,
    ):
        self.lr, self.eps, self.lam, self.warmup, self.correct_lr = lr, eps, weight_decay, warmup_steps, correct_lr
        self.beta2 = betas[1]
        self.v = torch.zeros_like(p)
        self.start(p, betas[0], r, weight_lr_power)

    def step(self, g):
        self.t = self.t + 1
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        correction = 1 - self.beta2**self.t
        gamma = self.lr * (min(1.0, self.t / self.warmup) if self.warmup > 0 else 1.0)
        if self.correct_lr:
            gamma = gamma * math.sqrt(correction)
            denominator = torch.sqrt(self.v) + self.eps
        else:
            denominator = torch.sqrt(self.v / correction) + self.eps
        return self.walk(gamma, g / denominator + self.lam * self.y)


class ScheduleFreeRAdamPaper(Sequences):
    """Algorithm 1 with the warm-up of Liu et al. 2020, Algorithm 2    https://arxiv.org/abs/1908.03265

    ρ_∞ = 2/(1 − β₂) − 1                            ρ_t = ρ_∞ − 2 t β₂ᵗ/(1 − β₂ᵗ)
    r_t = √((ρ_t−4)(ρ_t−2)ρ_∞ / ((ρ_∞−4)(ρ_∞−2)ρ_t))
    ρ_t > 4:  γ_t = lr r_t, direction g / (√v̂ + ε) + λ y
    else:     γ_t = lr, direction g + λ y           silent_sgd_phase: γ_t = 0
    """

    def __init__(
        self,
        p,
        lr=2.5e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        r=0.0,
        weight_lr_power=2.0,
        silent_sgd_phase=True,
    ):
        self.lr, self.eps, self.lam, self.silent = lr, eps, weight_decay, silent_sgd_phase
        self.beta2 = betas[1]
        self.v = torch.zeros_like(p)
        self.start(p, betas[0], r, weight_lr_power)

    def step(self, g):
        self.t = self.t + 1
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        power = self.beta2**self.t
        rho_inf = 2 / (1 - self.beta2) - 1
        rho = rho_inf - 2 * self.t * power / (1 - power)
        if rho > 4:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            return self.walk(self.lr * r, g / (torch.sqrt(self.v / (1 - power)) + self.eps) + self.lam * self.y)
        return self.walk(0.0 if self.silent else self.lr, g + self.lam * self.y)


WEIGHTS = {"r": [0.0, 0.7], "weight_lr_power": uniform(0.5, 3.0)}
SPACES = {
    "ScheduleFreeSGD": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.99),
        "weight_decay": ADAM["weight_decay"],
        "warmup_steps": [0, 7],
        **WEIGHTS,
    },
    "ScheduleFreeAdamW": ADAM | {"warmup_steps": [0, 7], "correct_lr": EITHER} | WEIGHTS,
    "ScheduleFreeRAdam": ADAM | {"betas": BETAS, "silent_sgd_phase": EITHER} | WEIGHTS,
}
EDGES = {
    "ScheduleFreeSGD": [{"momentum": 0.0}, {"momentum": 1.0}, {"lr": 0.0}, {"weight_lr_power": 0.0}],
    "ScheduleFreeAdamW": [{"betas": (0.0, 0.0)}, {"betas": (0.0, 0.0), "correct_lr": True}, {"lr": 0.0}],
    "ScheduleFreeRAdam": [
        {"weight_lr_power": 0.0},  # 0⁰ = 1: the silent steps count
        {"betas": (0.9, 0.6)},  # ρ_∞ = 4: never rectified, so never moved
        {"betas": (0.9, 0.6), "silent_sgd_phase": False},
        {"betas": (0.0, 0.99)},
    ],
}
IDLE = {
    # with a rate that does not change, the largest so far is the rate, and its power cancels
    "ScheduleFreeSGD": lambda change, hyper: change == {"weight_lr_power"} and hyper["warmup_steps"] == 0,
    "ScheduleFreeAdamW": lambda change, hyper: (
        change == {"weight_lr_power"} and hyper["warmup_steps"] == 0 and not hyper["correct_lr"]
    ),
    "ScheduleFreeRAdam": lambda change, hyper: change == {"weight_lr_power"} and not hyper["silent_sgd_phase"],
}
