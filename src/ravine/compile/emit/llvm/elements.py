"""A kernel's pass over elements that do not ask where in the tensor they lie."""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.llvm.arrays import coded, loads, write
from ravine.compile.emit.llvm.body import FLAGS, Body
from ravine.compile.emit.llvm.random_bits import keys, walk
from ravine.compile.emit.llvm.work import ALIGN, BLOCK, arguments
from ravine.compile.expr import EVERY, FULL, HOST, SCALAR
from ravine.compile.plan import Kernel, Plan
from ravine.compile.storage import BLOCK as SCALED  # numbers that share a scale


def unit(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel) -> int:
    """Threads share a tensor at multiples of so many elements."""
    if kernel.sums:
        return BLOCK
    return SCALED if coded(dtypes, [*plan.reads(kernel), *plan.writes(kernel)]) else ALIGN


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over elements lo..hi of one tensor: in one go, or block by block where it sums."""
    b, sums = Body(plan, dtypes), kernel.sums
    writes = plan.writes(kernel)
    needs = plan.needs(kernel)
    b.numbers(x for x in needs if x.shape in (HOST, EVERY, SCALAR))
    keys(b, writes)
    head = b.take()
    walked, walking = walk(b, writes, "i", "%from", ("block", "loop"))
    block = b.take()
    loads(b, plan.reads(kernel), FULL, "%i")
    b.operations(needs, (FULL,))
    for array, x in writes.items():
        write(b, array, "%i", b.value(x))
    for i, x in enumerate(sums):
        b.lines.append(f"%sum{i} = fadd reassoc {FLAGS} double %acc{i}, {b.summed(x.src[0])}")
    body = walking + b.take()
    phis = walked + "".join(f"  %acc{i} = phi double [0.0, %block], [%sum{i}, %loop]\n" for i in range(len(sums)))
    if sums:
        partials(b, len(sums))
    return f"""
define internal void @inner{k}({arguments(arrays, "noalias ")}) {{
entry:
{head}  br label %block
block:
  %from = phi i64 [%lo, %entry], [%to, %done]
  %full = add i64 %from, {BLOCK if sums else 1 << 62}
  %short = icmp slt i64 %full, %hi
  %to = select i1 %short, i64 %full, i64 %hi
{block}  br label %loop
loop:
  %i = phi i64 [%from, %block], [%i1, %loop]
{phis}{body}  %i1 = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %i1, %to
  br i1 %more, label %loop, label %done, !llvm.loop !0
done:
{b.take()}  br i1 %short, label %block, label %exit
exit:
  ret void
}}"""


def partials(b: Body, count: int, several: bool = False) -> None:
    """Store the sums of a block. `several`: this is only a part of it, and is added to what the parts before left."""
    within = b.put(f"sdiv i64 %from, {BLOCK}")
    first = b.put(f"mul i64 {b.put(f'add i64 {within}, %block0')}, {count}")
    begun = b.put(f"icmp ne i64 {b.put(f'and i64 %from, {BLOCK - 1}')}, 0") if several else ""
    for i in range(count):
        at, x = b.put(f"add i64 {first}, {i}"), f"%sum{i}"
        if several:
            before = b.put(f"select i1 {begun}, double {b.load('%partials', 'float64', at, wide=True)}, double 0.0")
            x = b.put(f"fadd double {before}, {x}")
        b.store("%partials", "float64", at, x, wide=True)
