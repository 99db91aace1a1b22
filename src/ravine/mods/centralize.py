"""Gradient centralization."""

from ravine.rule.modifier import Modifier
from ravine.words import cols, is_vector, row_total


class Centralize(Modifier):
    """Subtract its mean from each row of the gradient, so that the weights into a unit keep their sum.

        gᵢ ← gᵢ − mean(gᵢ)                    of a row i: the weights into one unit

    Tensors of fewer than two dimensions are left alone. To centralize convolutions only (the authors' gc_conv_only,
    their SGD_GCC) give the other groups mods=[]. The authors' SGD adds weight decay to the gradient before it
    centralizes, so the sum of a row does not decay; here a rule's decay comes after, and shrinks the sum.

    Use it for convolutional networks with batch normalization, where it smooths training at next to no cost.

    Yong et al. 2020, Algorithm 1    https://arxiv.org/abs/2004.01461
    """

    papers = ("yong2020gradient",)

    def gradient(self, s, p, g, t):
        return g if is_vector(p) else g - row_total(g) / cols(p)
