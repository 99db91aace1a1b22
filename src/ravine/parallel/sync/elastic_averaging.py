"""Elastic averaging: EASGD and EAMSGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.optim.nag import NAG
from ravine.optimizer.state import as_numbers
from ravine.parallel.sync.local_steps import LocalSteps
from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, whole


class ElasticAveraging(LocalSteps):
    """Workers train alone, each tied to a center by an elastic band, and the center follows their mean.

        every τ steps, before the step, with α = β / n and n workers; both lines use the old xᵢ and c:
            xᵢ ← xᵢ − α (xᵢ − c)
            c  ← (1 − β) c + β (x₁ + … + xₙ) / n
        xᵢ ← xᵢ − η gᵢ                 each worker's own step, with the gradient at xᵢ before the band pulled

        >>> import torch, ravine
        >>> from ravine.parallel import ElasticAveraging
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ElasticAveraging(ravine.SGD(model.parameters(), lr=0.1), sync_every=10, beta=0.9)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()
        >>> opt.eval()  # the model is the center now
        >>> opt.train()

    Use it where workers should explore, with a τ of 10 or more; `DiLoCo` is the stronger choice for language models. An
    exchange is one all-reduce of as many numbers as there are weights; the center is one more copy of them.

    The center is the result: `eval()` puts it into the model, `train()` puts the worker's own weights back. Every
    worker has it in `opt.state[p]["elasticaveraging.center"]`, with the same bits. It begins as the weights with which
    all begin. The band moves both ends by the same amount: only the steps change x₁ + … + xₙ + c.

    sync_every: τ, counted from the first step, as in the paper: exchanges are before steps 1, τ + 1, 2τ + 1 …
    beta: β in [0, 1]; 0.9 is the paper's. With 0 each worker trains alone. α = β / n, under torchft too.
    process_group: see `ravine.parallel.sync.workers.Workers`.

    Around `ravine.SGD(lr=η)` it is EASGD in its synchronous form, and around `ravine.NAG(lr=η, momentum=δ)` EAMSGD:

        v ← δ v − η g(x + δ v),  x ← x + v

    where the model holds x + δ v while training, and the band is tied to x, as in the paper and the authors' code
    (mpiT). δ = 0 is EASGD. Around any other optimizer the band is tied to the weights that the model holds; with
    `SGD(momentum=δ, nesterov=True)` these are the points x + δ v. No state of the driven optimizer is exchanged. The
    authors' runs are asynchronous: each worker meets a server at its own time (`AsyncElasticAveraging`).

    A worker whose weights become NaN makes the center NaN: give the driven optimizer nonfinite="skip", or use a
    GradScaler. Under torchft, an exchange that loses a worker is not used.

    Zhang, Choromanska & LeCun 2015, equations 5 and 6, Algorithms 1 and 2    https://arxiv.org/abs/1412.6651
    """

    papers = ("zhang2015easgd",)
    fields = ("sync_every", "beta", "count")
    keeps = ("center", "own")

    sync_every: int
    beta: float

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        sync_every: int = 10,
        beta: float = 0.9,
        process_group: Any = None,
    ):
        name = type(self).__name__
        own = {
            "sync_every": integer(f"{name}: sync_every", sync_every),
            "beta": value_of(f"{name}: beta", float, beta),
        }
        own = {k: x for k, x in self.valid({**own, "count": 0}).items() if k != "count"}
        super().__init__(optimizer, process_group, **own)

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        name = cls.__name__
        return {
            "sync_every": whole(f"{name}: sync_every", note["sync_every"], 1, where=""),
            "beta": finite(f"{name}: beta", note["beta"], 0.0, 1.0, where=""),
            "count": whole(f"{name}: count", note["count"], where=""),
        }

    def begin(self) -> None:
        for p, x in self.lacking("center").items():
            self.kept[p]["center"] = self.without_look_ahead(p, x).clone(memory_format=torch.preserve_format)

    def travel(self, inner: Callable[[], Any]) -> Any:
        gaps = self.meet() if self.count % self.sync_every == 0 else None
        loss = inner()
        self.count += 1
        if gaps is not None:
            self.pull(*gaps)
        return loss

    @torch.no_grad()
    def meet(self) -> tuple[dict[Tensor, Tensor], dict[Tensor, Tensor], int] | None:
        """How far each weight is from its center, the mean of that over the workers, and their number."""
        self.workers.gather()
        gaps = {p: self.without_look_ahead(p, x) - self.kept[p]["center"] for p, x in self.weights().items()}
        means = self.workers.mean(list(gaps.values()))
        size = self.workers.size
        return (gaps, dict(zip(gaps, means, strict=True)), size) if self.workers.agreed() else None

    @torch.no_grad()
    def pull(self, gaps: Mapping[Tensor, Tensor], means: Mapping[Tensor, Tensor], size: int) -> None:
        """Draw each weight to its center, and the center to the mean."""
        weights = self.weights()
        for p, gap in gaps.items():
            self.put(p, weights[p] - gap * (self.beta / size))
            self.kept[p]["center"].add_(means[p], alpha=self.beta)

    def without_look_ahead(self, p: Tensor, x: Tensor) -> Tensor:
        """x where the model holds x + δ v, which NAG does in training; else the weights as they are."""
        state = self.optimizer.state.get(p, {})
        if not isinstance(self.optimizer, NAG) or "ahead" not in state:
            return x
        return x + float(state["ahead"]) * as_numbers(state, "v").to(x.dtype)  # its v has the other sign

    def eval(self) -> None:
        """Put the center into the model. Call before validation."""
        self.show({p: self.kept[p]["center"] for p in self.params if "center" in self.kept.get(p, {})})
