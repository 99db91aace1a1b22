"""DoG and its layer-wise form."""

from typing import ClassVar

import torch

from ravine.optimizer import Optimizer
from ravine.words import decayed, every, maximum, scalar, shared, sqrt, total, where


class DoG(Optimizer):
    """SGD whose step size is the distance gone so far over the gradients seen so far: none has to be chosen.

        r ← max(r, ‖p − x₀‖)            reps_rel (1 + ‖x₀‖) at the first step
        G ← G + ‖g‖²                    over all tensors, as ‖p − x₀‖ is
        p ← p − lr r / √(G + ε) g

    init_eta, if given, is the step size of the first step, in place of what reps_rel makes it; r is then 0 there.
    weight_decay adds λp to g. All groups are one vector here, as in the paper: the authors' code makes each group
    a DoG of its own. Without a gradient at the first step r stays what it is.

    Use it where SGD works and no rate is to be looked for, for fine-tuning above all; the paper evaluates an average of
    the weights (`ravine.mods`), which is needed since the steps do not get shorter by a schedule. With batch
    normalization take reps_rel = 1e-4.

    Ivgi, Hinder & Carmon 2023, equation 1    https://arxiv.org/abs/2302.12022
    """

    papers = ("ivgi2023dog",)
    ranges = {"reps_rel": "(0, inf)", "init_eta": "(0, inf)", "eps": "(0, inf)"}
    layerwise: ClassVar[bool] = False

    lr: float | torch.Tensor = 1.0
    reps_rel: float = 1e-6
    init_eta: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0

    def init(self, s, p):
        s.x0 = p
        s.r, s.G = (scalar(0.0), scalar(0.0)) if self.layerwise else (shared(0.0), shared(0.0))

    def whole(self, x):
        return total(x) if self.layerwise else every(total(x))

    def update(self, s, p, g, t):
        _, g = decayed(p, g, self.lr, self.weight_decay, False)
        far = maximum(s.r, sqrt(self.whole((p - s.x0) ** 2)))
        first = self.reps_rel * (1 + sqrt(self.whole(p**2))) if self.init_eta is None else 0
        s.r, s.x0 = where(far <= 0, first, far), s.x0
        s.G = s.G + self.whole(g**2)
        eta = self.lr * s.r / sqrt(s.G + self.eps)
        return p - (eta if self.init_eta is None else where(s.r <= 0, self.init_eta, eta)) * g


class LDoG(DoG):
    """DoG for each tensor by itself: its own distance, its own gradients, its own step size.

        r ← max(r, ‖p − x₀‖)            reps_rel (1 + ‖x₀‖) at the first step, of each tensor
        G ← G + ‖g‖²                    of each tensor
        p ← p − lr r / √(G + ε) g

    Use it in place of DoG where layers differ much in scale, as in transformers; it diverges more easily.

    Ivgi, Hinder & Carmon 2023, section 3.3    https://arxiv.org/abs/2302.12022
    """

    layerwise: ClassVar[bool] = True
