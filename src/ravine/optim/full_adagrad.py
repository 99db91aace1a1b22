"""AdaGrad with its full matrix."""

import torch

from ravine.matrix import eigh
from ravine.optimizer import Flat, Optimizer
from ravine.words import decayed, matrix_op, zeros


@matrix_op("r r, r c -> r c")
def over_root(a, g, eps, inside):
    """(a^(1/2) + ε I)⁻¹ g of positive semidefinite matrices, or (a + ε I)^(−1/2) g; an eigenvalue of rounding counts as
    rounding, so that nothing of g is divided by less. Where that is 0 the result is 0."""
    if not a.shape[-1]:
        return g
    w, q = eigh(a)
    w = torch.maximum(w, a.shape[-1] * torch.finfo(a.dtype).eps * w[..., -1:])
    below = ((w + eps).sqrt() if inside else w.sqrt() + eps)[..., None]
    return q @ torch.where(w[..., None] == 0, 0.0, (q.mT @ g) / below)


class FullAdagrad(Optimizer):
    """AdaGrad with the matrix of which Adagrad has the diagonal: a step size for every direction, not for every weight.

        G ← G + g gᵀ         g: all numbers of a tensor as one column
        p ← p − lr (G^(1/2) + ε I)⁻¹ g

    eps_inside is (G + ε I)^(−1/2). Turning the coordinates turns the path, as no diagonal has it. Before n gradients
    G has no inverse: g has nothing in its null space but rounding, and eigenvalues that are no more than rounding count
    as n times that of the largest, so that it stays rounding. Others divide it by ε. A gradient of zeros moves nothing.

    G has n² numbers for a tensor of n, and its root costs n³ at every step: tensors of more than `largest_factor`
    numbers are refused. blocks=Flat(512) of ravine.blocks cuts a tensor into columns of at most 512 numbers, each with
    a G of its own; Shampoo and Kron have a factor for rows and one for columns, and Adagrad the diagonal.

    Use it to see what the others approximate, and for small problems with features that go together.

    Duchi, Hazan & Singer 2011, figure 1 (full matrices)    https://jmlr.org/papers/v12/duchi11a.html
    """

    papers = ("duchi2011adagrad",)
    view = Flat()
    largest_factor = 4096

    lr: float | torch.Tensor = 1e-2
    eps: float = 1e-10
    weight_decay: float = 0.0
    decouple: bool = False
    eps_inside: bool = False
    blocks: Flat | None = None

    def init(self, s, p):
        s.G = zeros("r r")

    def update(self, s, p, g, t):
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decouple)
        s.G = s.G + g @ g.T
        return p - self.lr * over_root(s.G, g, self.eps, self.eps_inside)
