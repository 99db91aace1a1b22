"""Messages as they travel between processes: tensors as numpy arrays, which cost least to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.parallel.server.message import Push, Reply

AS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # by bytes of a number: how what numpy does not have travels
OWN = {"float64", "float32", "float16", "complex64", "complex128", "int64", "int32", "int16", "int8", "uint8", "bool"}


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
    return (x if str(x.dtype).removeprefix("torch.") in OWN else x.view(AS[x.dtype.itemsize])).numpy()


def tensor(x: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """The tensor again; what cannot be written to, as Ray's arrays, is copied."""
    return torch.from_numpy(x if x.flags.writeable else x.copy()).view(dtype)
