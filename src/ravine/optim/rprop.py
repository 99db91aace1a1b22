"""Rprop."""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import filled, maximum, minimum, sign, where, zeros


class Rprop(Optimizer):
    """Only the sign of the gradient counts; each weight's step grows while it stays and shrinks when it turns.

        Δ ← Δ η₊ if g g₋₁ > 0,   Δ η₋ if g g₋₁ < 0,   Δ otherwise,   kept within step_sizes
        g ← 0 where g g₋₁ < 0
        p ← p − Δ sign(g)        g₋₁ ← g

    For full batches. lr is the first Δ. This is iRprop⁻, as in torch: where the gradient turns, one step is left out.
    backtracking=True is the paper's form, later called Rprop⁺, which takes the last step back instead:

        p ← p + Δ₋₁ sign(g₋₁)    where g g₋₁ < 0

    It goes back whether the loss has risen or not. A NaN in the gradient comes through to the weight, where torch's
    sign(NaN) = 0 hides it.

    Use it with the gradient of all data at once and no noise; on mini-batches it fails, since their signs disagree.

    Riedmiller & Braun 1993         https://doi.org/10.1109/ICNN.1993.298623
    Igel & Hüsken 2003 (iRprop⁻)    https://doi.org/10.1016/S0925-2312(01)00700-7
    """

    papers = ("riedmiller1993rprop", "igel2003rprop")
    twin = torch.optim.Rprop
    names = {"delta": "step_size", "prev": "prev"}
    ranges = {"etas[0]": "(0, 1)", "etas[1]": "(1, inf)"}

    lr: float | torch.Tensor = 1e-2
    etas: Pair = (0.5, 1.2)
    step_sizes: Pair = (1e-6, 50.0)
    _: KW_ONLY
    backtracking: bool = False

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        low, high = hyper["step_sizes"]
        if low > high:
            raise ValueError(f"Rprop: step_sizes is ({low:g}, {high:g}); the first must not be above the second")

    def init(self, s, p):
        s.prev, s.delta = zeros(p), filled(p, self.lr, positive=True)

    def update(self, s, p, g, t):
        turn, back = g * s.prev, s.delta * sign(s.prev)
        factor = where(turn > 0, self.etas[1], where(turn < 0, self.etas[0], 1.0))
        s.delta = maximum(minimum(s.delta * factor, self.step_sizes[1]), self.step_sizes[0])
        s.prev = g = where(turn < 0, 0.0, g)
        step = s.delta * sign(g)
        return p - (where(turn < 0, -back, step) if self.backtracking else step)
