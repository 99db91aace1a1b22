"""The diagonal of the Gauss-Newton matrix of a classifier, which is the one of its Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy

from ravine.rule.processes import average
from ravine.rule.source import Source
from ravine.sources.targets import chance, classes


class GaussNewtonBartlett(Source):
    """The diagonal of the Gauss-Newton matrix of a mean cross-entropy, with targets ŷ that the model draws:

        h = B ∇L̂ ⊙ ∇L̂          L̂ = 1/B Σ cross_entropy(logitsᵢ, ŷᵢ),    ŷᵢ from softmax(logitsᵢ)

    E[h] is the diagonal of J ᵀ (diag π − π πᵀ) J, averaged over the B rows: the Hessian without the part that the
    curvature of the model adds, and the true Fisher matrix (with the targets of the data it would be the empirical
    one, as in Adam). It is never negative and needs first derivatives only, so fused attention will do.

        >>> import torch, ravine
        >>> from torch.nn.functional import cross_entropy
        >>> from ravine.sources import GaussNewtonBartlett
        >>> model = torch.nn.Linear(4, 3)
        >>> fisher = GaussNewtonBartlett(every=10)
        >>> opt = ravine.SophiaG(model.parameters(), lr=1e-3, sources=[fisher])
        >>> for x, y in [(torch.randn(8, 4), torch.arange(8) % 3)]:
        ...     logits = model(x)
        ...     fisher.backward(logits)
        ...     cross_entropy(logits, y).backward()
        ...     opt.step()

    name: of the input.
    every: how many steps pass from one estimate to the next, which costs one backward pass; the last is kept.
    seed: of the targets, which depend on it, the step and the process.
    group: the processes that train one model: the estimate is that of all their rows. False: each by itself.

    Liu et al. 2024, Algorithm 2    https://arxiv.org/abs/2305.14342
    """

    def __init__(self, name: str = "h", *, every: int = 10, seed: int = 0, group: Any = None):
        super().__init__(every)
        self.gives, self.seed, self.group = (name,), seed, group
        self.rows, self.calls, self.sums = 0, 0, dict[Tensor, Tensor]()  # Σ B ∇L̂ of the calls before this step

    def backward(self, logits: Tensor) -> None:
        """Take the gradient of drawn targets, where the next step takes a new estimate; p.grad is left alone.

        Call it before `loss.backward()`, which frees the graph, or with logits of their own, perhaps of fewer rows.
        With gradient accumulation call it for each part of the batch.

        logits: (…, classes), of the rows that count (for a padded batch `logits[mask]`), of what `every` parameter
            made that should have an estimate.
        """
        if not self.due:
            return
        if logits.dim() < 2 or not logits.requires_grad:
            raise ValueError(
                f"GaussNewtonBartlett: logits have shape {tuple(logits.shape)}"
                f"{'' if logits.requires_grad else ' and no graph'}; they must be (…, classes), as the model gives them"
            )
        flat = logits.reshape(-1, logits.shape[-1])
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        params = [p for p in self.params if p.requires_grad]
        with torch.enable_grad():
            loss = cross_entropy(flat, self.drawn(flat.detach()), reduction="sum")
        grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        for p, g in zip(params, grads, strict=True):
            if g is not None:
                g = g.to(torch.promote_types(g.dtype, torch.float32))
                self.sums[p] = self.sums[p] + g if p in self.sums else g
        self.rows, self.calls = self.rows + len(flat), self.calls + 1

    def drawn(self, logits: Tensor) -> Tensor:
        """A class for each row, as likely as the model says."""
        return classes(logits, chance(self.seed, self.steps, self.calls, self.group, logits.device))

    @torch.no_grad()
    def give(self, wanted: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Mapping[Tensor, Tensor]]:
        """{name: {p: B ∇L̂ ⊙ ∇L̂}}; zeros for what the logits were not made of."""
        (name,) = self.gives
        sums, rows = self.sums, self.rows
        self.rows, self.calls, self.sums = 0, 0, {}
        if not rows:
            raise RuntimeError(
                "GaussNewtonBartlett: backward(logits) was not called in a step that takes a new estimate; call it "
                "before each loss.backward(): where it is not needed, it does nothing"
            )
        each = [sums[p] if p in sums else torch.zeros_like(p, requires_grad=False) for p in wanted[name]]
        count = torch.tensor(float(rows), device=each[0].device if each else None)
        average("GaussNewtonBartlett", [*each, count], self.group)
        parts = 1 if self.group in (None, False) else dist.get_world_size(self.group)
        return {name: {p: x * x * (parts / count) for p, x in zip(wanted[name], each, strict=True)}}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: it has seen nothing."""
        return super().__getstate__() | {"rows": 0, "calls": 0, "sums": {}}
