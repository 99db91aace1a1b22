"""Adaptive gradient clipping."""

from ravine.rule.modifier import Modifier
from ravine.words import is_vector, maximum, row_total, sqrt, total


class AGC(Modifier):
    """Clip the gradient of each unit where it is large relative to the unit's weights.

        W = max(‖pᵢ‖, ε)                      of a row i: the weights into one unit
        gᵢ ← gᵢ / max(1, ‖gᵢ‖ / (λ W))        λ = clipping

    A unit is an index of the first dimension, which is how torch stores linear and convolutional layers, but not
    transposed convolutions. Vectors and 0-d tensors are one unit, as in the authors' code, timm and optax; the
    authors and optax also count an n × 1 matrix as a vector. ε lets units that begin at zero move. The paper does not
    clip the last layer: give that group mods=[]. Squares are float64: the norm of a finite gradient is finite.

    Use it for networks without batch normalization and for large batches; the paper has λ of 0.01 for batches of 4096
    and a larger λ for smaller ones.

    Brock et al. 2021, equation 3    https://arxiv.org/abs/2102.06171
    Defaults are those of the authors' code.
    """

    papers = ("brock2021high",)
    clips = True
    ranges = {"clipping": "(0, inf)", "eps": "(0, inf)"}

    clipping: float = 0.01
    eps: float = 1e-3

    def gradient(self, s, p, g, t):
        of_unit = total if is_vector(p) else row_total
        most = self.clipping * maximum(sqrt(of_unit(p**2)), self.eps)
        return g / maximum(1.0, sqrt(of_unit(g**2)) / most)
