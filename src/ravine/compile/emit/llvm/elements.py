"""A kernel's pass over elements that do not ask where in the tensor they lie."""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.llvm.body import FLAGS, Body
from ravine.compile.emit.llvm.work import BLOCK, arguments
from ravine.compile.expr import EVERY, FULL, HOST, SCALAR
from ravine.compile.plan import Kernel, Plan


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over elements lo..hi of one tensor; where it sums, block by block."""
    b, needs, sums = Body(plan, dtypes), plan.needs(kernel), kernel.sums
    b.numbers(x for x in needs if x.shape in (HOST, EVERY, SCALAR))
    head = b.take()
    b.array_loads(plan.reads(kernel), FULL, "%i")
    b.operations(needs, (FULL,))
    for array, x in plan.writes(kernel).items():
        b.store(f"%in.{array}", dtypes[array], "%i", b.value(x))
    for i, x in enumerate(sums):
        b.lines.append(f"%sum{i} = fadd reassoc {FLAGS} {b.type} %acc{i}, {b.value(x.src[0])}")
    body = b.take()
    accumulators = "".join(f"  %acc{i} = phi {b.type} [0.0, %block], [%sum{i}, %loop]\n" for i in range(len(sums)))
    if sums:
        within = b.put(f"sdiv i64 %from, {BLOCK}")
        block = b.put(f"add i64 {within}, %block0")
        first = b.put(f"mul i64 {block}, {len(sums)}")
        for i in range(len(sums)):
            b.store("%partials", "float64", b.put(f"add i64 {first}, {i}"), f"%sum{i}")
    return f"""
define internal void @inner{k}({arguments(arrays, "noalias ")}) {{
entry:
{head}  br label %block
block:
  %from = phi i64 [%lo, %entry], [%to, %done]
  %full = add i64 %from, {BLOCK if sums else 1 << 62}
  %short = icmp slt i64 %full, %hi
  %to = select i1 %short, i64 %full, i64 %hi
  br label %loop
loop:
  %i = phi i64 [%from, %block], [%i1, %loop]
{accumulators}{body}  %i1 = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %i1, %to
  br i1 %more, label %loop, label %done, !llvm.loop !0
done:
{b.take()}  br i1 %short, label %block, label %exit
exit:
  ret void
}}"""
