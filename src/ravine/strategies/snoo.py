"""SNOO."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, whole
from ravine.strategies.slow import SlowWeights
from ravine.strategies.strategy import driver


class SNOO(SlowWeights):
    """Lookahead with Nesterov's momentum: what k steps have moved is a gradient for the slow weights.

        θ ← A(θ)                       k steps of the driven optimizer A
        s = φ − θ                      then; φ begins as θ
        b ← μ b + s
        φ ← φ − η (s + μ b),  θ ← φ

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.strategies.SNOO(ravine.AdamW(model.parameters(), lr=1e-3), k=28, lr=0.68, momentum=0.37)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()

    φ is `opt.state[p]["snoo.slow"]` and b `opt.state[p]["snoo.momentum"]`; `eval()` puts φ into the model and `train()`
    brings the fast weights back. The model itself holds φ after each k-th step. A's own state goes on.

    It is DiLoCo with one worker, without communication, and with Muon inside MuLoCo with K = 1. μ = 0 is
    `Lookahead` with α = η, and then η = 1 is A alone. `ravine.mods.GPA` does nearly the same smoothly, at every step.

    k, η (`lr`) and μ (`momentum`) belong together. Without momentum the slow weights go η of the way; with it they go
    η / (1 − μ) of it in the long run, 1.08 with the defaults. A schedule acts on the rate of A.
    The authors' record moves the slow weights after steps 1, k + 1, 2k + 1 …; here they move after steps k, 2k …, as in
    the paper. It costs two copies of the weights and next to no time.

    Use it around AdamW or Muon in long runs of language models, where DiLoCo would be used with one worker.

    Kallusky, Rao, Nandavanam & Shi 2025    https://arxiv.org/abs/2510.15830
    DiLoCo: Douillard et al. 2023, Algorithm 1    https://arxiv.org/abs/2311.08105
    MuLoCo: Thérien et al. 2025, Algorithm 1    https://arxiv.org/abs/2505.23725
    Defaults are those of the authors' record on modded-nanogpt's medium track.
    """

    papers = ("kallusky2025snoo", "douillard2023diloco", "therien2025muloco")
    fields = ("k", "lr", "momentum", "count")
    keeps = ("slow", "fast", "momentum")

    lr: float
    momentum: float

    def __init__(self, opt: torch.optim.Optimizer, k: int = 28, lr: float = 0.68, momentum: float = 0.37):
        driver(type(self).__name__, opt)
        k, lr = integer("SNOO: k", k), value_of("SNOO: lr", float, lr)
        momentum = value_of("SNOO: momentum", float, momentum)
        self.refuse_sam(opt)
        super().__init__(opt, **self.valid({"k": k, "lr": lr, "momentum": momentum, "count": 0}))

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "k": whole("SNOO: k", note["k"], 1, where=""),
            "lr": finite("SNOO: lr", note["lr"], 0.0, sys.float_info.max, where=""),
            "momentum": finite("SNOO: momentum", note["momentum"], 0.0, 1.0, where=""),
            "count": whole("SNOO: count", note["count"], where=""),
        }

    def outer(self, kept: dict[str, Any], fast: Tensor) -> Tensor:
        s = kept["slow"] - fast
        b = kept.setdefault("momentum", torch.zeros_like(s)).mul_(self.momentum).add_(s)
        return kept["slow"].sub_(s.add_(b, alpha=self.momentum), alpha=self.lr)
