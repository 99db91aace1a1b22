"""A kernel's pass, and what follows it, where a rule looks at rows and columns.

The pass goes tile by tile: some rows of one matrix of one tensor. A row's sums are whole when the row is; a tile
leaves one partial sum for the tensor and one for each column. `after` adds those up in order, makes what is made of
the numbers of rows and columns, and writes the states that are such numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ravine.compile.emit.llvm.arrays import loads, write
from ravine.compile.emit.llvm.body import FLAGS, IDENTITY, SUFFIX, Body
from ravine.compile.emit.llvm.random_bits import keys
from ravine.compile.emit.llvm.work import arguments
from ravine.compile.expr import BATCH, COL, COMPARE, EVERY, FULL, HOST, ROW, SCALAR, VECTORS, Expr, Shape
from ravine.compile.plan import Kernel, Plan, wide_sum

NUMBERS = (HOST, EVERY, SCALAR)


def combine(x: Expr, t: str, a: str, b: str) -> str:
    """The sum or the larger of two numbers."""
    if x.op == "sum":
        return f"fadd reassoc {FLAGS} {t} {a}, {b}"
    return f"call {FLAGS} {t} @llvm.maximum.{SUFFIX[t]}({t} {a}, {t} {b})"


def as_double(t: str, name: str, x: str) -> str:
    """A line that makes a double of a number of the elements' type."""
    return f"  {name} = {'fpext float ' + x + ' to double' if t == 'float' else f'fadd double {x}, -0.0'}\n"


def wide(b: Body, reads: Mapping[str, Expr], needs: Iterable[Expr], at: Mapping[Shape, str]) -> None:
    """Numbers of matrices and rows: loaded and computed in double, kept in the elements' type too."""
    places = {x: a for a, x in reads.items() if x.shape in at}
    for x in needs:
        if x.shape not in at or x in b.double:
            continue
        if x in places:
            kind = b.dtypes[places[x]].rstrip("~")
            v = b.load(f"%in.{places[x]}", kind, at[x.shape], wide=True)
        else:
            v = b.operation(x, wide=True)
        b.double[x] = v
        same = x.op in COMPARE or b.type == "double"
        b.name[x] = v if same else b.narrowed(v)


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over tiles lo..hi of one tensor."""
    b, needs = Body(plan, dtypes, "%e"), plan.needs(kernel)
    t = b.type
    few = [x for x in kernel.sums if x.shape in (SCALAR, BATCH)]
    rows = [x for x in kernel.sums if x.shape == ROW]
    cols = [x for x in kernel.sums if x.shape == COL]
    each = [*few, *rows]  # what a row has an accumulator for
    b.numbers(x for x in needs if x.shape in NUMBERS)
    keys(b, plan.writes(kernel))
    head = b.take()
    wide(b, plan.reads(kernel), needs, {BATCH: "%m", ROW: "%row.at"})
    row = b.take()
    for shape, at in ((COL, "%col.at"), (FULL, "%e")):
        loads(b, plan.reads(kernel), shape, at)
    b.operations(needs, (COL, FULL))
    for array, x in plan.writes(kernel).items():
        write(b, array, "%e", b.value(x))
    kinds = ["double" if wide_sum(x) else t for x in each]  # a maximum is one of the elements
    for i, (x, kind) in enumerate(zip(each, kinds, strict=True)):
        term = b.summed(x.src[0]) if wide_sum(x) else b.value(x.src[0])
        b.lines.append(f"%next{i} = {combine(x, kind, f'%acc{i}', term)}")
    for i, x in enumerate(cols):
        at = b.put(f"getelementptr {t}, ptr %part{i}, i64 %jj")
        old = b.put(f"load {t}, ptr {at}")
        new = b.put(combine(x, t, old, b.value(x.src[0])))
        b.lines.append(f"store {t} {new}, ptr {at}")
    body = b.take()
    parts, clear = "", ""
    for i, x in enumerate(cols):
        parts += f"""  %part.at{i} = mul i64 %c, {i}
  %part.in{i} = add i64 %part.tile, %part.at{i}
  %part{i} = getelementptr {t}, ptr %columns, i64 %part.in{i}
"""
        clear += f"""  %clear{i} = getelementptr {t}, ptr %part{i}, i64 %z
  store {t} {IDENTITY[x.op]}, ptr %clear{i}
"""
    totals = "".join(
        f"  %held{i} = phi double [{IDENTITY[x.op]}, %rows], [%whole{i}, %row.end]\n" for i, x in enumerate(few)
    )
    accumulators = "".join(
        f"  %acc{i} = phi {kinds[i]} [{IDENTITY[x.op]}, %row], [%next{i}, %col]\n" for i, x in enumerate(each)
    )
    wholes = ""
    for i, x in enumerate(few):
        wholes += as_double(kinds[i], f"%wide{i}", f"%next{i}")
        wholes += f"  %whole{i} = {combine(x, 'double', f'%held{i}', f'%wide{i}').replace('reassoc ', '')}\n"
    for i, x in enumerate(rows, len(few)):
        b.store(f"%in.{plan.between[x]}", dtypes[plan.between[x]], "%row.at", f"%next{i}", wide_sum(x))
    wholes += b.take()
    for i in range(len(few)):
        first = b.put(f"mul i64 %tile.at, {len(few)}")
        b.store("%partials", "float64", b.put(f"add i64 {first}, {i}"), f"%whole{i}", wide=True)
    return f"""
define internal void @inner{k}({arguments(arrays, "noalias ")}) {{
entry:
{head}  br label %tile.head
tile.head:
  %j = phi i64 [%lo, %entry], [%j1, %tile.end]
  %m = sdiv i64 %j, %tiles
  %q = srem i64 %j, %tiles
  %row0 = mul i64 %q, %tile
  %row.up = add i64 %row0, %tile
  %row1 = call i64 @llvm.smin.i64(i64 %row.up, i64 %r)
  %row.base = mul i64 %m, %r
  %col.base = mul i64 %m, %c
  %tile.at = add i64 %tile0, %j
  %part.all = mul i64 %column0, {len(cols)}
  %part.own = mul i64 %j, {len(cols)}
  %part.off = mul i64 %part.own, %c
  %part.tile = add i64 %part.all, %part.off
{parts}  br label %clear
clear:
  %z = phi i64 [0, %tile.head], [%z1, %clear]
{clear}  %z1 = add nuw nsw i64 %z, 1
  %z.more = icmp slt i64 %z1, %c
  br i1 %z.more, label %clear, label %rows, !llvm.loop !0
rows:
  br label %row
row:
  %i = phi i64 [%row0, %rows], [%i1, %row.end]
{totals}  %row.at = add i64 %row.base, %i
  %e.base = mul i64 %row.at, %c
{row}  br label %col
col:
  %jj = phi i64 [0, %row], [%jj1, %col]
{accumulators}  %e = add i64 %e.base, %jj
  %col.at = add i64 %col.base, %jj
{body}  %jj1 = add nuw nsw i64 %jj, 1
  %more = icmp slt i64 %jj1, %c
  br i1 %more, label %col, label %row.end, !llvm.loop !0
row.end:
{wholes}  %i1 = add nuw nsw i64 %i, 1
  %row.more = icmp slt i64 %i1, %row1
  br i1 %row.more, label %row, label %tile.end
tile.end:
{b.take()}  %j1 = add nuw nsw i64 %j, 1
  %tile.more = icmp slt i64 %j1, %hi
  br i1 %tile.more, label %tile.head, label %exit
exit:
  ret void
}}"""


def after(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> tuple[str, list[str]]:
    """The functions that run after the pass, tensor by tensor, in order, and the arrays that they are given."""
    arrays = [a for a in plan.arrays if plan.shape(a) in (SCALAR, *VECTORS)]
    few = [x for x in kernel.sums if x.shape in (SCALAR, BATCH)]
    cols = [x for x in kernel.sums if x.shape == COL]
    made: list[str] = []
    for i, x in enumerate(few):
        made.append(gather_tiles(plan, dtypes, x, f"{k}.{len(made)}", arrays, i, len(few)))
    for i, x in enumerate(cols):
        made.append(gather_columns(plan, dtypes, x, f"{k}.{len(made)}", arrays, i, len(cols)))
    for x in kernel.short:
        made.append(section(plan, dtypes, x.src[0].shape, f"{k}.{len(made)}", arrays, [], x))
    for shape in (ROW, COL, BATCH):
        stores = [(a, x) for a, x in kernel.vectors if plan.shape(a) == shape]
        if stores:
            made.append(section(plan, dtypes, shape, f"{k}.{len(made)}", arrays, stores))
    if kernel.scalars:
        made.append(section(plan, dtypes, SCALAR, f"{k}.{len(made)}", arrays, list(kernel.scalars)))
    return "\n".join(made), arrays


def gather_tiles(
    plan: Plan, dtypes: Mapping[str, str], x: Expr, name: str, arrays: list[str], slot: int, slots: int
) -> str:
    """The sum of a tensor, or of each of its matrices, from what its tiles have left."""
    b = Body(plan, dtypes)
    if x.shape == SCALAR:
        matrices, tiles = "%one", "%all.tiles"
        b.store("%sums", "float64", plan.sums.index(x), "%acc", wide=True)
    else:
        matrices, tiles = "%b", "%tiles"
        b.store(f"%in.{plan.between[x]}", dtypes[plan.between[x]], "%m", "%acc", wide=True)
    return f"""
define internal void @after{name}({arguments(arrays)}) {{
entry:
  %one = add i64 0, 1
  %all.tiles = mul i64 %b, %tiles
  br label %head
head:
  %m = phi i64 [0, %entry], [%m1, %end]
  %inside = icmp slt i64 %m, {matrices}
  br i1 %inside, label %start, label %exit
start:
  %m.tiles = mul i64 %m, {tiles}
  %from = add i64 %tile0, %m.tiles
  br label %loop
loop:
  %j = phi i64 [0, %start], [%j1, %add]
  %acc = phi double [{IDENTITY[x.op]}, %start], [%new, %add]
  %more = icmp slt i64 %j, {tiles}
  br i1 %more, label %add, label %end
add:
  %tile.at = add i64 %from, %j
  %tile.off = mul i64 %tile.at, {slots}
  %place = add i64 %tile.off, {slot}
  %at = getelementptr double, ptr %partials, i64 %place
  %part = load double, ptr %at
  %new = {combine(x, "double", "%acc", "%part").replace("reassoc ", "")}
  %j1 = add i64 %j, 1
  br label %loop
end:
{b.take()}  %m1 = add i64 %m, 1
  br label %head
exit:
  ret void
}}"""


def gather_columns(
    plan: Plan, dtypes: Mapping[str, str], x: Expr, name: str, arrays: list[str], slot: int, slots: int
) -> str:
    """The sum of each column from what the tiles of its matrix have left."""
    b = Body(plan, dtypes)
    kind, array = dtypes[plan.between[x]], f"%in.{plan.between[x]}"
    b.store(array, kind, "%to", "%nothing")
    clear = b.take()
    old = b.load(array, kind, "%to.j")
    b.lines.append(f"%new = {combine(x, b.type, old, '%part').replace('reassoc ', '')}")
    b.store(array, kind, "%to.j", "%new")
    return f"""
define internal void @after{name}({arguments(arrays)}) {{
entry:
  %columns.all = mul i64 %b, %c
  %all.tiles = mul i64 %b, %tiles
  %empty = icmp eq i64 %all.tiles, 0
  %nothing = select i1 %empty, {b.type} 0.0, {b.type} {IDENTITY[x.op]}
  br label %clear.head
clear.head:
  %to = phi i64 [0, %entry], [%to1, %clear]
  %clear.more = icmp slt i64 %to, %columns.all
  br i1 %clear.more, label %clear, label %tiles.head
clear:
{clear}  %to1 = add i64 %to, 1
  br label %clear.head
tiles.head:
  br label %head
head:
  %j = phi i64 [0, %tiles.head], [%j1, %end]
  %inside = icmp slt i64 %j, %all.tiles
  br i1 %inside, label %start, label %exit
start:
  %m = sdiv i64 %j, %tiles
  %to.base = mul i64 %m, %c
  %all = mul i64 %column0, {slots}
  %own = mul i64 %j, {slots}
  %own.slot = add i64 %own, {slot}
  %own.at = mul i64 %own.slot, %c
  %from = add i64 %all, %own.at
  br label %loop
loop:
  %i = phi i64 [0, %start], [%i1, %loop]
  %from.at = add i64 %from, %i
  %at = getelementptr {b.type}, ptr %columns, i64 %from.at
  %part = load {b.type}, ptr %at
  %to.j = add i64 %to.base, %i
{b.take()}  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %c
  br i1 %more, label %loop, label %end
end:
  %j1 = add i64 %j, 1
  br label %head
exit:
  ret void
}}"""


def section(
    plan: Plan,
    dtypes: Mapping[str, str],
    domain: Shape,
    name: str,
    arrays: list[str],
    stores: list[tuple[str, Expr]],
    reduction: Expr | None = None,
) -> str:
    """A loop over the rows, the columns or the matrices of a tensor: states to write, or one sum to make."""
    b = Body(plan, dtypes)
    needs = plan.needs(Kernel(), [reduction.src[0]] if reduction is not None else [x for _, x in stores])
    b.numbers(x for x in needs if x.shape in NUMBERS)
    head = b.take()
    reads = {a: x for x in needs if (a := plan.array(x)) and x.shape in VECTORS}
    at: dict[Shape, str] = {BATCH: "%m", ROW: "%at"} if domain == ROW else {BATCH: "%m"}
    wide(b, reads, needs, at)
    if domain == COL:
        loads(b, reads, COL, "%at")
    b.operations(needs, (COL,))
    precise = domain != COL
    for array, x in stores:
        b.store(f"%in.{array}", dtypes[array], 0 if domain == SCALAR else "%at", b.value(x, precise), precise)
    identity = IDENTITY[reduction.op] if reduction is not None else "0.0"
    new = "  %new = fadd double 0.0, 0.0\n"
    if reduction is not None:
        new = as_double("double" if precise else b.type, "%term", b.value(reduction.src[0], precise))
        new += f"  %new = {combine(reduction, 'double', '%acc', '%term').replace('reassoc ', '')}\n"
    body = b.take()
    whole = reduction is not None and reduction.shape == SCALAR
    if reduction is not None and whole:
        b.store("%sums", "float64", plan.sums.index(reduction), "%total", wide=True)
    done = b.take()
    if reduction is not None and not whole:
        array = plan.between[reduction]
        b.store(f"%in.{array}", dtypes[array], "%m", "%acc", wide=True)
    length = {ROW: "%r", COL: "%c"}.get(domain or (), "%one")
    return f"""
define internal void @after{name}({arguments(arrays)}) {{
entry:
  %one = add i64 0, 1
  %matrices = add i64 0, {"1" if domain == SCALAR else "%b"}
{head}  br label %head
head:
  %m = phi i64 [0, %entry], [%m1, %end]
  %total = phi double [{identity}, %entry], [%acc, %end]
  %inside = icmp slt i64 %m, %matrices
  br i1 %inside, label %start, label %exit
start:
  %base = mul i64 %m, {length}
  br label %loop
loop:
  %i = phi i64 [0, %start], [%i1, %each]
  %acc = phi double [{"%total" if whole else identity}, %start], [%new, %each]
  %more = icmp slt i64 %i, {length}
  br i1 %more, label %each, label %end
each:
  %at = add i64 %base, %i
{body}{new}  %i1 = add i64 %i, 1
  br label %loop
end:
{b.take()}  %m1 = add i64 %m, 1
  br label %head
exit:
{done}  ret void
}}"""
