"""GSAM."""

from __future__ import annotations

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

    The paper lets ρ fall with lr, from ρ_max to ρ_min as lr does from lr_max to lr_min: set it before each step,
    `opt.rho = rho_min + (rho_max - rho_min) * (lr - lr_min) / (lr_max - lr_min)`. Where either gradient is zero or not
    finite, v is 0. A parameter that has a gradient at w + e alone counts as one with h = 0. The authors' code splits
    the gradients of each process and averages then; here they are averaged first, as DDP does.

    Use it as SAM, for vision transformers above all, at the same price of two passes.

    Zhuang et al. 2022, Algorithm 1    https://arxiv.org/abs/2203.08065
    α is that of the authors' example in PyTorch; ρ is SAM's.
    """

    papers = ("zhuang2022gsam", "foret2021sam")
    fields = ("rho", "adaptive", "eta", "alpha")
    keeps = ("before", "grad")

    alpha: float

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        rho: float = 0.05,
        alpha: float = 0.4,
        adaptive: bool = False,
        *,
        eta: float = 0.0,
        model: torch.nn.Module | None = None,
    ):
        self.drive(opt, model, rho=rho, adaptive=adaptive, eta=eta, alpha=alpha)

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
