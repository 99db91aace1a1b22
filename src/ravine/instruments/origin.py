"""Where a NaN comes from: the batch is run again, and the first module whose output has one is named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def floats(tree: Any) -> Iterator[Tensor]:
    """The tensors of real or complex numbers in what a module takes or returns."""
    leaves = [tree] if isinstance(tree, Tensor) else tree_leaves(tree)
    return (x for x in leaves if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex()))


def finite(tree: Any) -> bool:
    """True if no number is NaN or infinite. A finite sum is proof, and needs no memory; sums may also overflow."""
    return all(math.isfinite(abs(x.detach().sum().item())) or bool(x.detach().isfinite().all()) for x in floats(tree))


@torch.no_grad()
def origin(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the module that makes the first NaN or infinity out of finite inputs, and what is known of it.

    Runs `model.forward` once more with hooks on every module. Buffers and random numbers are afterwards as before,
    but dropout drops others this time: what came by chance may not come again.
    """
    if not finite((args, kwargs)):
        return "", "the batch that the model was given has NaN or infinite numbers"
    found: list[tuple[str, str]] = []
    names = {module: name for name, module in model.named_modules() if module is not model}

    def look(module: nn.Module, inputs: Any, given: Any, out: Any) -> None:
        if found or finite(out):
            return
        name = names[module]
        if bad := [k for k, p in module.named_parameters(recurse=False) if not finite(p)]:
            found.append((name, f"its {' and '.join(bad)} had NaN or infinite numbers already"))
        elif finite((inputs, given)):
            found.append((name, "its inputs and its own weights are finite, its output is not"))
        else:  # made by a line of code between two modules
            found.append((name, "it was given NaN or infinite numbers, which no module before it has made"))

    handles = [module.register_forward_hook(look, with_kwargs=True) for module in names]
    buffers = [(x, x.clone()) for x in model.buffers()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices):
            out = model.forward(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for x, old in buffers:
            x.copy_(old)
    if found:
        return found[0]
    if not finite(out):
        return "", "the modules' outputs are finite; the model's own forward makes it of them"
    return "", "it did not come again when the same batch was run a second time, as with dropout"
