"""Adam-mini: Adam with one second moment for a whole block of weights."""

import torch

from transcriptions.draw import ADAM


class AdamMiniPaper:
    """Zhang et al. 2025, Algorithm 1    https://arxiv.org/abs/2406.16793

        for each block b of the parameters, with its gradient g_b:
            θ_b = θ_b − η λ θ_b
            m_b = β₁ m_b + (1 − β₁) g_b              m̂ = m_b / (1 − β₁ᵗ)
            v_b = β₂ v_b + (1 − β₂) mean(g_b ∘ g_b)   v̂ = v_b / (1 − β₂ᵗ)
            θ_b = θ_b − η m̂ / (√v̂ + ε)

    partition: the blocks are the rows of a matrix, or the whole vector ("row"); the whole tensor ("tensor"); single
    weights ("element").
    """

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, partition="row"):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        n = p.numel()
        length = {"row": p.shape[-1] if p.dim() == 2 else n, "tensor": n, "element": 1}[partition]
        self.blocks = [slice(i, i + length) for i in range(0, n, length)]
        self.m = torch.zeros(n, dtype=p.dtype)
        self.v = [0.0] * len(self.blocks)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        theta, g = self.theta.flatten().clone(), g.flatten()
        for k, b in enumerate(self.blocks):
            theta[b] = theta[b] - self.lr * self.lam * theta[b]
            self.m[b] = self.beta1 * self.m[b] + (1 - self.beta1) * g[b]
            self.v[k] = self.beta2 * self.v[k] + (1 - self.beta2) * torch.mean(g[b] * g[b]).item()
            mhat, vhat = self.m[b] / (1 - self.beta1**self.t), self.v[k] / (1 - self.beta2**self.t)
            theta[b] = theta[b] - self.lr * mhat / (vhat**0.5 + self.eps)
        self.theta = theta.reshape(self.theta.shape)
        return self.theta


SPACES = {"AdamMini": ADAM | {"partition": ["row", "tensor", "element"]}}
EDGES = {"AdamMini": [{"betas": (0.0, 0.0)}]}
