"""Targets that a model draws, as likely as it says."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def chance(seed: int, step: int, call: int, group: Any, device: torch.device) -> torch.Generator:
    """Random numbers of a call in a step, others in each process of those that train one model."""
    rank = dist.get_rank() if group is not False and dist.is_available() and dist.is_initialized() else 0
    mixed = ((seed * 1_000_003 + step) * 1_000_003 + rank) * 1_009 + call
    return torch.Generator(device).manual_seed(mixed % 2**63)


def classes(logits: Tensor, chance: torch.Generator) -> Tensor:
    """A class for each row of logits (rows, classes)."""
    gumbel = -torch.empty_like(logits).exponential_(generator=chance).log()
    return (logits + gumbel).argmax(1)
