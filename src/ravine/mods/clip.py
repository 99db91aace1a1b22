"""Gradient clipping."""

from ravine.modifier import Modifier
from ravine.words import every, minimum, sqrt, total


class ClipNorm(Modifier):
    """Shorten the gradient of all parameters together where it is longer than max_norm.

        G ← √(Σ‖g‖²)                          over all tensors of the optimizer
        g ← g min(1, max_norm / (G + ε))

    As torch.nn.utils.clip_grad_norm_, but the gradients in memory stay as they are, and it is a part of the step.

    Pascanu, Mikolov & Bengio 2013, Algorithm 1    https://arxiv.org/abs/1211.5063
    """

    max_norm: float = 1.0
    eps: float = 1e-6

    def gradient(self, s, p, g, t):
        norm = sqrt(every(total(g**2)))
        return g * minimum(1.0, self.max_norm / (norm + self.eps))
