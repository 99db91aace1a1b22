"""The diagonal of the Hessian."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.rule.processes import average
from ravine.rule.source import Source


class Hutchinson(Source):
    """The diagonal of the loss's Hessian H, estimated with random signs z:

        h = z ⊙ H z          E[h] = diag H, as E[z zᵀ] = I

    H z is the gradient of ⟨g, z⟩, one backward pass more through the graph of the gradient. `backward` makes that graph
    in the steps that need it:

        >>> import torch, ravine
        >>> from ravine.sources import Hutchinson
        >>> from ravine.words import maximum
        >>> class Newton(ravine.Optimizer):
        ...     inputs = {"h": "r c"}
        ...     def update(self, s, p, g, t, h):
        ...         return p - self.lr * g / maximum(h, 1e-3)
        >>> p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> hessian = Hutchinson(every=10)
        >>> opt = Newton([p], lr=1.0, sources=[hessian])
        >>> hessian.backward((torch.tensor([1.0, 5.0]) * p**2).sum())
        >>> opt.step()
        >>> p.tolist()
        [0.0, 0.0]

    A layer in the model must have a second derivative: fused attention has none; choose the math backend of
    `torch.nn.attention.sdpa_kernel`. A `torch.autograd.Function` that is `once_differentiable` counts as linear, and
    torch says nothing. Under DDP give `group`, and let `backward` make the pass: DDP can make no graph of a gradient,
    so that a measurement costs one backward pass more.

    name: of the input.
    every: how many steps pass from one estimate to the next, which cost about two backward passes; the last is kept.
    samples: how many z are averaged.
    spatial: |h|, averaged over each row of a matrix and each kernel of a convolution; vectors have |h|. This is what
        the code of AdaHessian's authors takes; the paper averages h.
    seed: of z, which depends on it and the step, and is the same in all processes.
    group: the processes that train one model: estimates are averaged over them. False: each by itself.

    Hutchinson 1989; Yao et al. 2021 (AdaHessian)    https://arxiv.org/abs/2006.00719
    """

    def __init__(
        self,
        name: str = "h",
        *,
        every: int = 1,
        samples: int = 1,
        spatial: bool = False,
        seed: int = 0,
        group: Any = None,
    ):
        super().__init__(every)
        if samples < 1:
            raise ValueError(f"Hutchinson: samples is {samples}; it must be 1 or more")
        self.gives, self.samples, self.seed, self.group = (name,), samples, seed, group
        self.spatial = spatial
        self.graphs: dict[Tensor, Tensor] = {}  # gradients with their graph, where p.grad has none

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()`, with a graph of the gradient where the next step takes a new estimate."""
        if self.due and dist.is_available() and dist.is_initialized():  # DDP's hooks take no gradient with a graph
            params = [p for p in self.params if p.requires_grad]
            made = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
            for p, g in zip(params, made, strict=True):
                if g is not None:
                    self.graphs[p] = self.graphs[p] + g if p in self.graphs else g
            loss.backward(retain_graph=True)
            return
        with warnings.catch_warnings():  # of a cycle, which `give` breaks
            warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
            loss.backward(create_graph=self.due)

    def give(self, wanted: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Mapping[Tensor, Tensor]]:
        """{name: {p: z ⊙ H z}}; gradients lose their graph."""
        (name,) = self.gives
        params = wanted[name]
        found = dict[Tensor, Tensor]()
        graphs, self.graphs = {p: self.graphs.get(p, p.grad) for p in params}, {}
        along = {p: g for p, g in graphs.items() if g is not None and g.requires_grad}
        grads = list(along.values())
        if params and not grads:
            raise RuntimeError(
                "Hutchinson: gradients have no graph in a step that takes a new estimate; call its backward(loss), or "
                "loss.backward(create_graph=source.due)"
            )
        with torch.enable_grad():
            for i in range(self.samples if grads else 0):
                signs = {p: self.signs(p, k * self.samples + i) for k, p in enumerate(params)}
                z, more = [signs[p] for p in along], i + 1 < self.samples
                made = torch.autograd.grad(grads, params, z, retain_graph=more, materialize_grads=True)
                for p, product in zip(params, made, strict=True):
                    one = signs[p] * product.detach()
                    found[p] = found[p] + one if p in found else one
        found = {p: found[p] / self.samples if self.samples > 1 else found[p] for p in params if p in found}
        for p in self.params:  # else a gradient and its parameter keep each other and the graph alive
            p.grad = None if p.grad is None else p.grad.detach()
        average("Hutchinson", found.values(), self.group)
        return {name: {p: averaged(h) for p, h in found.items()} if self.spatial else found}

    def signs(self, p: Tensor, place: int) -> Tensor:
        """1 or −1 for each element, each as likely."""
        chance = torch.Generator(p.device).manual_seed((self.seed * 1_000_003 + self.steps) * 1_000_003 + place)
        drawn = torch.randint(0, 2, p.shape, generator=chance, device=p.device, dtype=p.dtype)
        return drawn.mul_(2).sub_(1)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: it has seen nothing."""
        return super().__getstate__() | {"graphs": {}}


def averaged(h: Tensor) -> Tensor:
    """|h|, of a matrix its mean over each row, of a convolution over each kernel; each element has its mean."""
    over = tuple(range(1 if h.dim() == 2 else 2, h.dim()))
    return h.abs().mean(over, keepdim=True).expand(h.shape) if h.dim() > 1 and h.numel() else h.abs()
