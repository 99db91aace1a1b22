"""SAM and ASAM."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ravine.loop.batch_norm import frozen_batch_norm
from ravine.optimizer.metrics import norm as norm_of
from ravine.optimizer.state import begins_only
from ravine.optimizer.untraced import untraced
from ravine.rule.hyper import value_of
from ravine.saved import told
from ravine.strategies.strategy import Strategy, driven, driver, forward


class SAM(Strategy):
    """Sharpness-aware minimization: a step by the gradient found uphill, at the worst weights near by.

        e ← ρ g(w) / ‖g(w)‖                                    over all parameters together
        w ← A(w, g(w + e))                                     a step of the driven optimizer A

        adaptive:  e ← ρ T² g / ‖T g‖,  T = |w| + η            element by element

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.strategies.SAM(ravine.SGD(model.parameters(), lr=0.1, momentum=0.9), rho=0.05)
        >>> def closure():
        ...     loss = model(torch.ones(2, 3)).pow(2).mean()
        ...     loss.backward()
        ...     return loss
        >>> loss = opt.step(closure)

    `step(closure)` calls the closure at w and at w + e, with gradients cleared before each, and returns the loss at w.
    Or in two calls, with as many backward passes before each as you accumulate:

        loss(…).backward();  opt.first_step(zero_grad=True)
        loss(…).backward();  opt.second_step(zero_grad=True)

    Whatever is raised in the closure, the weights are put back bit for bit. While a first step is open, w stands in
    `opt.state[p]["sam.before"]`. `step()` without a closure is the second step, so that GradScaler can make it: leave
    out `scaler.unscale_` before `first_step`, since e does not depend on the scale, and call `scaler.step(opt)` for the
    second; where it finds an infinity, w is put back and nothing else moves. A gradient of zero or one that is not
    finite moves no weight in the first step.

    e is found on each process for itself unless gradients are averaged, as DDP does; the paper's own runs do not.
    Give model=model where it has batch norm: its running statistics then count the pass at w alone, and w + e is
    normalized by its batch as ever (`frozen_batch_norm` from the first step to the second). Without it they count both.
    davda54/sam adds 1e-12 to the norm, and wants the first gradients before step(closure): here the closure makes them.

    Use it where data are few beside the weights and a test error is worth a second pass: each step costs two.

    Foret, Kleiner, Mobahi & Neyshabur 2021, Algorithm 1    https://arxiv.org/abs/2010.01412
    """

    papers = ("foret2021sam",)
    fields = ("rho", "adaptive", "eta")
    keeps = ("before",)
    _step_supports_amp_scaling = True  # GradScaler then calls step() in any case, which has weights to put back

    rho: float
    adaptive: bool
    eta: float
    model: torch.nn.Module | None = None
    _frozen: AbstractContextManager[None] | None = None  # while a first step is open

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        rho: float = 0.05,
        adaptive: bool = False,
        *,
        eta: float = 0.0,
        model: torch.nn.Module | None = None,
    ):
        self.drive(opt, model, rho=rho, adaptive=adaptive, eta=eta)

    def drive(self, opt: torch.optim.Optimizer, model: torch.nn.Module | None, **own: Any) -> None:
        """Begin to drive an optimizer, with fields of its own as they were given."""
        name = type(self).__name__
        if model is not None and not isinstance(model, torch.nn.Module):
            raise TypeError(f"{name}: model is the torch.nn.Module whose batch norm to hold, not {model!r}")
        driver(name, opt)
        own = {k: bool(x) if k == "adaptive" else value_of(f"{name}: {k}", float, x) for k, x in own.items()}
        if any(isinstance(x, SAM) for x in driven(opt)):
            raise TypeError(f"{name} cannot drive another SAM: each needs two gradients of its own for a step")
        super().__init__(opt, model=model, **own | self.valid({k: own[k] for k in self.fields}))

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        for name in cls.fields:
            x = note[name]
            if name == "adaptive":
                continue
            if not isinstance(x, int | float) or isinstance(x, bool) or not 0 <= x <= sys.float_info.max:
                raise ValueError(f"{cls.__name__}: {name} is {told(x)}; it must lie in [0, inf)")
        if not isinstance(note.get("adaptive", True), bool):
            raise ValueError(f"{cls.__name__}: adaptive is {told(note['adaptive'])}; it must be True or False")
        return {name: x if name == "adaptive" else float(x) for name, x in note.items()}

    @untraced
    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        """Both steps, with the gradients that the closure makes; without one, the second step."""
        if closure is None and not self.open and begins_only(self):
            return forward(self.optimizer, None, given)
        if closure is None:
            return self.second_step(**given)
        self.restore()
        closure = torch.enable_grad()(closure)
        self.zero_grad()
        loss = closure()
        try:
            self.first_step(zero_grad=True)
            there = closure()
        except BaseException:
            self.restore()
            raise
        self.finish({**given, "loss": there})
        return loss

    @property
    def radius(self) -> float:
        """How far the next first step goes."""
        return self.rho

    @untraced
    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        """Go uphill to w + e, by the gradients at w."""
        if self.open:
            raise RuntimeError(f"{type(self).__name__}: a first step is open; call second_step() or restore() first")
        live = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        grads = [(p, -p.grad if group.get("maximize") else p.grad) for group, p in live]
        if any(g.layout is not torch.strided for _, g in grads):
            raise RuntimeError(f"{type(self).__name__} takes dense gradients only")
        norms = [norm_of(self.turned(p, g)) for p, g in grads]
        for p, _ in grads:
            self.kept[p].update(self.put_aside(p))
        if norms:
            norm = torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
            reach = torch.where(norm > 0, self.radius / norm, 0.0)
            for p, g in grads:
                e = self.turned(p, self.turned(p, g)) * reach.to(p.device)
                p.add_(torch.where(norm.isfinite().to(p.device), e, 0.0).to(p.dtype))
        self.freeze()
        if zero_grad:
            self.zero_grad()

    def put_aside(self, p: Tensor) -> dict[str, Tensor]:
        """What to keep of a parameter until the second step: w."""
        return {"before": p.detach().clone(memory_format=torch.preserve_format)}

    def aim(self) -> None:
        """Change the gradients that were found at w + e."""

    def turned(self, p: Tensor, g: Tensor) -> Tensor:
        """T g."""
        return g * (p.detach().abs() + self.eta) if self.adaptive else g

    @untraced
    def second_step(self, zero_grad: bool = False, **given: Any) -> Any:
        """Back to w, and a step of the driven optimizer by the gradients at w + e."""
        if not self.open:
            raise RuntimeError(
                f"{type(self).__name__} needs two gradients: step(closure), or first_step() and then second_step()"
            )
        out = self.finish(given)
        if zero_grad:
            self.zero_grad()
        return out

    def finish(self, given: Mapping[str, Any]) -> Any:
        """Back to w, and a step of the driven optimizer."""
        finite = not getattr(self, "found_inf", 0)  # GradScaler leaves these here while it calls step()
        if finite:
            self.aim()
        self.restore()
        if finite:
            if (scale := getattr(self, "grad_scale", None)) is not None:
                for p in self.params:
                    if p.grad is not None:
                        p.grad.div_(scale.to(p.device))
            return forward(self.optimizer, None, given)
        return None

    @property
    def open(self) -> bool:
        """True between a first step and its second."""
        return any("before" in kept for kept in self.kept.values())

    def freeze(self) -> None:
        """Hold the running statistics of batch norm until the second step."""
        if self.model is not None and self._frozen is None and self.open:
            self._frozen = frozen_batch_norm(self.model)
            self._frozen.__enter__()

    def thaw(self) -> None:
        """Let batch norm count again."""
        if self._frozen is not None:
            self._frozen.__exit__(None, None, None)
            self._frozen = None

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back where they were before an open first step, bit for bit."""
        self.thaw()
        for p in self.params:
            if "before" in self.kept.get(p, {}):
                p.copy_(self.kept[p].pop("before"))

    def loaded(self) -> None:
        """Where a first step is open, batch norm is held until the second."""
        self.thaw()
        self.freeze()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "model": self.model}

    def eval(self) -> None:
        """The driven optimizer's `eval()`, where it has one."""
        getattr(self.optimizer, "eval", lambda: None)()

    def train(self) -> None:
        """The driven optimizer's `train()`, where it has one."""
        getattr(self.optimizer, "train", lambda: None)()


class ASAM(SAM):
    """SAM whose neighbourhood is as wide for each weight as that weight is large: rescaled layers stay as they are.

        e ← ρ T² g / ‖T g‖,  T = |w| + η

    `SAM(adaptive=True)` with the paper's ρ and η; that has η = 0, as davda54/sam (whose advice is ρ = 2). The authors'
    code takes T for parameters that are called weight and 1 for the others; the paper, and this, takes it for all.

    Use it as SAM, where layers are of very different scales and one ρ does not fit them.

    Kwon, Kim, Park & Choi 2021, Algorithm 1    https://arxiv.org/abs/2102.11600
    """

    papers = ("kwon2021asam", "foret2021sam")
    fields = ("rho", "eta")

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        rho: float = 0.5,
        *,
        eta: float = 0.01,
        model: torch.nn.Module | None = None,
    ):
        super().__init__(opt, rho, True, eta=eta, model=model)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"adaptive": True, **state})
