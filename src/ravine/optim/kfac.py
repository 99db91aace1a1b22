"""K-FAC."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import decayed, every, maximum, sqrt, total, zeros


class KFAC(Optimizer):
    """The natural gradient with a Fisher matrix of a Kronecker product G ⊗ A for each layer.

        A ← ε A + (1 − ε) E[a aᵀ]        of what the layer is given, a 1 for the bias at its end
        G ← ε G + (1 − ε) E[δ δᵀ]        of ∂loss / ∂output, for targets that the model draws
        u = (G + √λ / π I)⁻¹ [∇W ∇b] (A + π √λ I)⁻¹,        π² = (tr A / dim A) / (tr G / dim G)
        ν = √(κ / max(κ, lr² Σ u g))
        m ← μ m + ν u
        p ← (1 − lr w) p − lr m

    u comes from a source, which sees the model: `factors = ravine.sources.KroneckerFactors(model)`, given as
    sources=[factors]. The loop calls `factors.backward(outputs)` before `loss.backward()`. `ravine.create("kfac",
    model, sources=[factors])` gives layers without factors to AdamW: norms, attention in one tensor, tied weights.

    Weight and bias are one block. ε is factor_decay, and at first min(1 − 1/k, ε) after k measurements. Factors are
    measured every `factor_interval` steps and inverted every `interval`. approximation="reduce" averages a over the
    places that share the weights, positions or patches, and adds up δ, before it multiplies; "expand" takes each
    place for an example.

    ekfac divides in the eigenbasis of A and G by second moments of the gradients of examples, kept as averages too:
    u = Q_G (Q_Gᵀ [∇W ∇b] Q_A / (S + λ)) Q_Aᵀ. That is the best diagonal in this basis, where K-FAC has the products of
    eigenvalues.

    κ, norm_constraint, bounds the change of the model's predictions in a step, and where it does a larger lr changes
    nothing; 0 does not. λ is the damping: take more where losses jump. Both are in the units of the loss, so where it
    is a mean over d outputs, as mse_loss is, take values d times smaller. `factors.adapt` changes λ in training, which
    is not reliable where losses are noisy. Modifiers that change g, such as ClipNorm, change here only Σ u g: κ clips.

    Ports differ: many take gradients of the data's targets for δ, which is not the Fisher matrix; divide δ of a mean
    loss by the batch, or a convolution's by its places, so that λ means another thing with each batch size; keep the
    bias in a block of its own; add λ to the averages themselves. In kfac-jax lr is inside m.

    Use it where steps are dear, with large batches: it needs many fewer than Adam. For a layer of c inputs and r
    outputs it keeps 2 (c² + r²) numbers beside m, and inverts matrices of these sizes.

    Martens & Grosse 2015, Algorithm 2 without its choice of lr and μ    https://arxiv.org/abs/1503.05671
    Convolutions: Grosse & Martens 2016    https://arxiv.org/abs/1602.01407
    "expand" and "reduce": Eschenhagen et al. 2023    https://arxiv.org/abs/2311.00636
    ekfac: George et al. 2018    https://arxiv.org/abs/1806.03884
    """

    papers = ("martens2015kfac", "grosse2016kfc", "eschenhagen2023kfac", "george2018ekfac")
    inputs = {"u": "r c"}
    asks = """
    factors = ravine.sources.KroneckerFactors(model)
    opt = ravine.create("kfac", model, sources=[factors])
and in the loop, before loss.backward():
    factors.backward(outputs)"""
    turned = ("u",)
    ranges = {"momentum": "[0, 1)", "factor_decay": "[0, 1)"}
    matrices = True
    layers = True

    lr: float | torch.Tensor = 0.03
    momentum: float = 0.9
    damping: float = 1e-3
    norm_constraint: float = 1e-3
    weight_decay: float = 0.0
    factor_decay: float = 0.95
    factor_interval: int = 1
    interval: int = 5
    approximation: Literal["expand", "reduce"] = "expand"
    ekfac: bool = False

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t, u):
        u = -u if self.maximize else u
        if self.norm_constraint:
            size = every(total(self.lr**2 * u * g))
            u = sqrt(self.norm_constraint / maximum(self.norm_constraint, size)) * u
        s.m = self.momentum * s.m + u
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * s.m
