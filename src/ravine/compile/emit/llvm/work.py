"""What runs the passes of a kernel over all tensors, on any number of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ravine.compile.emit.llvm.body import Body
from ravine.compile.expr import EVERY, HOST, SCALAR
from ravine.compile.plan import Kernel, Plan
from ravine.compile.storage import STOCHASTIC, WIDTH

CONTEXT = (
    "pointers",
    "sizes",
    "tensors",
    "total",
    "numbers",
    "sums",
    "partials",
    "columns",
    "first",
    "rows",
    "chunks",
    "chunk",
    "times",
    "clock",
    "next",
)
POINTERS = ("pointers", "sizes", "numbers", "sums", "partials", "columns", "first", "rows", "times", "clock")
TIMES = ("took", "busy")  # seconds of the last call: from its start to its end; its threads in `work`, added up
# of `sizes`, which has a row for each tensor: elements, elements before it, row of numbers, place among the parameters,
# elements of the whole parameter before this part of it, first block, first tile, first number of its tiles' columns,
# rows of a tile, tiles of a matrix, its three sizes, and those of the whole parameter that it is a part of
WHOLE = ("whole.b", "whole.r", "whole.c")
COLUMNS = ("n", "base", "row", "index", "offset", "block", "tile0", "column0", "tile", "tiles", "b", "r", "c", *WHOLE)
BLOCK = 4096  # elements that a partial sum covers
ALIGN = 16  # elements: threads meet at a multiple of this, so no two write one cache line


SIZES = ("n", "index", "offset", "block0", "tile0", "column0", "tile", "tiles", "b", "r", "c", *WHOLE, "lo", "hi")


def arguments(arrays: list[str], attribute: str = "") -> str:
    """What `inner` is given."""
    pointers = [
        f"ptr {attribute}%{a}" for a in [*(f"in.{a}" for a in arrays), "numbers", "sums", "partials", "columns"]
    ]
    return ", ".join([*pointers, *(f"i64 %{a}" for a in SIZES)])


def context(names: Iterable[str]) -> str:
    """Lines that load named fields of the context."""
    return "".join(
        f"  %ctx.{name} = getelementptr i64, ptr %ctx, i64 {CONTEXT.index(name)}\n"
        f"  %{name if name not in ('numbers', 'sums', 'partials', 'columns') else 'all.' + name} = "
        f"load {'ptr' if name in POINTERS else 'i64'}, ptr %ctx.{name}\n"
        for name in names
    )


NOW = f"""
define internal double @now(ptr %ctx) {{
{context(["clock"])}  %asked = icmp ne ptr %clock, null
  br i1 %asked, label %look, label %exit
look:
  %seconds = call double %clock()
  ret double %seconds
exit:
  ret double 0.0
}}"""


def tensor(plan: Plan, table: list[str], arrays: Iterable[str]) -> str:
    """Lines that load what is known of tensor %k: sizes, the addresses of its arrays, its numbers, its sums."""
    lines = [
        f"%s.offset = mul i64 %k, {len(COLUMNS)}",
        "%s.row = getelementptr i64, ptr %sizes, i64 %s.offset",
    ]
    for i, name in enumerate(COLUMNS):
        value = {"row": "number.row", "block": "block0"}.get(name, name)
        lines += [
            f"%size.{name} = getelementptr i64, ptr %s.row, i64 {i}",
            f"%{value} = load i64, ptr %size.{name}",
        ]
    for a in arrays:
        lines += [
            f"%column.{a} = mul i64 %tensors, {table.index(a)}",
            f"%place.{a} = add i64 %column.{a}, %k",
        ]
        lines += [
            f"%at.{a} = getelementptr ptr, ptr %pointers, i64 %place.{a}",
            f"%in.{a} = load ptr, ptr %at.{a}",
        ]
    lines += [
        f"%n.offset = mul i64 %number.row, {len(plan.numbers)}",
        "%numbers = getelementptr double, ptr %all.numbers, i64 %n.offset",
        f"%sum.offset = mul i64 %k, {len(plan.sums)}",
        "%sums = getelementptr double, ptr %all.sums, i64 %sum.offset",
    ]
    return "".join(f"  {line}\n" for line in lines)


def stretch(unit: int) -> str:
    """Which elements of a tensor belong to a chunk: whole units."""
    return f"""  %a0 = sub i64 %low, %base
  %a1 = call i64 @llvm.smax.i64(i64 %a0, i64 0)
  %a2 = add i64 %a1, {unit - 1}
  %a3 = and i64 %a2, {-unit}
  %lo = call i64 @llvm.smin.i64(i64 %a3, i64 %n)
  %b0 = sub i64 %high, %base
  %b1 = add i64 %b0, {unit - 1}
  %b2 = and i64 %b1, {-unit}
  %hi = call i64 @llvm.smin.i64(i64 %b2, i64 %n)
"""


TILES = """  %t0 = mul i64 %tile, %c
  %unit = call i64 @llvm.smax.i64(i64 %t0, i64 1)
  %less = sub i64 %unit, 1
  %all = mul i64 %b, %tiles
  %a0 = sub i64 %low, %base
  %a1 = call i64 @llvm.smax.i64(i64 %a0, i64 0)
  %a2 = add i64 %a1, %less
  %a3 = sdiv i64 %a2, %unit
  %lo = call i64 @llvm.smin.i64(i64 %a3, i64 %all)
  %b0 = sub i64 %high, %base
  %b1 = add i64 %b0, %less
  %b2 = sdiv i64 %b1, %unit
  %b3 = call i64 @llvm.smin.i64(i64 %b2, i64 %all)
  %whole = icmp sge i64 %b0, %n
  %hi = select i1 %whole, i64 %all, i64 %b3
"""  # the same for tiles: number j begins, as far as chunks go, at j units


# the same for touched rows of a sparse gradient: those that begin in the chunk. %rows has two addresses for each
# tensor: of the numbers of its rows, and of the addresses of their gradients
ROWS = """  %unit = call i64 @llvm.smax.i64(i64 %c, i64 1)
  %less = sub i64 %unit, 1
  %a0 = sub i64 %low, %base
  %a1 = call i64 @llvm.smax.i64(i64 %a0, i64 0)
  %a2 = add i64 %a1, %less
  %lo = sdiv i64 %a2, %unit
  %b0 = sub i64 %high, %base
  %b1 = call i64 @llvm.smin.i64(i64 %b0, i64 %n)
  %b2 = add i64 %b1, %less
  %hi = sdiv i64 %b2, %unit
"""


def whole(k: int, arrays: list[str]) -> str:
    """Call `inner` for a stretch of a tensor."""
    return f"  call void @inner{k}({arguments(arrays)})\n  br label %step\n"


def each_row(table: Mapping[str, str], k: int, arrays: list[str]) -> str:
    """Call `inner` for each touched row of a stretch, as for a tensor that is this row."""
    inside = "".join(
        f"  %bytes.{a} = mul i64 %row.offset, {WIDTH[table[a].rstrip('~').partition('+')[0]]}\n"
        f"  %row.in.{a} = getelementptr i8, ptr %in.{a}, i64 %bytes.{a}\n"
        for a in arrays
        if a != "g"
    )
    given = arguments(arrays).replace("%in.", "%row.in.").replace("%offset", "%row.offset")
    given = given.replace("%lo", "%zero").replace("%hi", "%c")
    return f"""  %two = mul i64 %k, 2
  %numbers.of.rows = getelementptr ptr, ptr %rows, i64 %two
  %row.numbers = load ptr, ptr %numbers.of.rows
  %gradients.of.rows = getelementptr ptr, ptr %numbers.of.rows, i64 1
  %row.gradients = load ptr, ptr %gradients.of.rows
  %zero = add i64 0, 0
  br label %row.head
row.head:
  %j = phi i64 [%lo, %call], [%j1, %row.head]
  %number.at = getelementptr i64, ptr %row.numbers, i64 %j
  %row.number = load i64, ptr %number.at
  %row.offset = mul i64 %row.number, %c
{inside}  %gradient.at = getelementptr ptr, ptr %row.gradients, i64 %j
  %row.in.g = load ptr, ptr %gradient.at
  call void @inner{k}({given})
  %j1 = add nuw nsw i64 %j, 1
  %row.more = icmp slt i64 %j1, %hi
  br i1 %row.more, label %row.head, label %step
"""


# Arithmetic on codes takes longer than their bytes: there the widest vectors pay, which LLVM avoids where a processor
# lowers its clock for them. `inner` becomes a part of `work`, so it is said there.
WIDEST = '"prefer-vector-width"="512" "min-legal-vector-width"="512" '


def work(plan: Plan, table: Mapping[str, str], k: int, arrays: list[str], part: str) -> str:
    """Claim chunks until none is left; in each, every stretch of a tensor goes to `inner`."""
    call = each_row(table, k, arrays) if part is ROWS else whole(k, arrays)
    width = WIDEST if any(table[a] in STOCHASTIC for a in arrays) else ""
    return f"""
define void @work{k}(ptr %ctx) {width}{{
entry:
{context(CONTEXT[:-2])}  %partials = getelementptr i8, ptr %all.partials, i64 0
  %columns = getelementptr i8, ptr %all.columns, i64 0
  %next = getelementptr i64, ptr %ctx, i64 {CONTEXT.index("next")}
  %began = call double @now(ptr %ctx)
  br label %claim
claim:
  %number = atomicrmw add ptr %next, i64 1 monotonic
  %any = icmp slt i64 %number, %chunks
  br i1 %any, label %start, label %exit
start:
  %low = mul i64 %number, %chunk
  %over = add i64 %low, %chunk
  %high = call i64 @llvm.smin.i64(i64 %over, i64 %total)
  %first.k = getelementptr i64, ptr %first, i64 %number
  %k0 = load i64, ptr %first.k
  br label %head
head:
  %k = phi i64 [%k0, %start], [%k1, %step]
  %inside = icmp slt i64 %k, %tensors
  br i1 %inside, label %tensor, label %claim
tensor:
{tensor(plan, list(table), arrays)}  %mine = icmp slt i64 %base, %high
  br i1 %mine, label %stretch, label %claim
stretch:
{part}  %some = icmp slt i64 %lo, %hi
  br i1 %some, label %call, label %step
call:
{call}step:
  %k1 = add i64 %k, 1
  br label %head
exit:
  %ended = call double @now(ptr %ctx)
  %spent = fsub double %ended, %began
  %busy = getelementptr double, ptr %times, i64 {TIMES.index("busy")}
  %so.far = atomicrmw fadd ptr %busy, double %spent monotonic
  ret void
}}"""


def finish(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """For each tensor: its sums from the partial sums, in order; its one-number states."""
    if not kernel.sums and not kernel.scalars:
        return f"\ndefine void @finish{k}(ptr %ctx) {{\n  ret void\n}}"
    b = Body(plan, dtypes)
    if kernel.scalars:
        b.numbers(x for x in plan.needs(kernel, kernel.after) if x.shape in (HOST, EVERY, SCALAR))
    for name, x in kernel.scalars:
        b.store(f"%in.{name}", dtypes[name], 0, b.value(x, wide=True), wide=True)
    states = [a for a, x in plan.start.items() if x.shape == SCALAR]
    count = len(kernel.sums)
    phis = "".join(f"  %acc{i} = phi double [0.0, %tensor], [%sum{i}, %add]\n" for i in range(count))
    adds = "".join(
        f"  %at{i} = getelementptr double, ptr %partial, i64 {i}\n"
        f"  %part{i} = load double, ptr %at{i}\n"
        f"  %sum{i} = fadd double %acc{i}, %part{i}\n"
        for i in range(count)
    )
    stores = "".join(
        f"  %to{i} = getelementptr double, ptr %sums, i64 {plan.sums.index(x)}\n  store double %acc{i}, ptr %to{i}\n"
        for i, x in enumerate(kernel.sums)
    )
    return f"""
define void @finish{k}(ptr %ctx) {{
entry:
{context(CONTEXT[:7])}  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %stored]
  %inside = icmp slt i64 %k, %tensors
  br i1 %inside, label %tensor, label %exit
tensor:
{tensor(plan, list(dtypes), states)}  %n.up = add i64 %n, {BLOCK - 1}
  %blocks = sdiv i64 %n.up, {BLOCK}
  br label %sum
sum:
  %j = phi i64 [0, %tensor], [%j1, %add]
{phis}  %left = icmp slt i64 %j, %blocks
  br i1 %left, label %add, label %stored
add:
  %block.j = add i64 %block0, %j
  %block.offset = mul i64 %block.j, {count}
  %partial = getelementptr double, ptr %all.partials, i64 %block.offset
{adds}  %j1 = add i64 %j, 1
  br label %sum
stored:
{stores}{b.take()}  %k1 = add i64 %k, 1
  br label %head
exit:
  ret void
}}"""


def finish_each(plan: Plan, table: list[str], k: int, count: int, arrays: list[str]) -> str:
    """For each tensor: the functions `after`, in order."""
    calls = "".join(f"  call void @after{k}.{i}({arguments(arrays)})\n" for i in range(count))
    return f"""
define void @finish{k}(ptr %ctx) {{
entry:
{context(CONTEXT[:8])}  %partials = getelementptr i8, ptr %all.partials, i64 0
  %columns = getelementptr i8, ptr %all.columns, i64 0
  %lo = add i64 0, 0
  %hi = add i64 0, 0
  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %tensor]
  %inside = icmp slt i64 %k, %tensors
  br i1 %inside, label %tensor, label %exit
tensor:
{tensor(plan, table, arrays)}{calls}  %k1 = add i64 %k, 1
  br label %head
exit:
  ret void
}}"""


def after_only(k: int) -> str:
    """A kernel without a pass: all of it is in `finish`."""
    return f"""
define void @work{k}(ptr %ctx) {{
  ret void
}}
define void @run{k}(ptr %ctx, i32 %threads, ptr %parallel) {{
  call void @finish{k}(ptr %ctx)
  ret void
}}"""


def run(k: int) -> str:
    """The whole kernel: on `threads` threads of the runtime behind `parallel`, or on the caller's own."""
    return f"""
define void @run{k}(ptr %ctx, i32 %threads, ptr %parallel) {{
entry:
{context(["times"])}  store <{len(TIMES)} x double> zeroinitializer, ptr %times, align 8
  %began = call double @now(ptr %ctx)
  %next = getelementptr i64, ptr %ctx, i64 {CONTEXT.index("next")}
  store i64 0, ptr %next
  %many = icmp sgt i32 %threads, 1
  br i1 %many, label %shared, label %alone
shared:
  call void %parallel(ptr @work{k}, ptr %ctx, i32 %threads, i32 0)
  br label %end
alone:
  call void @work{k}(ptr %ctx)
  br label %end
end:
  %ended = call double @now(ptr %ctx)
  %took = fsub double %ended, %began
  store double %took, ptr %times
  call void @finish{k}(ptr %ctx)
  ret void
}}"""
