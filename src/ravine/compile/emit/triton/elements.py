"""A kernel's pass over elements that do not ask where in the tensor they lie."""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.triton.arrays import keys, load, store
from ravine.compile.emit.triton.body import COLUMNS, JIT, TABLES, Body
from ravine.compile.expr import FULL
from ravine.compile.plan import Kernel, Plan


def elements(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """The rule over one block of one tensor."""
    b, writes = Body(plan, dtypes, "start + i"), plan.codes(kernel, dtypes)
    needs = plan.needs(kernel, [*kernel.summed, *writes.values()])
    reads = {a: x for a, x in plan.reads(kernel).items() if x.shape == FULL}
    b.lines.append("i = tl.arange(0, BLOCK)")
    at = b.pointers([*reads, *writes])
    whole = [place for a, place in at.items() if not a.endswith(".scale")]
    b.lines += [f"{place} += start" for place in whole]
    b.lines += ["if FAST:", *(f"    {place} = tl.multiple_of({place}, 16)" for place in whole), "    ok = None"]
    b.lines += ["else:", "    ok = i < n - start"]
    for array, x in reads.items():  # all loads stand first, so that they are on their way together
        load(b, array, x, at, "i", ", ok")
    b.numbers(needs)
    keys(b, writes)
    b.operations(needs, (FULL,))
    for array, x in writes.items():
        store(b, array, x, at, "i", ", ok")
    for i, x in enumerate(kernel.sums):
        b.lines += [f"sum{i} = {b.summed(x.src[0])}", "if not FAST:", f"    sum{i} = tl.where(ok, sum{i}, 0.0)"]
        b.lines.append(f"tl.store(partials + {len(kernel.sums)} * program + {i}, tl.sum(sum{i}, 0))")
    return b.function(f"elements{k}({TABLES}, program, k, n, start, BLOCK: tl.constexpr, FAST: tl.constexpr)")


def kernel(dtypes: Mapping[str, str], k: int) -> str:
    """The launch: which block of which tensor, and which form of `elements` it may take."""
    return f"""
{JIT}
def kernel{k}({TABLES}, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    k = tl.load(blocks + 2 * program)
    start = tl.load(blocks + 2 * program + 1).to(tl.int64) * BLOCK
    n = tl.load(sizes + {len(COLUMNS)} * k)
    aligned = tl.load(pointers + {len(dtypes)} * tensors + k) != 0
    if aligned & (start + BLOCK <= n):
        elements{k}({TABLES}, program, k, n, start, BLOCK, True)
    else:
        elements{k}({TABLES}, program, k, n, start, BLOCK, False)
"""


def finish(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """For each tensor: its sums from the partial sums, in order; its one-number states."""
    b, count = Body(plan, dtypes), len(kernel.sums)
    b.lines.append("k = tl.program_id(0)")
    if kernel.sums:
        b.sizes(("n", "block"))
        b.lines += ["i = tl.arange(0, BLOCK)", "count = (n + BLOCK - 1) // BLOCK"]
        b.lines += [f"sum{i} = tl.zeros((BLOCK,), tl.float64)" for i in range(count)]
        b.lines += ["j = 0", "while j < count:"]  # `range` of a loaded number fails in some releases' interpreter
        at = f"partials + {count} * (block + j + i)"
        b.lines += [f"    sum{i} += tl.load({at} + {i}, j + i < count, 0.0)" for i in range(count)]
        b.lines.append("    j += BLOCK")
    for i, x in enumerate(kernel.sums):
        b.lines.append(f"tl.store(sums + {len(plan.sums)} * k + {plan.sums.index(x)}, tl.sum(sum{i}, 0))")
    if kernel.scalars:
        b.numbers(plan.needs(kernel, kernel.after))
    for name, x in kernel.scalars:  # after all loads: a state may become what another was
        b.store(b.pointer(name), name, x, wide=True)
    return b.function(f"finish{k}({TABLES}, BLOCK: tl.constexpr)")
