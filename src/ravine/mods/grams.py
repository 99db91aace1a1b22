"""Grams."""

from ravine.rule.modifier import Modifier
from ravine.words import abs, sign


class Grams(Modifier):
    """Step as far as the rule does, in the direction of the gradient's sign.

        p ← p − sign(g) |p − u|               u: what the rule made of p

    g is the gradient that the rule was given, after its modifiers. Where it is 0 the weight does not move.

    A weight decay inside the rule is part of its step, and so affects only the length of the step; the authors' decay
    is separate. To get theirs use a rule without decay: `Adam(mods=[Grams(), DecoupledDecay(0.1)])`, except for ε,
    which theirs adds to √v before its correction.

    Use it, like `Cautious`, with rules that have momentum.

    Cao, Li & Song 2024, Algorithm 1    https://arxiv.org/abs/2412.17107
    """

    papers = ("cao2024grams",)

    def update(self, s, p, g, t, new, lr):
        return p - sign(g) * abs(p - new)
