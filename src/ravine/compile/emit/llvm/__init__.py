"""The CPU: each Kernel of a plan becomes LLVM IR that walks a table of pointers, one call for all tensors.

A kernel is a few functions. `inner` is the rule over a stretch of one tensor (elements.py; blocks.py with stochastic
rounding, rows.py where it looks at rows and columns). `work` claims chunks of the whole model from a shared counter and
calls `inner` on each stretch; any number of threads may run it at once. `finish` adds up the sums of the blocks and
writes the states that are one number per tensor. `run` is all of it, on the threads of the OpenMP runtime
whose GOMP_parallel it is given; it notes how long that took, and `work` how long its threads worked. Sums are made in
blocks of fixed size and added in a fixed order, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.llvm import blocks, elements, rows
from ravine.compile.emit.llvm.body import DECLARE, NOTES, constant
from ravine.compile.emit.llvm.functions import CONSTANTS, NORMAL, cbrt
from ravine.compile.emit.llvm.random_bits import KEY
from ravine.compile.emit.llvm.work import ALIGN as ALIGN
from ravine.compile.emit.llvm.work import BLOCK as BLOCK
from ravine.compile.emit.llvm.work import COLUMNS as COLUMNS
from ravine.compile.emit.llvm.work import CONTEXT as CONTEXT
from ravine.compile.emit.llvm.work import NOW, ROWS, TILES, after_only, finish, finish_each, run, stretch, work
from ravine.compile.emit.llvm.work import TIMES as TIMES
from ravine.compile.expr import ROW, walk
from ravine.compile.plan import Kernel, Plan
from ravine.compile.storage import STOCHASTIC, beside


def emit(plan: Plan, dtypes: Mapping[str, str], touched: bool = False) -> str:
    """The IR of every kernel of the plan; `dtypes` names the kind of each array, in table order. touched: the kernels
    walk the rows that sparse gradients reach."""
    kernels = [part for i, k in enumerate(plan.kernels) for part in functions(plan, dtypes, k, i, touched)]
    return "\n".join([*kernels, *called(plan, dtypes), NOW, *DECLARE, *NOTES, ""])


def functions(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, by_row: bool) -> list[str]:
    """The functions of kernel number k."""
    touched = {*plan.reads(kernel), *plan.writes(kernel), *(plan.between[x] for x in kernel.sums if x.shape == ROW)}
    touched |= {part for a in touched if (part := beside(a, dtypes[a]))}
    table = list(dtypes)
    arrays = [a for a in table if a in touched]
    if plan.rowwise(kernel):
        after, given = rows.after(plan, dtypes, kernel, k)
        ending = [after, finish_each(plan, table, k, after.count("define"), given)]
        if not kernel.sweeps:
            return [*ending, after_only(k)]
        return [
            rows.inner(plan, dtypes, kernel, k, arrays),
            work(plan, dtypes, k, arrays, TILES),
            *ending,
            run(k),
        ]
    if not kernel.sweeps:
        return [finish(plan, dtypes, kernel, k), after_only(k)]
    inner = blocks.inner if any(dtypes[a] in STOCHASTIC for a in touched) else elements.inner
    return [
        inner(plan, dtypes, kernel, k, arrays),
        work(plan, dtypes, k, arrays, ROWS if by_row else stretch(elements.unit(plan, dtypes, kernel))),
        finish(plan, dtypes, kernel, k),
        run(k),
    ]


def called(plan: Plan, dtypes: Mapping[str, str]) -> list[str]:
    """The definitions of the functions that the kernels call."""
    ops = {x.op for x in walk(plan.outputs.values())}
    out = [cbrt("double"), cbrt("float")] if "cbrt" in ops else []
    if plan.chance:
        out.append(KEY)
    if "normal" in ops:
        text = NORMAL
        for name, x in CONSTANTS.items():
            text = text.replace(f"{{{name}}}", constant(x, "float"))
        out.append(text)
    return out
