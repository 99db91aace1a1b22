"""AdaGrad-RDA."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import maximum, minimum, number, sqrt, where, zeros


class AdaGradRDA(Optimizer):
    """Adagrad by dual averaging, with an L1 penalty: a weight whose gradients average less than λ is exactly 0.

        s ← s + lr g           G ← G + g²           k ← k + lr λ          λ: l1
        z = x₀ − s / H         H = √G + ε
        p ← z − min(max(z, −k / H), k / H)          z − k / H, z + k / H, or 0 between −k / H and k / H

    Each step computes the weights anew, from x₀, the sum of all gradients and the penalty of all steps so far. `L1` on
    Adagrad takes off the penalty of one step at a time instead, and noise then moves weights away from 0 again: of 50
    weights, 5 of them true, it keeps 34 when the gradients are of small batches, and this method 5.

    The paper starts at x₀ = 0. From another start the step is measured from x₀, while the penalty still pulls towards
    0: with λ > 0 a weight without gradients is 0 after the first step (with eps=0 it stays at x₀ instead, H being 0).
    lr is inside the sums: where it is constant this is the paper's η, and where a schedule lowers it to 0 the weights
    stay close to where they are instead of returning to x₀.

    Use it for linear models on sparse features, where most weights should be 0. Start such weights at 0, and give
    biases and norms a group with l1=0. The next step undoes whatever else moves the weights, so leave out `L1`,
    `DecoupledDecay` and Lookahead.

    Duchi, Hazan & Singer 2011, equation 3 with figure 1 (diagonal)    https://jmlr.org/papers/v12/duchi11a.html
    Xiao 2010, Algorithm 1                                             https://jmlr.org/papers/v11/xiao10a.html
    """

    papers = ("duchi2011adagrad", "xiao2010dual")

    lr: float | torch.Tensor = 1e-2
    l1: float = 0.0
    eps: float = 1e-10

    def init(self, s, p):
        s.x0 = p
        s.s, s.G, s.k = zeros(p), zeros(p, positive=True), number(0.0)

    def update(self, s, p, g, t):
        s.s, s.G, s.k, s.x0 = s.s + self.lr * g, s.G + g**2, s.k + self.lr * self.l1, s.x0
        H = sqrt(s.G) + self.eps
        z, k = s.x0 - s.s / H, s.k / H
        return where(H <= 0, s.x0, z - minimum(maximum(z, -k), k))
