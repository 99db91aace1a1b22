"""Messages as they travel between processes: tensors as numpy arrays, which cost least to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.parallel.server.message import Push, Reply

AS = {torch.bfloat16: torch.int16}  # what numpy does not have


def packed(message: Any) -> Any:
    """A request or a reply for the wire."""
    if isinstance(message, Push | Reply) and message.tensors is not None:
        return replace(message, tensors=[array(x) for x in message.tensors])
    return message


def unpacked(message: Any, dtypes: Sequence[torch.dtype]) -> Any:
    """A request or a reply from the wire, for a shard whose pieces have these types."""
    if isinstance(message, Push | Reply) and message.tensors is not None:
        arrays: Sequence[Any] = message.tensors
        return replace(message, tensors=[tensor(x, dtype) for x, dtype in zip(arrays, dtypes, strict=True)])
    return message


def array(x: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as numpy's."""
    x = x.detach().cpu().contiguous()
    return x.view(AS.get(x.dtype, x.dtype)).numpy()


def tensor(x: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """The tensor again; what cannot be written to, as Ray's arrays, is copied."""
    return torch.from_numpy(x if x.flags.writeable else x.copy()).view(dtype)
