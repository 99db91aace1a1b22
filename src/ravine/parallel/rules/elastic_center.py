"""The center of EASGD."""

from ravine.optimizer import Optimizer


class ElasticCenter(Optimizer):
    """The center of asynchronous EASGD: each worker that reports moves it a part of the way towards its own parameters.

        x̃ ← x̃ + α (x − x̃)          x: the worker's parameters, which arrive in the place of a gradient

    The worker moves by the same difference in the other direction (`AsyncElasticAveraging`), so the sum of both does
    not change. Evaluate the center. The paper has α = β / workers with β = 0.9: give alpha=0.9 / workers; the default,
    0.225, is for 4.

    Zhang, Choromanska & LeCun 2015, Algorithm 1    https://arxiv.org/abs/1412.6651
    """

    papers = ("zhang2015easgd",)
    ranges = {"alpha": "[0, 1]"}
    takes_parameters = True

    alpha: float = 0.225

    def update(self, s, p, g, t):
        return p + self.alpha * (g - p)
