"""What averages have in common: how they get into the model and out again, and how much the newest counts."""

from ravine.modifier import Modifier
from ravine.words import precision, where

FULL = 2.0**-23  # the precision of float32


class Shown(Modifier):
    """An average of the weights that `eval()` puts into the model and `train()` takes out, to the last bit.

    Weights and average change places. A bf16 or fp16 model cannot hold all of a float32 average, so there the weights
    go to a place of their own, which costs a state more, and the average stays where it is.
    """

    def init(self, s, p):
        s.average = 1.0 * p
        if precision(p) > FULL:
            s.weights = 1.0 * p

    def keep(self, s, average):
        """The average after a step."""
        s.average = average
        if hasattr(s, "weights"):
            s.weights = s.weights  # of no use before eval()

    def to_eval(self, s, p):
        if hasattr(s, "weights"):
            s.weights = p
            return s.average
        average, s.average = s.average, p
        return average

    def to_train(self, s, p):
        return s.weights if hasattr(s, "weights") else self.to_eval(s, p)  # what was exchanged is exchanged back


def newest(decay, t):
    """How much the newest of t values counts if each older one counts `decay` as much as the next, and all sum to 1.

    With decay = 1 all count the same: 1/t.
    """
    return where(decay < 1, (1 - decay) / (1 - decay**t), 1 / t)
