"""SM3."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import col_max, is_vector, minimum, per_col, per_row, row_max, sqrt, where, zeros


class SM3(Optimizer):
    """Adagrad in the memory of SGD with momentum, or with momentum=0 of plain SGD: v is bounded by row and by column.

        II    v = min(R, C) + g²         R ← max of v in each row, C ← max of v in each column
        I     R ← R + max of g² in each row, C ← C + max of g² in each column         v = min(R, C)
        u = g / √v                       (0 where v is 0)
        m ← μ m + (1 − μ) u              p ← p − lr m

    variant "II" is the tighter bound, and the one that the authors use. In it v is never less than Adagrad's sum of
    g², and never falls. Vectors keep that sum itself: there SM3 is Adagrad. The momentum is the authors' code's; the
    paper has it in its experiments, always 0.9. Its m keeps as many numbers as there are weights, half of Adam's state;
    with momentum=0 there is no m, and an m × n matrix has m + n numbers of state. The paper needs no ε, and there is
    none: code elsewhere adds 1e-30 under the root.

    The paper leaves the sets of weights that share a number open. Here a tensor of more dimensions is a matrix, first
    dimension × rest; the authors' code takes a number for each index of every dimension, which is less memory and a
    looser bound. The β of a port in PyTorch, which forgets old gradients, is not the paper's, and not here.

    Use it in Adagrad's place where memory is short: sparse features, embeddings, large softmax layers. The rate wants a
    warm-up and no decay; as in Adagrad old gradients are never forgotten.

    Anil et al. 2019, Algorithms SM3-I and SM3-II    https://arxiv.org/abs/1901.11150
    """

    papers = ("anil2019sm3",)
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 0.1
    momentum: float = 0.9
    variant: Literal["I", "II"] = "II"

    def init(self, s, p):
        if is_vector(p):
            s.v = zeros(p, positive=True)
        else:
            s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)
        if self.momentum:
            s.m = zeros(p)

    def update(self, s, p, g, t):
        if is_vector(p):
            s.v = v = s.v + g**2
        elif self.variant == "II":
            v = minimum(s.R, s.C) + g**2
            s.R, s.C = row_max(v), col_max(v)
        else:
            s.R, s.C = s.R + row_max(g**2), s.C + col_max(g**2)
            v = minimum(s.R, s.C)
        u = where(v <= 0, 0.0, g / sqrt(v))
        if self.momentum:
            s.m = u = self.momentum * s.m + (1 - self.momentum) * u
        return p - self.lr * u
