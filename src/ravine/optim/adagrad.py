"""Adagrad."""

from dataclasses import KW_ONLY

import torch

from ravine.optimizer import Optimizer
from ravine.words import filled, root


class Adagrad(Optimizer):
    """A step size for every weight, smaller the more gradient it has seen: rare features take large steps.

        G ← G + g²
        p ← p − lr / (1 + (t − 1) d) · g / (√G + ε)          d: lr_decay

    G begins at initial_accumulator_value. eps_inside puts ε under the root, as much of the literature writes it.
    square_root=False divides by G + ε, to see what the root is for (Ruder 2016, section 4.3: without it the method does
    much worse): of equal gradients the t-th step is then 1/t of the first and not 1/√t, and it stands still too soon.
    Only for strongly convex losses is that the better rate (SC-Adagrad, Mukkamala & Hein 2017, with an ε that falls).
    lr_decay is torch's; the paper has none. With a sparse gradient only its rows move, are decayed (in torch
    weight_decay then raises) and change G.

    Use it for sparse features, embeddings and convex problems; on deep networks its steps become too small.

    Duchi, Hazan & Singer 2011, figure 1 (diagonal)    https://jmlr.org/papers/v12/duchi11a.html
    """

    papers = ("duchi2011adagrad",)
    twin = torch.optim.Adagrad
    names = {"G": "sum"}
    sparse = True

    lr: float | torch.Tensor = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    _: KW_ONLY
    eps_inside: bool = False
    square_root: bool = True

    def init(self, s, p):
        s.G = filled(p, self.initial_accumulator_value, positive=True)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        s.G = s.G + g**2
        below = root(s.G, self.eps, self.eps_inside) if self.square_root else s.G + self.eps
        return p - self.lr / (1 + (t - 1) * self.lr_decay) * g / below
