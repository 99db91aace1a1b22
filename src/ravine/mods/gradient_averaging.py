"""A running average of gradients in the gradient's place."""

from ravine.mods.shown import newest
from ravine.rule.modifier import Modifier
from ravine.words import lerp, zeros


class GradientAveraging(Modifier):
    """Give the rule an average of the gradients so far.

        m ← m + (g − m) (1 − β) / (1 − βᵗ)    the gradients so far, each with β times the weight of the next
        g ← m

    This is Adam's first moment with its bias correction, m / (1 − βᵗ), so the first average is the first gradient.
    With β = 1 it is the plain mean of all gradients, m + (g − m) / t, which dual averaging steps along.

    Use it to give momentum to a rule that has none, such as plain SGD or RMSprop, without making its steps longer.

    Kingma & Ba 2015, Algorithm 1    https://arxiv.org/abs/1412.6980
    With β = 1: Xiao 2010, Algorithm 1    https://jmlr.org/papers/v11/xiao10a.html
    """

    papers = ("kingma2015adam", "xiao2010dual")
    ranges = {"decay": "[0, 1]"}

    decay: float = 0.9

    def init(self, s, p):
        s.mean = zeros(p)

    def gradient(self, s, p, g, t):
        s.mean = lerp(s.mean, g, newest(self.decay, t))
        return s.mean
