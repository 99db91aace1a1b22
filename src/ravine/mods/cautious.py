"""Cautious steps."""

from ravine.rule.modifier import Modifier
from ravine.words import maximum, numel, sign, total, where


class Cautious(Modifier):
    """Move only the weights whose step agrees with the gradient's sign, and those by more.

        u = p − u′                            the rule's step, u′ being what it made of p
        φ = 1 where u g > 0, else 0
        p ← p − u φ / max(mean(φ), floor)     the mean is over the tensor

    As the authors' C-AdamW and timm, with a floor of 0.001. plus_one=True divides by (Σφ + 1) / n, as the authors'
    C-Lion and C-Adafactor do; the paper's Algorithm 1 has mean(φ) + ε. g is the gradient that the rule was given, after
    its modifiers. Signs are compared rather than multiplied, so that an underflow of u g does not matter. A step that
    rounding makes zero counts as one that does not agree.

    A weight decay inside the rule is part of u, and is masked and enlarged with it; the authors' is not. To get theirs
    use a rule without decay: `Adam(mods=[Cautious(), DecoupledDecay(0.1)])` is C-AdamW, except for ε, which theirs adds
    to √v before its correction. Decay that a rule adds to the gradient is in u and not in g.

    Use it with rules that have momentum, where it makes AdamW or Lion a little faster at their tuned rates. It does
    nothing to a rule whose step always has the gradient's sign.

    Liang et al. 2024, Algorithm 1    https://arxiv.org/abs/2411.16085
    """

    papers = ("liang2024cautious",)
    ranges = {"floor": "(0, 1]"}

    floor: float = 1e-3
    plus_one: bool = False

    def update(self, s, p, g, t, new, lr):
        u = p - new
        agree = where(sign(u) * sign(g) > 0, 1.0, 0.0)
        kept = (total(agree) + 1) / numel(p) if self.plus_one else maximum(total(agree) / numel(p), self.floor)
        return p - u * agree / kept
