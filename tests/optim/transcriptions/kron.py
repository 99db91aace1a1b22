"""PSGD Kron: whitening by factors of a Kronecker product, here as the whole product."""

import math

import torch

from ravine.compile.interpret import normals
from transcriptions.draw import DECAY, EITHER, RATE, log, pair, uniform


class KronPaper:
    """Pooladzandi & Li 2024, Algorithm 1 on the group of Kronecker products    https://arxiv.org/abs/2402.04553

        a = Q g,  b = Q⁻ᵀ v,  v ~ N(0, I),  for Q = Q_1 ⊗ Q_2 and a matrix A with rows as in G
        Q_1 ← Q_1 − μ / ‖A Aᵀ + B Bᵀ‖ triu(A Aᵀ − B Bᵀ) Q_1,  Q_2 likewise of Aᵀ and Bᵀ
        θ ← θ − η Qᵀ Q m

    with the momentum, the bound of the norm, the damping, the clipping and the schedule of kron_torch. A factor that is
    a diagonal keeps the diagonal of its step, divided by its largest number. Without a probe a aᵀ and b bᵀ are
    sums over all unit vectors v. The noise is ravine's own: Philox of the seed, the tensor, the step and the place.
    """

    whole = True
    tolerance = 1e-7  # noise is of float32, and its last bits are each backend's

    def __init__(
        self, params, lr=3e-4, momentum=0.9, weight_decay=0.0, precond_lr=0.1, precond_init_scale=1.0,
        damping=2**-11.5, update_probability=(1.0, 0.03), probability_decay=1e-3, flat_start=500.0, clip=1.1,
        max_size_triangular=8192, memory_save_mode=None, momentum_into_precond_update=True, probe=False, sides="both",
    ):  # fmt: skip
        self.lr, self.beta, self.lam, self.mu, self.scale = lr, momentum, weight_decay, precond_lr, precond_init_scale
        self.damping, self.probabilities, self.falls, self.flat = (
            damping,
            update_probability,
            probability_decay,
            flat_start,
        )
        self.clip, self.largest, self.save, self.sides = clip, max_size_triangular, memory_save_mode, sides
        self.of_momentum, self.probe = momentum_into_precond_update, probe
        self.w = [p.clone() for p in params]
        self.m = [torch.zeros_like(p) for p in params]
        self.q, self.kinds = zip(*map(self.begin, params), strict=True)
        self.t, self.counted = 0, 0

    def begin(self, p):
        """The factors of a tensor, whether each is a diagonal, and whether it moves at all."""
        shape = p.shape if p.dim() == 2 else (p.numel(), 1)
        diagonal = [n > self.largest or self.save == "all_diag" or p.dim() < 2 for n in shape]
        if p.dim() == 2 and self.save == "one_diag":
            diagonal[0 if shape[0] > shape[1] else 1] = True
        if p.dim() == 2 and self.save == "smart_one_diag" and shape[0] != shape[1]:
            diagonal[0 if shape[0] > shape[1] else 1] = True
        live = [True, False] if p.dim() < 2 else [self.sides in ("both", x) for x in ("left", "right")]
        each = (self.scale or 1.0) ** (1 / sum(live))
        factors = [(each if k else 1.0) * torch.eye(n, dtype=p.dtype) for n, k in zip(shape, live, strict=True)]
        return factors, [(d, k, not self.scale) for d, k in zip(diagonal, live, strict=True)]

    def step(self, gradients):
        self.t, self.counted = self.t + 1, self.counted + 1
        high, low = self.probabilities
        chance = min(max(high * math.exp(-self.falls * (self.t - 1 - self.flat)), low), high)
        due = self.counted >= 1 / chance
        self.counted = 0 if due else self.counted
        for k, g in enumerate(gradients):
            self.m[k] = self.beta * self.m[k] + (1 - self.beta) * g
            m = self.m[k] / (1 - self.beta**self.t)
            x = m if self.of_momentum else g
            rows = x if x.dim() == 2 else x.reshape(-1, 1)
            self.rescale(k, rows)
            if due and rows.any():
                self.fit(k, rows)
            whole = torch.kron(*self.q[k])
            u = (whole.T @ whole @ m.flatten()).reshape(m.shape)
            if self.clip:
                u = u * min(1.0, self.clip / (math.sqrt((u * u).mean().item()) + 1e-12))
            u = u + self.lam * self.w[k]
            self.w[k] = self.w[k] - self.lr * u
        return self.w

    def rescale(self, k, x):
        """The first gradient that is not zero gives the scale, where none was said."""
        live = [i for i, (_, moves, _) in enumerate(self.kinds[k]) if moves]
        if self.kinds[k][0][2] and x.any():
            for i in live:
                self.q[k][i] = self.q[k][i] * (x**4).mean().item() ** (-1 / 8 / len(live))
            self.kinds[k][:] = [(d, moves, False) for d, moves, _ in self.kinds[k]]

    def fit(self, k, x):
        whole, inverse = torch.kron(*self.q[k]), torch.kron(*(torch.linalg.inv(q) for q in self.q[k])).T
        noise = self.damping * x.abs().mean()
        if self.probe:
            v = normals(torch.arange(x.numel()), 0, self.t, k).to(x)
            a, b = [whole @ (x.flatten() + noise * v)], [inverse @ v]
        else:
            a, b = [whole @ x.flatten(), *(noise * whole).T], [*inverse.T]
        a, b = (torch.stack(y).reshape(-1, *x.shape) for y in (a, b))
        for i, (diagonal, moves, _) in enumerate(self.kinds[k]):
            if not moves:
                continue
            grown, shrunk = (torch.einsum(("krc,ksc->rs", "krc,krd->cd")[i], y, y) for y in (a, b))
            if diagonal:
                grown, shrunk = (torch.diag(torch.diag(y)) for y in (grown, shrunk))
            total = grown + shrunk
            size = total.abs().max() if diagonal else self.bound(total)
            self.q[k][i] = self.q[k][i] - self.mu / size * torch.triu(grown - shrunk) @ self.q[k][i]

    def bound(self, s):
        """kron_torch's lower bound of the spectral norm."""
        column = s[:, int(torch.argmax((s * s).sum(0)))]
        column = s @ column
        return (s @ (column / column.norm())).norm()


SPACES = {
    "Kron": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.9),
        "weight_decay": DECAY,
        "precond_lr": uniform(0.1, 0.9),
        "precond_init_scale": uniform(0.3, 3.0),
        "damping": log(1e-1, 5e-1),
        "update_probability": pair(uniform(0.6, 1.0), uniform(0.1, 0.3)),
        "probability_decay": uniform(0.05, 0.3),
        "flat_start": uniform(1.0, 6.0),
        "clip": uniform(0.2, 0.8),
        "memory_save_mode": [None, "one_diag"],
        "momentum_into_precond_update": EITHER,
        "probe": EITHER,
        "sides": ["both", "left", "right"],
    }
}
EDGES = {
    "Kron": [
        {"lr": 1e-2, "memory_save_mode": "all_diag"},
        {"lr": 1e-2, "memory_save_mode": "smart_one_diag", "clip": 0.0, "probe": True},
        {"lr": 1e-2, "max_size_triangular": 18},
        {"lr": 1e-2, "max_size_triangular": 17, "probe": True},
        {"lr": 1e-2, "precond_init_scale": 0.0, "momentum": 0.0, "damping": 0.0},
        {"lr": 1e-2, "precond_init_scale": 0.0, "sides": "right"},
        {"lr": 1e-2, "update_probability": (0.25, 0.25), "precond_lr": 1.0},
    ]
}


def _idle(change, hyper):
    """The counts to which probabilities lead are whole numbers, and of the walk's one matrix the columns are more."""
    counted = change <= {"update_probability", "probability_decay", "flat_start"}
    return counted or (change == {"memory_save_mode"} and hyper["sides"] == "left")


IDLE = {"Kron": _idle}
