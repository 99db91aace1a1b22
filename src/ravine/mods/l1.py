"""L1 regularization."""

from ravine.modifier import Modifier
from ravine.words import maximum, minimum


class L1(Modifier):
    """Pull every weight towards zero by lr λ after the step, and stop at zero: weights become exactly 0.

        k = lr λ
        p ← p − min(max(p, −k), k)            p − k, p + k, or 0 between −k and k

    It is the proximal step of λ‖p‖₁. A subgradient, λ sign(p) added to g, never gives zeros, and under Adam it would be
    scaled away with the gradient. k is lr λ for all weights, under rules with a rate for each weight too.

    Use it to prune or to select features, on the weights only: give biases and norms a group with mods=[]. Put it after
    what else moves the weights, which may move the zeros.

    Daubechies, Defrise & De Mol 2004    https://arxiv.org/abs/math/0307152
    Duchi & Singer 2009, section 3 (FOBOS)    https://jmlr.org/papers/v10/duchi09a.html
    """

    papers = ("duchi2009efficient", "daubechies2004iterative")

    l1: float = 1e-4

    def update(self, s, p, g, t, new, lr):
        k = lr * self.l1
        return new - minimum(maximum(new, -k), k)
