"""AdaGrad with full matrices, by the singular values of all gradients so far."""

import torch

from transcriptions.draw import DECAY, EITHER, EPS, RATE


class FullAdagradPaper:
    """Duchi, Hazan & Singer 2011, figure 1, full matrices    https://jmlr.org/papers/v12/duchi11a.html

        g_{1:t} = [g_{1:t−1} g_t],  G_t = g_{1:t} g_{1:t}ᵀ,  S_t = G_t^{1/2},  H_t = δ I + S_t,  x ← x − η H_t⁻¹ g_t

    With g_{1:t} = U Σ Vᵀ it is S_t = U Σ Uᵀ, and g_t = U Uᵀ g_t. ε may stand in the root: (G_t + ε I)^{1/2}.
    """

    tolerance = 1e-8  # the rule has the squares of these singular values

    def __init__(self, p, lr=1e-2, eps=1e-10, weight_decay=0.0, decouple=False, eps_inside=False):
        self.x, self.lr, self.eps, self.inside = p.clone(), lr, eps, eps_inside
        self.lam, self.decouple, self.seen = weight_decay, decouple, []

    def step(self, g):
        if self.decouple:
            self.x = self.x - self.lr * self.lam * self.x
        else:
            g = g + self.lam * self.x
        self.seen.append(g.flatten())
        u, sizes, _ = torch.linalg.svd(torch.stack(self.seen, 1), full_matrices=False)
        below = torch.sqrt(sizes**2 + self.eps) if self.inside else sizes + self.eps
        known = torch.where(sizes > 1e-12 * sizes[0], 1 / below, 0.0)
        self.x = self.x - self.lr * (u @ (known * (u.T @ g.flatten()))).reshape(g.shape)
        return self.x


SPACES = {
    "FullAdagrad": {"lr": RATE, "eps": EPS, "weight_decay": DECAY, "decouple": EITHER, "eps_inside": EITHER},
}
EDGES = {"FullAdagrad": [{"eps": 0.0}, {"eps": 0.0, "eps_inside": True}]}
