"""A kernel's pass over elements that do not ask where in the tensor they lie."""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.emit.llvm.arrays import coded, encode, inverses, loads, recall, scales, steps, write
from ravine.compile.emit.llvm.body import FLAGS, Body
from ravine.compile.emit.llvm.chance import keys, walk
from ravine.compile.emit.llvm.work import ALIGN, BLOCK, arguments
from ravine.compile.expr import EVERY, FULL, HOST, SCALAR, Expr
from ravine.compile.plan import Kernel, Plan
from ravine.compile.storage import BLOCK as SCALED  # numbers that share a scale

HELD = 4  # blocks of states with scales that wait together: 4 KiB for each state


def unit(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel) -> int:
    """Threads share a tensor at multiples of so many elements."""
    if kernel.sums:
        return BLOCK
    return SCALED if coded(dtypes, [*plan.reads(kernel), *plan.writes(kernel)]) else ALIGN


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over elements lo..hi of one tensor: in one go, or block by block where it sums or where states have
    scales. New numbers of such states wait in a buffer until their block is done and its scale known; a few blocks are
    computed before the first of them is encoded, so that nothing waits for a scale. What can be made of the buffer is
    made with the codes: two short passes hide the time of roots and divisions better than a long one."""
    b, sums, reads = Body(plan, dtypes), kernel.sums, plan.reads(kernel)
    writes = plan.codes(kernel, dtypes)
    read, held = coded(dtypes, reads), {a: writes[a] for a in coded(dtypes, writes)}
    late = {a: x for a, x in writes.items() if held and a not in held}
    after = plan.needs(kernel, [*late.values()], held.values())
    if any(reads[a] in after and reads[a] not in held.values() for a in read):  # by then there are new codes
        late, after = {}, []
    early = {a: x for a, x in writes.items() if a not in late}
    needs = plan.needs(kernel, [*(x.src[0] for x in sums), *early.values()])
    length = SCALED if read or held else BLOCK if sums else 1 << 62
    b.numbers(x for x in dict.fromkeys([*needs, *after]) if x.shape in (HOST, EVERY, SCALAR))
    keys(b, writes)
    b.lines += [f"%held.{a} = alloca {b.type}, i64 {HELD * SCALED}, align 64" for a in held]
    b.lines += [f"%inverses.{a} = alloca float, i64 {HELD}" for a in held]
    head, numbers = b.take(), dict(b.name)
    steps(b, read)
    walked, walking = walk(b, [a for a in early if a not in held], "i", "%from", ("block", "loop"))
    block = b.take()
    loads(b, {a: x for a, x in reads.items() if x in needs}, FULL, "%i")
    b.operations(needs, (FULL,))
    for array, x in early.items():
        write(b, array, "%i", b.value(x))
    for i, x in enumerate(sums):
        b.lines.append(f"%sum{i} = fadd reassoc {FLAGS} {b.type} %acc{i}, {b.value(x.src[0])}")
    body = walking + b.take()
    phis = walked + "".join(f"  %acc{i} = phi {b.type} [0.0, %block], [%sum{i}, %loop]\n" for i in range(len(sums)))
    phis += "".join(f"  %max.{a} = phi i32 [0, %block], [%top.{a}, %loop]\n" for a in held)
    if sums:
        partials(b, len(sums), several=length < BLOCK)
    scales(b, held)
    done = b.take()
    b.name, b.at = numbers, "%e"
    return f"""
define internal void @inner{k}({arguments(arrays, "noalias ")}) {{
entry:
{head}  br label %group
group:
  %low = phi i64 [%lo, %entry]{", [%high, %coded]" if held else ""}
  %far = add i64 %low, {HELD * length if held else 1 << 62}
  %left = icmp slt i64 %far, %hi
  %high = select i1 %left, i64 %far, i64 %hi
  br label %block
block:
  %from = phi i64 [%low, %group], [%to, %done]
  %full = add i64 %from, {length}
  %short = icmp slt i64 %full, %high
  %to = select i1 %short, i64 %full, i64 %high
{block}  br label %loop
loop:
  %i = phi i64 [%from, %block], [%i1, %loop]
{phis}{body}  %i1 = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %i1, %to
  br i1 %more, label %loop, label %done, !llvm.loop !0
done:
{done}  br i1 %short, label %block, label %{"code.block" if held else "exit"}
{coding(b, kernel, held, late, after)}exit:
  ret void
}}"""


def coding(b: Body, kernel: Kernel, held: Mapping[str, Expr], late: Mapping[str, Expr], needs: list[Expr]) -> str:
    """The blocks from %low to %high once more: from the buffers to codes, and to what else is made of their numbers."""
    if not held:
        return ""
    b.lines += ["%c.up = sub i64 %c.from, %low", f"%c.at = lshr i64 %c.up, {SCALED.bit_length() - 1}"]
    inverses(b, held)
    walked, walking = walk(b, [*held, *late], "e", "%c.from", ("code.block", "code"))
    head = b.take()
    recall(b, held, "%e")
    loads(b, {a: x for a, x in b.plan.reads(kernel).items() if x in needs and x not in b.name}, FULL, "%e")
    b.operations(needs, (FULL,))
    for array, x in late.items():
        write(b, array, "%e", b.value(x))
    encode(b, held)
    return f"""code.block:
  %c.from = phi i64 [%low, %done], [%c.to, %code.done]
  %c.full = add i64 %c.from, {SCALED}
  %c.short = icmp slt i64 %c.full, %high
  %c.to = select i1 %c.short, i64 %c.full, i64 %high
{head}  br label %code
code:
  %e = phi i64 [%c.from, %code.block], [%e1, %code]
{walked}{walking}{b.take()}  %e1 = add nuw nsw i64 %e, 1
  %e.more = icmp slt i64 %e1, %c.to
  br i1 %e.more, label %code, label %code.done, !llvm.loop !0
code.done:
  br i1 %c.short, label %code.block, label %coded
coded:
  br i1 %left, label %group, label %exit
"""


def partials(b: Body, count: int, several: bool) -> None:
    """Store the sums of a block. `several`: this is only a part of it, and is added to what the parts before left."""
    within = b.put(f"sdiv i64 %from, {BLOCK}")
    first = b.put(f"mul i64 {b.put(f'add i64 {within}, %block0')}, {count}")
    begun = b.put(f"icmp ne i64 {b.put(f'and i64 %from, {BLOCK - 1}')}, 0") if several else ""
    for i in range(count):
        at, x = b.put(f"add i64 {first}, {i}"), f"%sum{i}"
        x = b.put(f"fpext float {x} to double") if b.type == "float" else x
        if several:
            before = b.put(f"select i1 {begun}, double {b.load('%partials', 'float64', at, wide=True)}, double 0.0")
            x = b.put(f"fadd double {before}, {x}")
        b.store("%partials", "float64", at, x, wide=True)
