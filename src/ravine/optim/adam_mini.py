"""Adam-mini."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import cols, decayed, is_vector, numel, per_row, root, row_total, scalar, total, zeros


class AdamMini(Optimizer):
    """AdamW with one second moment for all weights of a block: half of its memory.

        m ← β₁ m + (1 − β₁) g                          m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) mean of g² in the block    v̂ = v / (1 − β₂ᵗ)
        p ← (1 − lr λ) p − lr m̂ / (√v̂ + ε)

    partition, which groups of parameters may choose for themselves, says what a block is. "row": each row of a matrix,
    that is each output neuron, or token of an embedding; a vector is one block. "tensor": each tensor. "element": each
    weight, which is AdamW. Tensors of more dimensions are matrices, first dimension × rest.

    The authors choose by the parameter's name, and their versions differ. Their 1.1.1 takes a block for each row of
    embeddings, output layers, values, attention outputs and MLPs ("row" here), one for each head of queries and keys,
    AdamW for what has "bias" in its name ("element") and one block for any other tensor ("tensor"; so are norms, and
    vectors here). A head is several rows: their queries and keys have no equal here, "row" is finer and "tensor"
    coarser, and the paper warns of coarser ones. Theirs also decays no norms and biases, which are groups here.

    Use it for transformers in AdamW's place, with its hyperparameters, where half of its memory matters.

    Zhang et al. 2025, Algorithm 1    https://arxiv.org/abs/2406.16793
    """

    papers = ("zhang2025adammini", "kingma2015adam")

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    partition: Literal["row", "tensor", "element"] = "row"

    def init(self, s, p):
        s.m = zeros(p)
        if self.partition == "element":
            s.v = zeros(p, positive=True)
        elif self.partition == "tensor" or is_vector(p):
            s.v = scalar(0.0)
        else:
            s.v = per_row(0.0, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        if self.partition == "element":
            square = g**2
        elif self.partition == "tensor" or is_vector(p):
            square = total(g**2) / numel(p)
        else:
            square = row_total(g**2) / cols(p)
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * square
        return p - self.lr * (s.m / (1 - b1**t)) / root(s.v / (1 - b2**t), self.eps, False)
