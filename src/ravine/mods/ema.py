"""An average of the weights."""

from ravine.modifier import Modifier
from ravine.words import lerp


class EMA(Modifier):
    """Keep an exponential moving average of the weights; `eval()` puts it into the model, `train()` takes it out.

        a ← β a + (1 − β) p                    a begins as p

    Polyak & Juditsky 1992    https://doi.org/10.1137/0330046
    """

    decay: float = 0.999
    ranges = {"decay": "[0, 1]"}

    def init(self, s, p):
        s.average = 1.0 * p

    def update(self, s, p, g, t, new, lr):
        s.average = lerp(s.average, new, 1 - self.decay)
        return new

    def to_eval(self, s, p):
        average, s.average = s.average, p
        return average

    def to_train(self, s, p):
        return self.to_eval(s, p)  # what was exchanged is exchanged back
