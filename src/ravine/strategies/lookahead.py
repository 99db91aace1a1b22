"""Lookahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ravine.compile.expr import FULL
from ravine.compile.trace import modifiers
from ravine.optimizer import Optimizer
from ravine.optimizer.state import begin
from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, told, whole
from ravine.strategies.slow import SlowWeights
from ravine.strategies.strategy import driver


class Lookahead(SlowWeights):
    """k steps forward, one step back: slow weights follow, and every k steps the fast ones begin from them again.

        θ ← A(θ)                       k steps of the driven optimizer A
        φ ← φ + α (θ − φ),  θ ← φ      then; φ begins as θ

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.strategies.Lookahead(ravine.Adam(model.parameters(), lr=1e-2), k=5, alpha=0.5)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()

    φ is `opt.state[p]["lookahead.slow"]`; `eval()` puts it into the model and `train()` brings the fast weights back.
    The model itself holds φ after each k-th step.
    inner_state: what becomes of A's own state then. "maintain" leaves it, "reset" lets A begin anew, step count and
    all (an average that a modifier keeps goes on), and "interpolate" draws the states that have the weights' shape back
    with α, too, from what they began as.

    Use it to calm an optimizer that is run at a large rate, or where its rate cannot be tuned; it costs a copy of the
    weights and next to no time. With a schedule that ends near zero little is left to gain.

    A slow weight begins as what its parameter is before its first step here; torch_optimizer's begins after it, and
    goes back after steps 1, k + 1, 2k + 1 … instead of k, 2k …. The authors' code interpolates the momentum with itself
    from the second time on, since it keeps no copy; here each is kept. Their default α is 0.8.

    Zhang, Lucas, Hinton & Ba 2019, Algorithm 1    https://arxiv.org/abs/1907.08610
    """

    papers = ("zhang2019lookahead",)
    fields = ("k", "alpha", "inner_state", "count")

    alpha: float
    inner_state: Literal["maintain", "reset", "interpolate"]

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        k: int = 5,
        alpha: float = 0.5,
        *,
        inner_state: Literal["maintain", "reset", "interpolate"] = "maintain",
    ):
        driver(type(self).__name__, opt)
        k, alpha = integer("Lookahead: k", k), value_of("Lookahead: alpha", float, alpha)
        self.refuse_sam(opt)
        refuse_codes(inner_state, opt)
        # count: steps since the fast weights began from the slow ones
        own = self.valid({"k": k, "alpha": alpha, "inner_state": inner_state, "count": 0})
        super().__init__(opt, **own)

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        k, alpha, inner_state, count = (note[name] for name in cls.fields)
        if inner_state not in ("maintain", "reset", "interpolate"):
            raise ValueError(f"Lookahead: inner_state is {told(inner_state)}; maintain, reset or interpolate")
        return {
            "k": whole("Lookahead: k", k, 1, where=""),
            "alpha": finite("Lookahead: alpha", alpha, 0.0, 1.0, where=""),
            "inner_state": inner_state,
            "count": whole("Lookahead: count", count, where=""),
        }

    def agree(self, note: Mapping[str, Any], kept: Mapping[Tensor, Any]) -> None:
        super().agree(note, kept)
        refuse_codes(note["inner_state"], self)

    def begun(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        if self.inner_state != "interpolate":
            return {}
        return {f"slow.{k}": x for k, x in self.first(group, p).items()}

    def first(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        """The states of the driven optimizer as they are or will begin, where that is known: torch's begin as zero."""
        opt = self.optimizer
        if isinstance(opt, Optimizer):
            state = begin(opt, opt.compiled(group, p), group, p)
            return {k: x.clone() for k, x in state.items() if k in self.shaped(group, p, state)}
        return {k: opt.state[p][k].clone() for k in self.shaped(group, p, opt.state.get(p, {}))}

    def shaped(self, group: dict[str, Any], p: Tensor, state: dict[str, Any]) -> list[str]:
        """The names of the states that are interpolated: those of the weights' shape, and no counts."""
        if isinstance(opt := self.optimizer, Optimizer):
            start, key = opt.compiled(group, p).program.start, opt.rule_of(group).key
            return [key(k) for k, x in start.items() if x.shape == FULL and key(k) in state]
        found = [k for k, x in state.items() if isinstance(x, Tensor) and x.shape == p.shape]
        return [k for k in found if k not in ("step", "eta", "mu", "mu_product")]

    def outer(self, kept: dict[str, Any], fast: Tensor) -> Tensor:
        return kept["slow"].lerp_(fast, self.alpha)

    def went_back(self, group: dict[str, Any], p: Tensor) -> None:
        if self.inner_state == "reset":
            self.reset(group, p)
        elif self.inner_state == "interpolate":
            kept, state = self.kept[p], self.optimizer.state[p]
            for k in self.shaped(group, p, state):
                slow = kept.setdefault(f"slow.{k}", torch.zeros_like(state[k]))
                state[k].copy_(slow.lerp_(state[k], self.alpha))

    def reset(self, group: dict[str, Any], p: Tensor) -> None:
        """Let the driven optimizer begin anew; what its modifiers keep, such as an average, goes on."""
        state = self.optimizer.state[p]
        worn = tuple(prefix for prefix, _ in modifiers(group))
        kept = {k: x for k, x in state.items() if worn and k.startswith(worn)}
        state.clear()
        if kept:
            state.update(kept, step=torch.tensor(0.0, device="cpu"))


def refuse_codes(inner_state: str, opt: torch.optim.Optimizer) -> None:
    """Raise ValueError where states are to be interpolated that are codes."""
    groups = opt.param_groups if isinstance(opt, torch.optim.Optimizer) else []
    if inner_state == "interpolate" and any(group.get("storage") == "int8" for group in groups):
        raise ValueError('Lookahead: states in 8-bit codes cannot be interpolated; leave out storage="int8"')
