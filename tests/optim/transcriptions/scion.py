"""Scion: a linear minimization oracle for each norm, one row or column at a time."""

import math

import torch

from .draw import EITHER, EPS, RATE, uniform
from .muon import JORDAN, orthogonalized


class ScionPaper:
    """Pethick et al. 2025, Algorithms 1 (uSCG) and 2 (SCG)    https://arxiv.org/abs/2502.07529

        d^k = (1 − α) d^{k−1} + α ∇f
        x^{k+1} = x^k + γ lmo(d^k)                  unconstrained
        x^{k+1} = (1 − γ) x^k + γ lmo(d^k)

    lmo(d) = argmin of <d, x> over the ball of radius ρ; in the paper's tables for W (d_out × d_in)

        1 → RMS    −ρ √d_out col_j / ‖col_j‖
        RMS → RMS  −ρ √(d_out / d_in) U Vᵀ,  at an image's first layer max(1, √(d_out / d_in))
        RMS → ∞    −ρ row_i / (√d_in ‖row_i‖)
        1 → ∞      −ρ sign(W) / d_in
        bias       −ρ b / ‖b‖_RMS

    ε beside the lengths is the authors' code's, and so are their options `normalized` and `transpose`.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        alpha=0.1,
        scale=1.0,
        norm="auto",
        normalized=None,
        transpose=False,
        unconstrained=False,
        eps=1e-8,
        ns_coefficients=JORDAN,
    ):
        self.x, self.d = p.clone(), torch.zeros_like(p)
        self.lr, self.alpha, self.rho, self.eps, self.abc = lr, alpha, scale, eps, ns_coefficients
        self.free, self.norm, self.normalized, self.transpose = unconstrained, norm, normalized, transpose

    def step(self, g):
        self.d = (1 - self.alpha) * self.d + self.alpha * g
        matrix = self.d if self.d.dim() > 1 else self.d.reshape(-1, 1)
        turn = self.transpose and self.d.dim() > 1
        lmo = -self.rho * self.longest(matrix.T if turn else matrix)
        lmo = (lmo.T if turn else lmo).reshape(g.shape)
        self.x = (self.x if self.free else (1 - self.lr) * self.x) + self.lr * lmo
        return self.x

    def longest(self, w):
        out, into = w.shape
        norm = self.norm
        if norm == "auto":
            norm = "spectral" if self.d.dim() > 1 else "columns"
        if norm == "sign":
            return torch.sign(w) if self.normalized is False else torch.sign(w) / into
        if norm == "columns":
            columns = []
            for col in w.T:
                size = math.sqrt((col @ col).item() / out)
                columns.append(col / ((size * into if self.normalized else size) + self.eps))
            return torch.stack(columns, dim=1)
        if norm == "rows":
            made = []
            for row in w:
                size = math.sqrt((row @ row).item())
                made.append(row / ((size if self.normalized is False else size * math.sqrt(into)) + self.eps))
            return torch.stack(made)
        scale = math.sqrt(out) if self.normalized is False else math.sqrt(out / into)
        scale = max(1.0, scale) if norm == "spectral_max" else scale
        return scale * orthogonalized(w, [self.abc] * 5, 1e-7)


SPACES = {
    "Scion": {
        "lr": RATE,
        "alpha": uniform(0.03, 1.0),
        "scale": uniform(0.5, 3.0),
        "norm": ["auto", "spectral_max", "columns", "spectral", "rows", "sign"],
        "unconstrained": EITHER,
        "eps": EPS,
        "ns_coefficients": lambda rng: tuple(x * uniform(0.95, 1.0)(rng) for x in (3.0, -3.2, 1.2)),
    }
}
FORMS = [
    {"norm": norm, "normalized": normalized, "transpose": transpose}
    for norm in ("auto", "spectral", "spectral_max", "columns", "rows", "sign")
    for normalized in (None, True, False)
    for transpose in EITHER
]
EDGES = {"Scion": [{"alpha": 1.0}, {"lr": 1.0}, *(form | {"ns_coefficients": (3.0, -3.2, 1.2)} for form in FORMS)]}


def idle(change, hyper):
    """What changes nothing at these settings."""
    spectral = hyper["norm"].startswith("spectral")
    return (change == {"eps"} and (spectral or hyper["norm"] == "sign")) or (
        change == {"ns_coefficients"} and not (spectral or hyper["norm"] == "auto")
    )


IDLE = {"Scion": idle}
