"""SM3: Adagrad with one number for each row and each column."""

import torch

from transcriptions.draw import RATE


class SM3Paper:
    """Anil et al. 2019, Algorithms SM3-I and SM3-II    https://arxiv.org/abs/1901.11150

        I     μ_t(r) = μ_{t−1}(r) + max_{j ∈ S_r} g_t²(j)        for each set r of the cover
              ν_t(i) = min_{r: S_r ∋ i} μ_t(r)
        II    ν_t(i) = min_{r: S_r ∋ i} μ_{t−1}(r) + g_t²(i)     for each entry i
              μ_t(r) = max_{j ∈ S_r} ν_t(j)
        both  w_{t+1}(i) = w_t(i) − η g_t(i) / √ν_t(i)           where 0/0 = 0

    The cover: the rows and the columns of a matrix, each entry of a vector. momentum, as in the authors' code: the
    average β m + (1 − β) g/√ν takes the place of g/√ν.
    """

    def __init__(self, p, lr=0.1, momentum=0.9, variant="II"):
        self.w = p.clone()
        self.lr, self.beta, self.variant = lr, momentum, variant
        shape = tuple(p.shape)
        entries = [tuple(i.tolist()) for i in torch.ones(shape).nonzero()] if p.dim() else [()]
        self.sets = {}
        for i in entries:
            for r in [("row", i[0]), ("column", i[1])] if p.dim() == 2 else [i]:
                self.sets.setdefault(r, []).append(i)
        self.member = {i: [] for i in entries}
        for r, members in self.sets.items():
            for i in members:
                self.member[i].append(r)
        self.mu = dict.fromkeys(self.sets, 0.0)
        self.m = torch.zeros_like(p)

    def step(self, g):
        square = {i: g[i].item() ** 2 for i in self.member}
        if self.variant == "I":
            self.mu = {r: self.mu[r] + max(square[j] for j in members) for r, members in self.sets.items()}
            nu = {i: min(self.mu[r] for r in around) for i, around in self.member.items()}
        else:
            nu = {i: min(self.mu[r] for r in around) + square[i] for i, around in self.member.items()}
            self.mu = {r: max(nu[j] for j in members) for r, members in self.sets.items()}
        u = torch.zeros_like(self.w)
        for i, x in nu.items():
            if x > 0:
                u[i] = g[i] / x**0.5
        if self.beta > 0:
            self.m = self.beta * self.m + (1 - self.beta) * u
            u = self.m
        self.w = self.w - self.lr * u
        return self.w


SPACES = {"SM3": {"lr": RATE, "momentum": [0.0, 0.8], "variant": ["I", "II"]}}
