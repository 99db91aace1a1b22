"""GSAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.compile.interpret import wide
from ravine.strategies.sam import SAM


class GSAM(SAM):
    """SAM that closes the gap between the loss at the worst weights near by and the loss itself, too.

        h = g(w),  e ← ρ h / ‖h‖                               as SAM, over all parameters together
        d = g(w + e)
        v = h − (⟨h, d⟩ / ‖d‖²) d                              the part of h that is at right angles to d
        w ← A(w, d − α v)                                      a step of the driven optimizer A

        adaptive:  e as of SAM(adaptive=True); v as above

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.strategies.GSAM(ravine.SGD(model.parameters(), lr=0.1, momentum=0.9), rho=0.05, alpha=0.4)
        >>> def closure():
        ...     loss = model(torch.ones(2, 3)).pow(2).mean()
        ...     loss.backward()
        ...     return loss
        >>> loss = opt.step(closure)

    To first order −α v raises the loss at w, leaves that at w + e as it is, and so narrows the gap between them, which
    is a measure of sharpness. α = 0 is `SAM`. Steps, closures, scalers and faults are as SAM's, at the price of one
    more copy of the gradients while a first step is open: `opt.state[p]["gsam.grad"]`.

    The paper lets ρ fall with lr, and so does lr_max=: ρ is `rho` at lr_max and rho_min at lr_min, and in between, and
    beyond, on the line through both, but never below 0. lr is that of the first group, which a schedule moves.

        ρ ← ρ_min + (ρ_max − ρ_min) (lr − lr_min) / (lr_max − lr_min)

    Where either gradient is zero or not
    finite, v is 0. A parameter that has a gradient at w + e alone counts as one with h = 0. The authors' code splits
    the gradients of each process and averages then; here they are averaged first, as DDP does.

    Use it as SAM, for vision transformers above all, at the same price of two passes.

    Zhuang et al. 2022, Algorithm 1    https://arxiv.org/abs/2203.08065
    α is that of the authors' example in PyTorch; ρ is SAM's.
    """

    papers = ("zhuang2022gsam", "foret2021sam")
    fields = ("rho", "adaptive", "eta", "alpha", "rho_min", "lr_min", "lr_max")
    keeps = ("before", "grad")

    alpha: float
    rho_min: float
    lr_min: float
    lr_max: float

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        rho: float = 0.05,
        alpha: float = 0.4,
        adaptive: bool = False,
        *,
        eta: float = 0.0,
        rho_min: float = 0.0,
        lr_min: float = 0.0,
        lr_max: float = 0.0,
        model: torch.nn.Module | None = None,
    ):
        line = {"rho_min": rho_min, "lr_min": lr_min, "lr_max": lr_max}
        self.drive(opt, model, rho=rho, adaptive=adaptive, eta=eta, alpha=alpha, **line)

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        own = super().valid(note)
        low, high = own["lr_min"], own["lr_max"]
        if high <= low if high else own["rho_min"] or low:
            raise ValueError(
                f"{cls.__name__}: lr_min is {low} and lr_max {high}; for ρ to follow lr, lr_max must be above lr_min; "
                "without all three it is constant"
            )
        return own

    @property
    def radius(self) -> float:
        if not self.lr_max:
            return self.rho
        share = (float(self.param_groups[0]["lr"]) - self.lr_min) / (self.lr_max - self.lr_min)
        return max(0.0, self.rho_min + (self.rho - self.rho_min) * share)

    def put_aside(self, p: Tensor) -> dict[str, Tensor]:
        assert p.grad is not None
        return super().put_aside(p) | {"grad": p.grad.detach().clone(memory_format=torch.preserve_format)}

    @torch.no_grad()
    def aim(self) -> None:
        """d − α v in the place of d."""
        live = [(p.grad, self.kept.get(p, {}).get("grad")) for p in self.params if p.grad is not None]
        if not self.alpha or not live:
            return
        along = whole([inner(d, h) for d, h in live if h is not None])
        square = whole([inner(d, d) for d, _ in live])
        share = torch.where(square > 0, along / square, 0.0)
        sound = share.isfinite() & (square > 0)
        for d, h in live:
            off = (h if h is not None else torch.zeros_like(d)) - share.to(d.device) * d
            d.sub_(torch.where(sound.to(d.device), self.alpha * off, 0.0).to(d.dtype))

    def restore(self) -> None:
        super().restore()
        for kept in self.kept.values():
            kept.pop("grad", None)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩, in float64 where the device has it."""
    a, b = (torch.view_as_real(x) if x.is_complex() else x for x in (a, b))
    return (a.to(wide(a.device)) * b.to(wide(a.device))).sum()


def whole(parts: list[Tensor]) -> Tensor:
    """The sum of what is on several devices."""
    return torch.stack([x.to(parts[0].device) for x in parts]).sum() if parts else torch.tensor(0.0, device="cpu")
