"""EMA-Nesterov."""

from ravine.rule.modifier import Modifier
from ravine.words import lerp, maximum, number, where, zeros


class EMANesterov(Modifier):
    """Take each step from a point ahead, along an average of the steps so far: Nesterov's idea with less noise.

        y = θ + β m                           the gradient is taken here: what the model holds while training
        θ′ = A(y)                             what the rule makes of y
        m ← γ m + (1 − γ) (θ′ − θ)            θ ← θ′

    β is `beta` lr / lr_max, with the largest lr so far, as the authors scale it by their schedule; it is 0 up to step
    `start` and after step `stop`, where None never stops. While it is 0 the rule goes as if alone and m is gathered.
    The authors look ahead neither in the warm-up nor at the end: their result on modded-nanogpt has beta = 0.6,
    start = 500 and stop = 2400 of 3125 steps. m is a mean of about 1 / (1 − γ) steps.

    Call `eval()` before validation and before the weights are saved, which puts θ into the model, and `train()`
    before the next step, which puts y back. Put it last in the list, since modifiers after it would see y.

    Use it around any rule in a long run, where steps of many batches share a direction.

    Yau et al. 2026    https://arxiv.org/abs/2605.25395
    Defaults are those of the authors' code.
    """

    papers = ("yau2026ema",)
    ranges = {"gamma": "[0, 1)"}

    beta: float = 0.5
    gamma: float = 0.99
    start: float = 0.0
    stop: float | None = None

    def init(self, s, p):
        s.trend, s.ahead, s.largest = zeros(p), number(0.0), number(0.0)

    def update(self, s, p, g, t, new, lr):
        s.trend = lerp(s.trend, new - self.to_eval(s, p), 1 - self.gamma)
        s.largest = maximum(s.largest, lr)
        beta = where(t >= self.start, self.beta * lr / where(s.largest > 0, s.largest, 1), 0.0)
        s.ahead = beta if self.stop is None else where(t < self.stop, beta, 0.0)
        return new + s.ahead * s.trend

    def to_eval(self, s, p):
        return p - s.ahead * s.trend
