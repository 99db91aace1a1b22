"""KL-Shampoo and KL-SOAP: factors that minimise a KL divergence together."""

import torch

from ravine.matrix.eigen import basis
from transcriptions.draw import DECAY, EITHER, EPS, RATE, log, pair, uniform


class KLShampooPaper:
    """Lin et al. 2026, Figure 3, in the order of the authors' code    https://arxiv.org/abs/2509.03378

        S_a ← β_2 S_a + (1 − β_2) / d_b G S_b⁻¹ Gᵀ,  S_b likewise of Gᵀ and S_a, with S⁻¹ = Q diag(λ)⁻¹ Qᵀ
        λ_a ← β_2 λ_a + (1 − β_2) / d_b diag(Q_aᵀ G S_b⁻¹ Gᵀ Q_a),  λ_b likewise
        every T steps Q ← QR(S Q).Q
        W ← W − η Q_a [(Q_aᵀ M Q_b) / (√(λ_a λ_bᵀ) + ε)] Q_bᵀ,  then W ← W − η λ W

    The first gradient makes Q, with S_b = I and λ = `initial` afterwards, and no step. Vectors have Adam's step.
    Which eigenvectors of 0 the first step takes is ravine's own choice.
    """

    soap = False

    def __init__(
        self, p, lr=1e-4, betas=(0.9, 0.98), shampoo_beta=None, eps=1e-8, weight_decay=0.01, interval=10,
        initial=0.1, max_root=4000.0, normalize=False, sides="both",
    ):  # fmt: skip
        self.w, self.lr, self.eps, self.lam, self.every = p.clone(), lr, eps, weight_decay, interval
        self.beta1, self.beta2 = betas
        self.beta3 = self.beta2 if shampoo_beta is None else shampoo_beta
        self.initial, self.most, self.normalize, self.t = initial, max_root, normalize, 0
        self.m, self.v = torch.zeros_like(p), torch.zeros_like(p)
        self.live = [p.dim() == 2 and sides in ("both", x) for x in ("left", "right")]
        shape = p.shape if p.dim() == 2 else (1, 1)
        self.s = [torch.zeros(n, n, dtype=p.dtype) for n in shape]
        self.q = [torch.eye(n, dtype=p.dtype) for n in shape]
        self.lam_of = [torch.ones(n, dtype=p.dtype) for n in shape]

    def step(self, g):
        self.t += 1
        if self.t > 1:
            u = self.direction(g)
            if self.normalize:
                u = u / (1e-30 + torch.sqrt(torch.mean(u * u)))
            self.w = self.w - self.lr * u
            self.w = self.w - self.lr * self.lam * self.w
        if g.dim() == 2:
            self.learn(g)
        return self.w

    def rotated(self, x):
        return self.q[0].T @ x @ self.q[1]

    def direction(self, g):
        if g.dim() < 2 or self.soap:
            x = self.rotated(g) if g.dim() == 2 else g
            self.m = self.beta1 * self.m + (1 - self.beta1) * x
            self.v = self.beta2 * self.v + (1 - self.beta2) * x * x
            u = self.m / (torch.sqrt(self.v) + self.eps)
            return self.q[0] @ u @ self.q[1].T if g.dim() == 2 else u
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        below = torch.sqrt(torch.outer(*self.lam_of)) + self.eps
        return self.q[0] @ (self.rotated(self.m) / below) @ self.q[1].T

    def learn(self, g):
        inverse = [q @ torch.diag(1 / x) @ q.T for q, x in zip(self.q, self.lam_of, strict=True)]
        new = [g @ inverse[1] @ g.T / g.shape[1], g.T @ inverse[0] @ g / g.shape[0]]
        m = self.q[0] @ self.m @ self.q[1].T
        for k in (0, 1):
            if not self.live[k]:
                continue
            self.s[k] = self.beta3 * self.s[k] + (1 - self.beta3) * new[k]
            if self.t == 1:
                self.q[k], self.lam_of[k] = basis(self.s[k]), torch.full_like(self.lam_of[k], self.initial)
                continue
            seen = torch.diag(self.q[k].T @ new[k] @ self.q[k])
            self.lam_of[k] = self.beta3 * self.lam_of[k] + (1 - self.beta3) * seen
            if self.most:
                least = max(10.0, min(len(seen), self.most)) ** -2
                self.lam_of[k] = self.lam_of[k].clamp(min=least)
            if (self.t - 1) % self.every == 0:
                self.q[k] = torch.linalg.qr(self.s[k] @ self.q[k])[0]
        if self.soap:
            self.m = self.rotated(m)


class KLSOAPPaper(KLShampooPaper):
    """Lin et al. 2026, KL-SOAP: Adam in the bases of KL-Shampoo    https://arxiv.org/abs/2509.03378"""

    soap = True


DRAWN = {
    "lr": RATE,
    "betas": pair(uniform(0.5, 0.97), uniform(0.8, 0.99)),
    "shampoo_beta": uniform(0.7, 0.97),
    "eps": EPS,
    "weight_decay": DECAY,
    "interval": [2, 5],
    "initial": log(1e-1, 1.0),
    "max_root": [0.0, 12.0],
    "normalize": EITHER,
    "sides": ["both", "left", "right"],
}
SPACES = {"KLShampoo": DRAWN, "KLSOAP": DRAWN}
EDGES = {name: [{"lr": 1e-2, "interval": 1}, {"lr": 1e-2, "betas": (0.0, 0.9), "interval": 3}] for name in SPACES}


def _idle(change, hyper):
    """No root of this walk is above the lower bound of its clamp."""
    return change == {"max_root"}


def _idle_beside_adam(change, hyper):
    """The eigenvalues count in the factor of the other side alone."""
    return change == {"max_root"} or (change == {"initial"} and hyper["sides"] != "both")


IDLE = {"KLShampoo": _idle, "KLSOAP": _idle_beside_adam}
