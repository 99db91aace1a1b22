"""Gradient clipping."""

from ravine.rule.modifier import Modifier
from ravine.words import every, maximum, minimum, norm, sqrt, total


class ClipNorm(Modifier):
    """Scale the gradient of all parameters down where its norm is larger than max_norm.

        G ← √(Σ‖g‖²)                          over all tensors of the optimizer
        g ← g min(1, max_norm / (G + ε))

    As torch.nn.utils.clip_grad_norm_, but it is part of the step, and the gradients in memory are not changed.
    G is over the groups that have this modifier. A NaN anywhere makes every gradient NaN, and an infinite G makes the
    finite ones 0 and the infinite ones NaN, as in torch with error_if_nonfinite=False. The squares are float64, so G is
    finite for all finite gradients in float32 and bfloat16. torch's squares are float32: an element above 1.8e19
    makes its norm infinite and its step 0.

    Use it for recurrent networks and transformers, where a rare batch has a huge gradient: 1.0 is usual.

    Pascanu, Mikolov & Bengio 2013, Algorithm 1    https://arxiv.org/abs/1211.5063
    """

    papers = ("pascanu2013difficulty",)
    clips = True

    max_norm: float = 1.0
    eps: float = 1e-6

    def gradient(self, s, p, g, t):
        G = sqrt(every(total(g**2)))
        return g * minimum(1.0, self.max_norm / (G + self.eps))


class ClipTensorNorm(Modifier):
    """Scale the gradient of each tensor down where its norm is larger than max_norm.

        g ← g min(1, max_norm / (‖g‖ + ε))

    As torch.nn.utils.clip_grad_norm_ called for each parameter, and Keras's `clipnorm`. A NaN stays in its tensor.

    Use it where one tensor (an embedding, the last layer) has much larger gradients than the rest, and `ClipNorm` would
    scale all others down with it. It changes the direction of the whole gradient; `ClipNorm` does not.

    Pascanu, Mikolov & Bengio 2013, Algorithm 1, per tensor    https://arxiv.org/abs/1211.5063
    """

    papers = ("pascanu2013difficulty",)
    clips = True

    max_norm: float = 1.0
    eps: float = 1e-6

    def gradient(self, s, p, g, t):
        return g * minimum(1.0, self.max_norm / (norm(g) + self.eps))


class ClipValue(Modifier):
    """Clamp each element of the gradient to ±max_value.

        g ← min(max(g, −c), c)                c = max_value

    As torch.nn.utils.clip_grad_value_. An infinite element becomes ±c; NaN stays NaN.

    Use it where single elements explode and the direction of the gradient matters little; else prefer `ClipNorm`.

    Mikolov 2012, section 3.2.2    https://www.fit.vut.cz/study/phd-thesis/283/
    """

    papers = ("mikolov2012statistical",)
    clips = True

    max_value: float = 1.0

    def gradient(self, s, p, g, t):
        return minimum(maximum(g, -self.max_value), self.max_value)
