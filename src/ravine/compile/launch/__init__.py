"""Bind a plan to the tensors of a model and run it, once per step. One file per backend."""

from importlib import import_module

import torch

from ravine.compile.launch.base import Bound, Launch
from ravine.compile.plan import Plan

BACKENDS = {"llvm": "LLVM", "triton": "Triton", "reference": "Reference"}


def backend_for(device: torch.device) -> str:
    """llvm on the CPU, triton on CUDA, reference elsewhere."""
    return {"cpu": "llvm", "cuda": "triton"}.get(device.type, "reference")


def launch(backend: str, plan: Plan, bound: list[Bound]) -> Launch:
    """A plan bound to tensors, to be run by the named backend."""
    module = import_module(f"ravine.compile.launch.{backend}")
    return getattr(module, BACKENDS[backend])(plan, bound)


__all__ = ["BACKENDS", "Bound", "Launch", "backend_for", "launch"]
