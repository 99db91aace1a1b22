"""ASGD: SGD, and the average of its path."""

from transcriptions.draw import DECAY, RATE, choice, log, uniform


class ASGDPaper:
    """Polyak & Juditsky 1992 in the form of Bottou, as torch    https://doi.org/10.1137/0330046

        w_t = (1 − λ η_{t−1}) w_{t−1} − η_{t−1} g_t
        w̄_t = w̄_{t−1} + μ_{t−1} (w_t − w̄_{t−1})
        η_t = γ / (1 + λ γ t)^α            η_0 = γ
        μ_t = 1 / max(1, t − t₀)           μ_0 = 1

    weight_decay is L2, of w_{t−1} before λ. The weights to judge by are w̄.
    """

    def __init__(self, p, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
        self.w = p.clone()
        self.mean = p.clone()
        self.lr, self.lambd, self.alpha, self.t0, self.decay = lr, lambd, alpha, t0, weight_decay
        self.eta, self.mu, self.t = lr, 1.0, 0

    def step(self, g):
        self.t = self.t + 1
        g = g + self.decay * self.w
        self.w = self.w - self.lambd * self.eta * self.w - self.eta * g
        self.mean = (1 - self.mu) * self.mean + self.mu * self.w
        self.eta = self.lr / (1 + self.lambd * self.lr * self.t) ** self.alpha
        self.mu = 1 / max(1.0, self.t - self.t0)
        return self.w

    def evaluated(self):
        return self.mean


SPACES = {
    "ASGD": {
        "lr": RATE,
        "lambd": log(0.1, 1.0),
        "alpha": uniform(0.3, 0.9),
        "t0": choice(3.0, 6.5, 10.0),
        "weight_decay": DECAY,
    },
}
EDGES = {"ASGD": [{"t0": 0.0}, {"lambd": 0.0, "t0": 5.0}]}
