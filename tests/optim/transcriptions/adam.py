"""Adam."""

import torch


class AdamPaper:
    """Kingma & Ba 2015, Algorithm 1    https://arxiv.org/abs/1412.6980

        t ← t + 1
        g_t ← ∇f_t(θ_{t−1})
        m_t ← β₁ m_{t−1} + (1 − β₁) g_t
        v_t ← β₂ v_{t−1} + (1 − β₂) g_t²
        m̂_t ← m_t / (1 − β₁ᵗ)
        v̂_t ← v_t / (1 − β₂ᵗ)
        θ_t ← θ_{t−1} − α m̂_t / (√v̂_t + ε)

    amsgrad, as torch: the maximum is kept of the raw v, then corrected. weight_decay is L2, or αλθ_{t−1}
    beside the step with decoupled_weight_decay. eps_inside: √(v̂ + ε). bias_correction=False: m̂ = m, v̂
    = v.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        amsgrad=False,
        decoupled_weight_decay=False,
        eps_inside=False,
        bias_correction=True,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.amsgrad, self.decoupled = amsgrad, decoupled_weight_decay
        self.eps_inside, self.bias_correction = eps_inside, bias_correction
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.vmax = torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        if not self.decoupled:
            g = g + self.lam * self.theta
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        v = self.v
        if self.amsgrad:
            self.vmax = torch.maximum(self.vmax, self.v)
            v = self.vmax
        mhat, vhat = self.m, v
        if self.bias_correction:
            mhat = self.m / (1 - self.beta1**self.t)
            vhat = v / (1 - self.beta2**self.t)
        root = torch.sqrt(vhat + self.eps) if self.eps_inside else torch.sqrt(vhat) + self.eps
        decay = self.lr * self.lam * self.theta if self.decoupled else 0.0
        self.theta = self.theta - self.lr * mhat / root - decay
        return self.theta
