"""CUDA: each Kernel of a plan becomes Triton source that runs over all tensors in one launch.

A kernel is up to three functions. `kernel` is the launch: one program for a block of one tensor, found through a
table of (tensor, block). `elements` is the rule over that block; it is compiled twice, FAST for whole blocks of
arrays that begin at multiples of 16 bytes (no mask, 16 bytes a load) and once for the rest. `finish`, one program
for a tensor, adds up what the blocks left and writes the states that are one number per tensor. A block leaves one
partial sum and they are added in a fixed order, so results do not depend on the order in which blocks ran.

Where a kernel looks at rows and columns, programs take tiles of whole rows instead, and several `finish` follow
one after the other (rows.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.triton import elements, prologue, rows
from ravine.compile.emit.triton.body import BLOCK as BLOCK
from ravine.compile.emit.triton.body import COLUMNS as COLUMNS
from ravine.compile.emit.triton.functions import called
from ravine.compile.expr import walk
from ravine.compile.plan import Plan


def emit(plan: Plan, dtypes: Mapping[str, str], interpreted: bool = False, recorded: bool = False) -> str:
    """The source of every kernel of the plan; `dtypes` names the kind of each array, in table order.

    recorded: with what the host does otherwise (prologue.py).
    """
    parts = ["import triton\nimport triton.language as tl\n"]
    parts += called({x.op for x in walk(plan.outputs.values())}, dtypes.values(), interpreted)
    for i, k in enumerate(plan.kernels):
        if plan.rowwise(k):
            made = [rows.rows(plan, dtypes, k, i), rows.kernel(i)] if k.sweeps else []
            made += rows.after(plan, dtypes, k, i)
        else:
            made = [elements.elements(plan, dtypes, k, i), elements.kernel(dtypes, i)] if k.sweeps else []
            made += [elements.finish(plan, dtypes, k, i)] * bool(k.sums or k.scalars)
        parts += map(prologue.gated, made) if recorded and k is plan.kernels[-1] else made
    return "\n".join([*parts, *([prologue.emit(plan)] * recorded)])
