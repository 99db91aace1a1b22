"""Top-k with error feedback."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.parallel.compress.messages import Messages, numbers
from ravine.rule.hyper import value_of


class TopK(Messages):
    """Sends the k largest numbers of each tensor with their places; the rest is kept and sent later.

        p = g + e
        C(p)_i = p_i where |p_i| is one of the k largest, else 0        k = ratio · d, at least 1
        e ← p − C(p)

        >>> import torch
        >>> from ravine.parallel.compress import TopK
        >>> compressor = TopK(ratio=0.25)
        >>> g = torch.tensor([1.0, -3.0, 2.0, 0.5])
        >>> for _ in range(3):
        ...     print(*(x.tolist() for x in compressor.all_reduce_mean([g])))
        [0.0, -3.0, 0.0, 0.0]
        [0.0, 0.0, 4.0, 0.0]
        [0.0, -6.0, 0.0, 0.0]

    ratio: the part of the numbers that is sent. 0.01, as Aji & Heafield, who drop 99 %; 1 is the plain mean.

    Under DDP: `TopK(0.01).ddp_hook(model)`. A value is sent in the tensor's own type and its place as int32 (int64 from
    2³¹ numbers on): 8 bytes for a float32 number, so ratio=0.01 sends 2 % of the bytes. What rounding to 16 bits takes
    away from a value stays in the memory.

    The W processes choose different places, so each receives W − 1 messages, and the mean has up to W·k numbers that
    are not zero: use it with few processes or small ratios.

    A number stays in the memory until it is among the largest. Momentum before compression, warm-up of the ratio and
    clipping of the local gradient (Lin et al. 2018) are not included.

    Mem-SGD: Stich, Cordonnier & Jaggi 2018, Algorithm 1    https://arxiv.org/abs/1809.07599
    Gradient dropping: Aji & Heafield 2017, Algorithm 1    https://arxiv.org/abs/1704.05021
    """

    papers = ("stich2018sparsified", "aji2017sparse")

    def __init__(self, ratio: float = 0.01) -> None:
        super().__init__()
        self.ratio = value_of("TopK: ratio", float, ratio)
        if not 0 < self.ratio <= 1:
            raise ValueError(f"TopK: ratio is {self.ratio:g}; it must be above 0 and at most 1, the part that is sent")

    def count(self, n: int) -> int:
        """How many of n numbers are sent."""
        return min(n, max(1, round(self.ratio * n)))

    def pack(self, p: Tensor, kind: torch.dtype) -> Tensor:
        places = p.abs().topk(self.count(p.numel()), sorted=False).indices  # a NaN counts as the largest
        return torch.cat([places.to(place_type(p)).view(torch.uint8), p[places].to(kind).view(torch.uint8)])

    def add(self, total: Tensor, message: Tensor, kind: torch.dtype, alpha: int = 1) -> None:
        at = self.count(total.numel()) * place_type(total).itemsize
        places, values = numbers(message[:at], place_type(total)), numbers(message[at:], kind)
        total.index_add_(0, places, values.to(total.dtype), alpha=alpha)

    def __repr__(self) -> str:
        return f"TopK(ratio={self.ratio:g})"


def place_type(p: Tensor) -> torch.dtype:
    """The integers that number the places of a tensor."""
    return torch.int32 if p.numel() < 2**31 else torch.int64
