"""What averages have in common: how they are shown, and how much the newest counts."""

from ravine.rule.modifier import Modifier
from ravine.words import where


class Shown(Modifier):
    """An average of the weights that `eval()` puts into the model; `train()` brings the weights back, to the last bit.

    The average is a state, and begins as the weights.
    """

    def init(self, s, p):
        s.average = 1.0 * p

    def to_eval(self, s, p):
        return s.average


def newest(decay, t):
    """How much the newest of t values counts if each older one counts `decay` as much as the next, and all sum to 1.

    With decay = 1 all count the same: 1/t.
    """
    return where(decay < 1, (1 - decay) / (1 - decay**t), 1 / t)
