"""Gradient centralization."""

from ravine.modifier import Modifier
from ravine.words import cols, is_vector, row_total


class Centralize(Modifier):
    """Take the mean of each row off the gradient, so that the weights into a unit keep their sum.

        gᵢ ← gᵢ − mean(gᵢ)                    of a row i: the weights into one unit

    Tensors of fewer than two dimensions stay as they are. For convolutions only (the authors' gc_conv_only, their
    SGD_GCC) give the other groups mods=[]. The authors' SGD adds weight decay to the gradient before it centralizes, so
    that the sum of a row does not decay; here a rule's decay comes after, and shrinks it.

    Use it for convolutional networks with batch normalization, where it smooths training at next to no cost.

    Yong et al. 2020, Algorithm 1    https://arxiv.org/abs/2004.01461
    """

    papers = ("yong2020gradient",)

    def gradient(self, s, p, g, t):
        return g if is_vector(p) else g - row_total(g) / cols(p)
