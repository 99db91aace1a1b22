"""Layers as K-FAC sees them: the gradient as a stack of matrices (b, r, c), and rows of inputs and of δ that make it.

The gradient is Σ δ aᵀ over n examples and the k places at which each of them uses the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold


class Layer:
    """nn.Linear: one matrix, its bias the last column. Others change what differs."""

    diagonal = False  # A is

    def __init__(self, name: str, module: Any):
        self.name, self.module = name, module
        self.weight: Tensor = module.weight
        self.bias: Tensor | None = getattr(module, "bias", None)
        self.stack = 1  # matrices

    @property
    def params(self) -> list[Tensor]:
        """The weight and, where there is one, the bias."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    @property
    def dtype(self) -> torch.dtype:
        """In which factors are computed and kept."""
        return torch.promote_types(self.weight.dtype, torch.float32)

    def joint(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Arrays like the weight and the bias as a stack (b, r, c): the bias is the last column, zeros where None."""
        x = weight.reshape(self.stack, -1, self.weight[0].numel()).to(self.dtype)
        if self.bias is None:
            return x
        last = x.new_zeros(*x.shape[:-1], 1) if bias is None else bias.reshape(self.stack, -1, 1).to(self.dtype)
        return torch.cat([x, last], -1)

    def gradient(self) -> Tensor:
        """The gradients of both, as such a stack."""
        assert self.weight.grad is not None
        return self.joint(self.weight.grad, None if self.bias is None else self.bias.grad)

    def blank(self) -> tuple[Tensor, Tensor]:
        """Zeros like A and G."""
        x = self.joint(self.weight.detach(), None if self.bias is None else self.bias.detach())
        (b, r, c), square = x.shape, not self.diagonal
        return x.new_zeros(b, c, *[c] * square), x.new_zeros(b, r, r)

    def parts(self, u: Tensor) -> dict[Tensor, Tensor]:
        """Such a stack as arrays like weight and bias."""
        if self.bias is None:
            return {self.weight: u.reshape(self.weight.shape)}
        found = {self.weight: u[..., :-1].reshape(self.weight.shape)}
        return found | ({} if self.bias.grad is None else {self.bias: u[..., -1].reshape(self.bias.shape)})

    def inputs(self, x: Tensor) -> Tensor:
        """(n, k, b, c): what the weights meet, and a 1 for the bias."""
        return self.with_one(x.reshape(1 if x.dim() < 2 else x.shape[0], -1, 1, x.shape[-1]))

    def outputs(self, delta: Tensor) -> Tensor:
        """(n, k, b, r)."""
        n = 1 if delta.dim() < 2 else delta.shape[0]
        return delta.detach().reshape(n, -1, 1, delta.shape[-1]).to(self.dtype)

    def with_one(self, a: Tensor) -> Tensor:
        a = a.to(self.dtype)
        return a if self.bias is None else torch.cat([a, a.new_ones(1).expand(*a.shape[:-1], 1)], -1)

    def mean(self, a: Tensor) -> Tensor:
        """Inputs of each example, over the places."""
        return a.mean(1, keepdim=True)

    def second_moment(self, a: Tensor) -> Tensor:
        """Σ a aᵀ, (b, c, c)."""
        return gram(a)

    def squares(self, a: Tensor, d: Tensor, qa: Tensor | None, qg: Tensor) -> Tensor:
        """Σ over examples of the squares of their gradients, in a basis."""
        a = a if qa is None else torch.einsum("nkbc,bcd->nkbd", a, qa)
        d = torch.einsum("nkbr,brs->nkbs", d, qg)
        if a.shape[1] == 1:
            return torch.einsum("nbr,nbc->brc", d[:, 0] ** 2, a[:, 0] ** 2)
        total = a.new_zeros(self.stack, d.shape[-1], a.shape[-1])
        for one_d, one_a in zip(d.split(16), a.split(16), strict=True):  # a gradient of each example is large
            total += torch.einsum("nkbr,nkbc->nbrc", one_d, one_a).square_().sum(0)
        return total


class Convolution(Layer):
    """nn.Conv2d: the weights meet a patch at each place; a matrix for each group."""

    def __init__(self, name: str, module: nn.Conv2d):
        super().__init__(name, module)
        self.stack = module.groups

    def inputs(self, x: Tensor) -> Tensor:
        m = self.module
        x = x.reshape(-1, *x.shape[-3:])
        x = pad(x, m._reversed_padding_repeated_twice, "constant" if m.padding_mode == "zeros" else m.padding_mode)
        patches = unfold(x.to(self.dtype), m.kernel_size, dilation=m.dilation, stride=m.stride)
        return self.with_one(patches.mT.unflatten(-1, (self.stack, -1)))

    def outputs(self, delta: Tensor) -> Tensor:
        delta = delta.detach().reshape(-1, *delta.shape[-3:])
        return delta.flatten(-2).mT.unflatten(-1, (self.stack, -1)).to(self.dtype)


class Embedding(Layer):
    """nn.Embedding: what the weights meet is 1 for one row and 0 for all others, so that A is diagonal, of frequencies.

    Its gradient is turned, so that a column is an entry.
    """

    diagonal = True

    def joint(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return weight.mT.to(self.dtype)[None]

    def blank(self) -> tuple[Tensor, Tensor]:
        """Zeros like A and G."""
        x = self.joint(self.weight.detach(), None if self.bias is None else self.bias.detach())
        (b, r, c), square = x.shape, not self.diagonal
        return x.new_zeros(b, c, *[c] * square), x.new_zeros(b, r, r)

    def parts(self, u: Tensor) -> dict[Tensor, Tensor]:
        return {self.weight: u[0].mT.contiguous()}

    def inputs(self, x: Tensor) -> Tensor:
        return x.reshape(len(x) if x.dim() else 1, -1, 1, 1)

    def second_moment(self, a: Tensor) -> Tensor:
        counts = torch.bincount(a.flatten(), minlength=len(self.weight)).to(self.dtype)
        if (nothing := self.module.padding_idx) is not None:
            counts[nothing] = 0.0
        return counts[None]

    def squares(self, a: Tensor, d: Tensor, qa: Tensor | None, qg: Tensor) -> Tensor:
        d = torch.einsum("nkbr,brs->nkbs", d, qg).flatten(0, 2)
        return d.new_zeros(len(self.weight), d.shape[-1]).index_add_(0, a.flatten(), d**2).mT[None]


def gram(x: Tensor) -> Tensor:
    """Σ x xᵀ over rows (n, k, b, c): (b, c, c)."""
    flat = x.flatten(0, 1).transpose(0, 1)
    return flat.mT @ flat


def layer_of(name: str, module: nn.Module) -> Layer:
    """How K-FAC sees a module."""
    kinds = {nn.Linear: Layer, nn.Conv2d: Convolution, nn.Embedding: Embedding}
    return kinds[type(module)](name, module)
