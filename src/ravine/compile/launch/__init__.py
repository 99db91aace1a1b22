"""Bind a plan to the tensors of a model and run it, once per step. One file per backend."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.geometry import local
from ravine.compile.launch.base import Bound, Changed
from ravine.compile.launch.llvm import LLVM
from ravine.compile.launch.phases import Launch
from ravine.compile.launch.pieces import LLVMRuns
from ravine.compile.launch.reference import Reference
from ravine.compile.launch.rows import LLVMRows, ReferenceRows, apart, elementwise, separable
from ravine.compile.plan import Plan

BACKENDS = ("llvm", "triton", "reference")


def backend_for(device: torch.device) -> str:
    """llvm on the CPU, triton on CUDA, reference elsewhere."""
    return {"cpu": "llvm", "cuda": "triton"}.get(device.type, "reference")


def backend_of(p: Tensor) -> str:
    """The fastest for a parameter; one that wraps other tensors, or is fake, is left to torch's operations."""
    x = local(p)
    return "reference" if hasattr(x, "__tensor_flatten__") or isinstance(x, FakeTensor) else backend_for(x.device)


def launch(backend: str, plan: Plan, bound: list[Bound], sparse: bool = False, recorded: bool = False) -> Launch:
    """A plan bound to tensors, to be run by the named backend. sparse: the gradients reach some rows only.
    recorded: the host has no part in a step."""
    if recorded:
        from ravine.compile.launch.recorded import Recorded

        return Recorded(plan, bound)
    kind = "rows" if sparse else "runs" if plan.draws and any(b.extent.offset is None for b in bound) else "whole"
    if backend == "reference" or (kind == "runs" and not separable(plan)):  # a run is no tensor to sum over
        return (ReferenceRows if sparse else Reference)(plan, bound)
    if backend == "triton":
        from ravine.compile.launch.triton import Triton
        from ravine.compile.launch.triton_pieces import TritonRows, TritonRuns

        return {"rows": TritonRows, "runs": TritonRuns, "whole": Triton}[kind](plan, bound)
    return {"rows": LLVMRows, "runs": LLVMRuns, "whole": LLVM}[kind](plan, bound)


__all__ = [
    "BACKENDS",
    "Bound",
    "Changed",
    "Launch",
    "apart",
    "backend_for",
    "backend_of",
    "elementwise",
    "launch",
    "separable",
]
