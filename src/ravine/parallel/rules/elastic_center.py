"""The center of EASGD."""

from ravine.optimizer import Optimizer


class ElasticCenter(Optimizer):
    """The center of asynchronous EASGD: a worker that comes by pulls it a part of the way towards itself.

        x̃ ← x̃ + α (x − x̃)          x: the worker's parameters, which arrive in the place of a gradient

    The worker moves by the same difference the other way (`AsyncElasticAveraging`), so the sum of both stays what it
    was. It is the center that is evaluated. α = β / workers with β = 0.9 in the paper.

    Zhang, Choromanska & LeCun 2015, Algorithm 1    https://arxiv.org/abs/1412.6651
    """

    papers = ("zhang2015easgd",)
    takes_parameters = True

    alpha: float = 0.225

    def update(self, s, p, g, t):
        return p + self.alpha * (g - p)
