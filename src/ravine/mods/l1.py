"""L1 regularization."""

from ravine.rule.modifier import Modifier
from ravine.words import maximum, minimum


class L1(Modifier):
    """Pull every weight towards zero after the step, by λ times the weight's own rate: weights become exactly 0.

        k = λ r                               r: how far the rule moves the weight for a direction of 1
        p ← p − min(max(p, −k), k)            p − k, p + k, or 0 between −k and k

    It is the proximal step of λ‖p‖₁ in the metric of the rule: r is lr for SGD, lr / (√v̂ + ε) for Adam, lr / (√G + ε)
    for Adagrad, with the trust ratio for LAMB and LARS, and with the distance found for DoG and Prodigy. Rule and
    penalty then agree on where to stop: a weight is 0 where the gradient is smaller than λ, and the same λ gives the
    same zeros under SGD and under Adam. With lr λ for every weight, as in a loop that is written by hand, Adam keeps
    nearly all weights. A subgradient, λ sign(p) added to g, never gives zeros.

    r is found in the rule's graph: the factors of its step that are never negative. It is lr, for all weights, under
    sign methods (SignSGD, Signum, Lion) and Rprop, whose steps do not say how large the gradient is; and under MADGRAD,
    AdaGradRDA and Schedule-Free, which keep their path elsewhere and bring the zeros back: take another rule there. A
    momentum that is a sum (`SGD(momentum=0.9)`) makes λ count 1 − μ times, as it makes lr count 1 / (1 − μ) times.

    For linear models on small batches, `AdaGradRDA(l1=…)` is sparser: it weighs the penalty of all steps against the
    sum of all gradients, so noise does not move a weight away from 0 again. Of 50 weights, 5 of them true, Adagrad with
    L1 keeps 34 there, and AdaGradRDA 5.

    Use it to prune or to select features, on the weights only: give biases and norms a group with mods=[]. Put it after
    what else moves the weights, which may move the zeros; r is the rule's own, and knows nothing of `Cautious`. Under
    an adaptive rule a weight without gradients, such as an embedding that no batch has asked for, has the rate lr / ε:
    it moves towards 0 by λ lr / ε in a step, which for Adam is 0.1 with λ = 1e-6, and 10 with λ = 1e-4.

    Duchi, Hazan & Singer 2011, equation 4 (composite mirror descent)    https://jmlr.org/papers/v12/duchi11a.html
    Duchi & Singer 2009, section 3 (FOBOS)    https://jmlr.org/papers/v10/duchi09a.html
    Daubechies, Defrise & De Mol 2004    https://arxiv.org/abs/math/0307152
    """

    papers = ("duchi2011adagrad", "duchi2009efficient", "daubechies2004iterative")

    l1: float = 1e-4

    def update(self, s, p, g, t, new, lr, rate):  # pyright: ignore[reportIncompatibleMethodOverride]  # it is given it
        k = self.l1 * rate
        return new - minimum(maximum(new, -k), k)
