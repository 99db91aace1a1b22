"""NAdam: Adam with Nesterov's look-ahead in its first moment."""

import torch


class NAdamPaper:
    """Dozat 2016, Algorithm 2    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    with torch's moments    https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html

        μ_t = β₁ (1 − ½ · 0.96^{tψ})
        m_t ← β₁ m_{t−1} + (1 − β₁) g_t
        v_t ← β₂ v_{t−1} + (1 − β₂) g_t²
        m̂ ← μ_{t+1} m_t / (1 − ∏_{i=1}^{t+1} μ_i) + (1 − μ_t) g_t / (1 − ∏_{i=1}^{t} μ_i)
        v̂ ← v_t / (1 − β₂ᵗ)
        θ_t ← θ_{t−1} − α m̂ / (√v̂ + ε)

    form="overview", Ruder 2016, section 4.8    https://arxiv.org/abs/1609.04747

        θ_{t+1} = θ_t − η / (√v̂_t + ε) · (β₁ m̂_t + (1 − β₁) g_t / (1 − β₁ᵗ)),    m̂_t = m_t / (1 − β₁ᵗ)

    The paper's line is m_t ← μ_t m_{t−1} + (1 − μ_t) g_t; torch and Keras keep β₁ there. constant_beta:
    μ_t = β₁, so the products are powers of β₁. bias_correction=False: m̂ = (1 − μ_t) g + μ_{t+1} m and
    v̂ = v. weight_decay is L2, or αλθ beside the step with decoupled_weight_decay. eps_inside: √(v̂ + ε).
    """

    def __init__(
        self,
        p,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        constant_beta=False,
        eps_inside=False,
        bias_correction=True,
        form="dozat",
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam, self.psi = lr, eps, weight_decay, momentum_decay
        self.beta1, self.beta2 = betas
        self.decoupled, self.constant_beta = decoupled_weight_decay, constant_beta
        self.eps_inside, self.bias_correction = eps_inside, bias_correction
        self.form = form
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.t = 0

    def mu(self, t):
        if self.constant_beta:
            return self.beta1
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.psi))

    def product(self, last):
        product = 1.0
        for i in range(1, last + 1):
            product = product * self.mu(i)
        return product

    def step(self, g):
        self.t = t = self.t + 1
        if not self.decoupled:
            g = g + self.lam * self.theta
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        ahead, now, vhat = self.mu(t + 1) * self.m, (1 - self.mu(t)) * g, self.v
        if self.bias_correction:
            ahead = ahead / (1 - self.product(t + 1))
            now = now / (1 - self.product(t))
            vhat = vhat / (1 - self.beta2**t)
        mhat = ahead + now
        if self.form == "overview":
            c = 1 - self.beta1**t if self.bias_correction else 1
            mhat = self.beta1 * (self.m / c) + (1 - self.beta1) * g / c
        root = torch.sqrt(vhat + self.eps) if self.eps_inside else torch.sqrt(vhat) + self.eps
        decay = self.lr * self.lam * self.theta if self.decoupled else 0.0
        self.theta = self.theta - self.lr * mhat / root - decay
        return self.theta
