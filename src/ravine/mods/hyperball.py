"""Hyperball."""

from ravine.rule.modifier import Modifier
from ravine.words import is_vector, norm, scalar, where


class Hyperball(Modifier):
    """Keep the norm of each matrix as it began, and make each step lr times as long as that norm.

        u = p − u′                            the rule's step, u′ being what it made of p
        w = p − lr R u / ‖u‖                  R: the norm of p before its first step
        p ← R w / ‖w‖

    The rule says in which direction to go, and lr how far: lr is about the angle of a step, in radians. So rates that
    were tuned without it mean nothing here. The authors' are near 0.02, and they found that one rate serves networks of
    other widths and depths. Weight decay has no place here: leave the rule's at 0.

    Tensors of fewer than two dimensions are left to the rule. A matrix that begins as zeros has no norm to keep, and is
    left to the rule for good (NVIDIA's MuonHyperball raises an error there). A convolution is one matrix; so is
    a stack of experts, whose norms are kept together, not one by one. The authors leave embeddings and the
    output layer to Adam: give those groups mods=[].

    Put it last in the list but for averages: a modifier after it changes the norm.

    Use it for transformers with normalized layers, in the place of weight decay.

    Wen et al. 2026    https://arxiv.org/abs/2606.16899
    """

    papers = ("wen2026hyperball",)

    def init(self, s, p):
        if not is_vector(p):
            s.radius = scalar(-1.0)

    def update(self, s, p, g, t, new, lr):
        if is_vector(p):
            return new
        s.radius = R = where(s.radius < 0, norm(p), s.radius)
        u = p - new
        length = norm(u)
        w = p - lr * R / where(length > 0, length, 1) * u
        size = norm(w)
        return where(R > 0, R / where(size > 0, size, 1) * w, new)
