"""A floor for relative updates."""

from ravine.rule.modifier import Modifier
from ravine.words import is_vector, maximum, norm, row_total, sqrt, where


class UpdateFloor(Modifier):
    """Make each matrix move by at least a share of its norm: lr × ratio.

        u = p − u′                            the rule's step, u′ being what it made of p
        p ← p − u max(1, lr ratio ‖p‖ / ‖u‖)

    The u/w-floor of modded-nanogpt, where u is the step before it is multiplied with lr; its ratio under Muon is 0.35,
    later 0.3825. Weight decay keeps steps large beside the weights by keeping the weights small; this does it without
    decay. lr scales the floor as it scales the step, so a schedule keeps its meaning.

    rows=True has a floor for each row, ‖pᵢ‖ and ‖uᵢ‖ in the place of ‖p‖ and ‖u‖, so that no neuron stands still beside
    others that move.

    How often it acts depends on the rule: a direction of Muon has a norm of about √rows, one of Adam about √numbers.
    Where every step is below the floor, all have its length, and only the product of lr and ratio counts. A step of 0
    stays 0. Tensors of fewer than two dimensions are left alone.

    Use it in the place of weight decay, for matrices that grow until steps of one length no longer turn them.

    modded-nanogpt, optimization track, result 9    https://github.com/KellerJordan/modded-nanogpt/pull/274
    """

    papers = ("jordan2024moddednanogpt",)

    ratio: float = 0.35
    rows: bool = False

    def update(self, s, p, g, t, new, lr):
        if is_vector(p):
            return new
        u = p - new
        size, length = (sqrt(row_total(x**2)) if self.rows else norm(x) for x in (p, u))
        times = maximum(1, lr * self.ratio * size / where(length > 0, length, 1))
        return new - (times - 1) * u
