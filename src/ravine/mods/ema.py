"""An exponential moving average of the weights."""

from typing import Literal

from ravine.mods.shown import Shown, newest
from ravine.words import lerp, minimum


class EMA(Shown):
    """Keep an exponential moving average of the weights; `eval()` puts it into the model, `train()` takes it out.

        a ← β a + (1 − β) p                    a begins as p

    warmup says how the first steps are averaged, while the average still consists largely of the initial weights:
    "ramp" uses min(β, (1 + t) / (10 + t)) for β, as TensorFlow's `num_updates` (t = 1 at the first step; diffusers
    and timm count from 0); "unbiased" weights the steps so far by βᵏ and leaves the initial weights out: it uses
    (1 − β) / (1 − βᵗ) for 1 − β, which is Adam's bias correction, and with β = 1 the plain mean. None, the default, is
    torch's `get_ema_avg_fn`; `AveragedModel` itself begins with the weights after the first step.

    What is averaged are the weights after the rule and the modifiers before this one. The average is a state of the
    optimizer, so with bf16 weights give the optimizer storage="float32": in bf16 an average with β > 0.996 stands
    still. Buffers of the model, such as those of batch normalization, are not averaged.

    Use it where the weights are evaluated or shipped while the learning rate is still high: for diffusion models and
    image classifiers β of 0.999 to 0.9999. Where lr decays to zero it gains little.

    Polyak & Juditsky 1992    https://doi.org/10.1137/0330046
    """

    papers = ("polyak1992averaging",)
    ranges = {"decay": "[0, 1]"}

    decay: float = 0.999
    warmup: Literal["ramp", "unbiased"] | None = None

    def update(self, s, p, g, t, new, lr):
        weight = 1 - self.decay
        if self.warmup == "ramp":
            weight = 1 - minimum(self.decay, (1 + t) / (10 + t))
        if self.warmup == "unbiased":
            weight = newest(self.decay, t)
        s.average = lerp(s.average, new, weight)
        return new
