"""Grams."""

from ravine.modifier import Modifier
from ravine.words import abs, sign


class Grams(Modifier):
    """Step as far as the rule does, in the direction that the gradient says.

        p ← p − sign(g) |p − u|               u: what the rule made of p

    g is what the rule was given, after the gradient's modifiers. Where it is 0 the weight stays.

    A weight decay inside the rule is part of its step, and so of its length alone; the authors' stands beside it. For
    theirs take a rule without decay: `Adam(mods=[Grams(), DecoupledDecay(0.1)])`, but for ε, which theirs adds to √v
    before its correction.

    Use it, as `Cautious`, with rules that have momentum.

    Cao, Li & Song 2024, Algorithm 1    https://arxiv.org/abs/2412.17107
    """

    papers = ("cao2024grams",)

    def update(self, s, p, g, t, new, lr):
        return p - sign(g) * abs(p - new)
