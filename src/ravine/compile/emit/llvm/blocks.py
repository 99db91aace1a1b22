"""A kernel's pass where numbers are rounded stochastically, and states may have a scale for each block of them.

New numbers of such states wait in a buffer until their block is done and its scale known. What can be made of the
buffer is made with the codes: two short passes hide the time of roots and divisions better than a long one.

Both go in strips of 16 numbers, a vector of 512 bits. A loop of 16 becomes a few instructions without a loop, and
between two strips there is a place to ask for what lies ahead in memory. By itself a processor looks some 200
instructions ahead: enough where there is little arithmetic, but here three or four strips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ravine.compile.emit.llvm.arrays import coded, encode, hold, loads, recall, scales, steps, write
from ravine.compile.emit.llvm.body import FLAGS, Body
from ravine.compile.emit.llvm.elements import partials
from ravine.compile.emit.llvm.random_bits import keys, walk
from ravine.compile.emit.llvm.work import arguments
from ravine.compile.expr import EVERY, FULL, HOST, SCALAR
from ravine.compile.plan import Kernel, Plan
from ravine.compile.storage import BLOCK, EXTRA, WIDTH, beside

STRIP = 16  # numbers
AHEAD = 512  # prefetch distance, in elements


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over elements lo..hi of one tensor."""
    b, sums, writes = Body(plan, dtypes), kernel.sums, plan.codes(kernel, dtypes)
    reads = {a: x for a, x in plan.reads(kernel).items() if x.shape == FULL}
    held = {a: writes[a] for a in coded(dtypes, writes)}
    late = {a: x for a, x in writes.items() if held and a not in held}
    early = {a: x for a, x in writes.items() if a not in late}
    needs = plan.needs(kernel, [*kernel.summed, *early.values()])
    after = plan.needs(kernel, [*late.values()], held.values())

    def compute(at: str, lane: str) -> None:
        loads(b, {a: x for a, x in reads.items() if x in needs}, FULL, at)
        b.operations(needs, (FULL,))
        for a, x in early.items():
            if a in held:
                hold(b, a, at, lane, b.value(x))
            else:
                write(b, a, at, b.value(x))
        for i, x in enumerate(sums):
            to = b.put(f"getelementptr double, ptr %lanes{i}, i64 {lane}")
            sum = b.put(f"fadd {FLAGS} double {b.put(f'load double, ptr {to}')}, {b.summed(x.src[0])}")
            b.lines.append(f"store double {sum}, ptr {to}")

    def code(at: str, lane: str) -> None:
        recall(b, held, at)
        loads(b, {a: x for a, x in reads.items() if x in after and x not in b.name}, FULL, at)
        b.operations(after, (FULL,))
        for a, x in late.items():
            write(b, a, at, b.value(x))
        encode(b, held, at)

    lanes = {f"%most.{a}": "i32" for a in held} | {f"%lanes{i}": "double" for i in range(len(sums))}
    b.numbers(x for x in dict.fromkeys([*needs, *after]) if x.shape in (HOST, EVERY, SCALAR))
    keys(b, writes)
    b.lines += [f"%held.{a} = alloca {b.type}, i64 {BLOCK}, align 64" for a in held]
    b.lines += [f"{name} = alloca <{STRIP} x {t}>, align 64" for name, t in lanes.items()]
    head = b.take()
    steps(b, coded(dtypes, reads))
    b.lines += [f"store <{STRIP} x {t}> zeroinitializer, ptr {name}, align 64" for name, t in lanes.items()]
    block = b.take()
    first = [a for a, x in reads.items() if x in needs]
    computing = strips(b, "new", "%from", "%to", "done", [a for a in early if a not in held], first, compute)
    for name, t in lanes.items():
        b.lines.append(f"{name}.all = load <{STRIP} x {t}>, ptr {name}, align 64")
    for a in held:
        b.lines.append(f"%top.{a} = call i32 @llvm.vector.reduce.umax.v{STRIP}i32(<{STRIP} x i32> %most.{a}.all)")
    for i in range(len(sums)):
        add = f"@llvm.vector.reduce.fadd.v{STRIP}f64(double 0.0, <{STRIP} x double> %lanes{i}.all)"
        b.lines.append(f"%sum{i} = call reassoc {FLAGS} double {add}")
    if sums:
        partials(b, len(sums), several=True)
    scales(b, held)
    done = b.take()
    again = [a for a, x in reads.items() if x in after and x not in held.values()]
    coding = strips(b, "code", "%from", "%to", "coded", [*held, *late], again, code) if held else ""
    return f"""
define internal void @inner{k}({arguments(arrays, "noalias ")}) {{
entry:
{head}  br label %block
block:
  %from = phi i64 [%lo, %entry], [%to, %coded]
  %full = add i64 %from, {BLOCK}
  %short = icmp slt i64 %full, %hi
  %to = select i1 %short, i64 %full, i64 %hi
{block}  br label %new
{computing}done:
{done}  br label %{"code" if held else "coded"}
{coding}coded:
  br i1 %short, label %block, label %exit
exit:
  ret void
}}"""


Element = Callable[[str, str], None]  # writes what is done for an element, given its index and its lane in a strip


def strips(
    b: Body, name: str, low: str, high: str, then: str, random: list[str], reads: list[str], element: Element
) -> str:
    """The elements from low to high: whole strips, then what is left one by one. `random` are the arrays that are
    rounded stochastically, `reads` those that are read."""
    ahead(b, reads, f"%{name}.low")
    strip = loop(b, f"{name}.strip", f"%{name}.low", f"%{name}.high", f"{name}.end", random, element, "!0")
    rest = loop(b, f"{name}.rest", f"%{name}.whole", high, then, random, element, "!2")
    return f"""{name}:
  %{name}.count = sub i64 {high}, {low}
  %{name}.left = and i64 %{name}.count, {STRIP - 1}
  %{name}.whole = sub i64 {high}, %{name}.left
  %{name}.some = icmp slt i64 {low}, %{name}.whole
  br i1 %{name}.some, label %{name}.begin, label %{name}.over
{name}.begin:
  %{name}.low = phi i64 [{low}, %{name}], [%{name}.high, %{name}.end]
  %{name}.high = add nuw nsw i64 %{name}.low, {STRIP}
  br label %{name}.strip
{strip}{name}.end:
  %{name}.more = icmp slt i64 %{name}.high, %{name}.whole
  br i1 %{name}.more, label %{name}.begin, label %{name}.over
{name}.over:
  %{name}.any = icmp slt i64 %{name}.whole, {high}
  br i1 %{name}.any, label %{name}.rest, label %{then}
{rest}"""


def loop(b: Body, name: str, low: str, high: str, then: str, random: list[str], element: Element, how: str) -> str:
    """One loop over elements; `how` it is to be compiled."""
    i, known, at = f"%{name}.i", dict(b.name), b.at
    walked, walking = walk(b, random, i[1:], low, (name, f"{name}.loop"))
    before = b.take()
    b.at = i
    element(i, b.put(f"sub i64 {i}, {low}"))
    b.name, b.at = known, at
    return f"""{name}:
{before}  br label %{name}.loop
{name}.loop:
  {i} = phi i64 [{low}, %{name}], [{i}.next, %{name}.loop]
{walked}{walking}{b.take()}  {i}.next = add nuw nsw i64 {i}, 1
  {i}.more = icmp slt i64 {i}.next, {high}
  br i1 {i}.more, label %{name}.loop, label %{then}, !llvm.loop {how}
"""


def ahead(b: Body, reads: Iterable[str], at: str) -> None:
    """Ask for what the strip that lies AHEAD will read. Nothing happens where that is no memory."""
    for a in reads:
        part = beside(a, b.dtypes[a])
        for x in [a, part] if part and b.dtypes[a] in EXTRA else [a]:
            size = WIDTH[b.dtypes[x].rstrip("~").partition("+")[0]]
            there = b.put(f"mul i64 {b.put(f'add i64 {at}, {AHEAD}')}, {size}")
            there = b.put(f"getelementptr i8, ptr %in.{x}, i64 {there}")
            b.lines.append(f"call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 3, i32 1)")  # to read, to keep, data
