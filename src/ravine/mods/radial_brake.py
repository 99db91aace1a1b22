"""Radial brake."""

from ravine.rule.modifier import Modifier
from ravine.words import is_vector, norm, where


class RadialBrake(Modifier):
    """Let the norm of each matrix change by a part only of what the step would change it by.

        Δ = ‖u‖ − ‖p‖                         u: what the rule made of p
        p ← u (‖p‖ + s Δ) / ‖u‖               s = outward where Δ > 0, else inward

    The direction is that of u; the length is between those of p and u. outward = inward = 1 is the rule itself,
    outward = inward = 0 keeps each norm for ever, and with outward = 0 no norm grows. This is the form of NVIDIA's
    RadialBrakeHook, with its defaults. The record that it comes from halves the part of the step that is parallel to p
    and sets the length by that part alone, which is the same to first order.

    Tensors of fewer than two dimensions are left alone. Put it after what else moves the weights: decay before it is
    braked as a part of the step.

    Use it for matrices that grow without bound under normalized steps, as those of Muon, instead of weight decay.

    modded-nanogpt, optimization track, result 29    https://github.com/KellerJordan/modded-nanogpt/pull/294
    NVIDIA Emerging-Optimizers, RadialBrakeHook    https://github.com/NVIDIA-NeMo/Emerging-Optimizers
    """

    papers = ("jordan2024moddednanogpt",)
    ranges = {"outward": "[0, 1]", "inward": "[0, 1]"}

    outward: float = 0.5
    inward: float = 1.0

    def update(self, s, p, g, t, new, lr):
        if is_vector(p):
            return new
        size = norm(new)
        grown = size - norm(p)
        lost = 1 - where(grown > 0, self.outward, self.inward)
        return new - lost * grown / where(size > 0, size, 1) * new
