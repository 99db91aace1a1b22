"""Bind a plan to the tensors of a model and run it, once per step. One file per backend."""

import torch

from ravine.compile.launch.base import Bound, Changed, Launch
from ravine.compile.launch.llvm import LLVM
from ravine.compile.launch.reference import Reference
from ravine.compile.plan import Plan

BACKENDS = ("llvm", "triton", "reference")


def backend_for(device: torch.device) -> str:
    """llvm on the CPU, triton on CUDA, reference elsewhere."""
    return {"cpu": "llvm", "cuda": "triton"}.get(device.type, "reference")


def launch(backend: str, plan: Plan, bound: list[Bound]) -> Launch:
    """A plan bound to tensors, to be run by the named backend."""
    if backend == "triton":
        from ravine.compile.launch.triton import Triton

        return Triton(plan, bound)
    return {"llvm": LLVM, "reference": Reference}[backend](plan, bound)


__all__ = ["BACKENDS", "Bound", "Changed", "Launch", "backend_for", "launch"]
