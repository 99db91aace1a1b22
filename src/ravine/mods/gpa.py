"""Generalized primal averaging."""

from ravine.rule.modifier import Modifier
from ravine.words import number, zeros


class GPA(Modifier):
    """Average the weights exponentially and take gradients between the average and the newest: Nesterov in one loop.

        y = μy x + (1 − μy) z                 the gradient is taken here: what the model holds while training
        z ← z + A(y) − y                      the rule's step from y
        x ← μx x + (1 − μx) z                 the average: what the model holds after eval()

    It does smoothly, at each step, what an outer Nesterov step (`SNOO`, DiLoCo with one worker) does every K steps; the
    authors take μx = μy^(1/K) for it. Schedule-Free has a plain mean for x where this forgets. μx = 0 is the rule
    itself. Under SGD, μy = 1 is momentum μx with a rate of (1 − μx) lr, and μx = μy Nesterov's.

    The state is d = z − x, which begins at 0, so x = y − (1 − μy) d and nothing is divided by μy. A decay that the rule
    has acts at y, as in the authors' code; the paper has it at z.

    Call `eval()` before validation and before the weights are saved, which puts x into the model, and `train()`
    before the next step, which puts y back. Put it last in the list, since modifiers after it would see y.

    Use it around AdamW for language models and vision transformers, with the rule's own schedule.

    Defazio et al. 2025    https://arxiv.org/abs/2512.17131
    Defaults are those of the authors' code.
    """

    papers = ("defazio2025smoothing",)
    ranges = {"mu_x": "[0, 1]", "mu_y": "[0, 1]"}

    mu_x: float = 0.9967
    mu_y: float = 0.7

    def init(self, s, p):
        s.d, s.ahead = zeros(p), number(0.0)

    def update(self, s, p, g, t, new, lr):
        x = self.to_eval(s, p)
        d = s.d + (new - p)
        s.d, s.ahead = self.mu_x * d, 1 - self.mu_y
        return x + (1 - self.mu_x) * d + s.ahead * s.d

    def to_eval(self, s, p):
        return p - s.ahead * s.d
