"""A kernel's pass, and what follows it, where a rule looks at rows and columns.

The pass goes tile by tile: some rows of one matrix of one tensor, a program each, block by block along the columns. A
row's sums are whole when the tile is; a tile leaves one partial sum for its matrix and one for each column. What
follows is a few launches, one after the other, in which programs share the work on each tensor: partial sums are added
up in order, then comes what is made of the numbers of rows and columns, then the states that are such numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ravine.compile.emit.triton.arrays import keys, load, store
from ravine.compile.emit.triton.body import COLUMNS, JIT, TABLES, Body
from ravine.compile.expr import BATCH, COL, EVERY, FULL, HOST, LONG, ROW, SCALAR, VECTORS, Expr, Shape
from ravine.compile.plan import Kernel, Plan, wide_sum

WITH = f"{TABLES}, columns"  # what such functions are given
BLOCKS = ((256, 4), (1, 1024), (16, 64))  # rows and columns that a program works on at once, for all shapes of matrices
SHARE = 64  # columns whose partial sums one program adds up at a time
LENGTH = {ROW: "r", COL: "c", BATCH: "1"}  # numbers of each matrix
TERMS = {ROW: "b * r", COL: "b * c", BATCH: "b"}  # and of the tensor


def tall(r: int, c: int) -> int:
    """The number of rows of a tile, of matrices of r rows and c columns."""
    narrow, flat, square = BLOCKS
    return (narrow if c <= 16 else flat if r <= 4 else square)[0]


def combined(x: Expr, a: str, b: str) -> str:
    """The sum or the larger of two."""
    return f"{a} + {b}" if x.op == "sum" else f"tl.maximum({a}, {b}, tl.PropagateNan.ALL)"


def reduced(x: Expr, a: str, axis: int) -> str:
    """The sum or the largest along one axis."""
    return f"{'tl.sum' if x.op == 'sum' else 'largest'}({a}, {axis})"


def identity(x: Expr) -> str:
    """The first value of a sum or maximum."""
    return "0.0" if x.op == "sum" else "float('-inf')"


def rows(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """The rule over tile q of tensor k, in blocks of DOWN rows and ACROSS columns."""
    b, needs, reads, writes = Body(plan, dtypes, "e"), plan.needs(kernel), plan.reads(kernel), plan.writes(kernel)
    few = [x for x in kernel.sums if x.shape in (SCALAR, BATCH)]
    each = [x for x in kernel.sums if x.shape == ROW]
    cols = [x for x in kernel.sums if x.shape == COL]
    b.sizes(("r", "c", "tiles", "tile", "column"))
    b.lines += ["m = q // tiles", "i = (q % tiles) * DOWN + tl.arange(0, DOWN)[:, None]", "line = m * r + i"]
    at = b.pointers([*(a for a, x in reads.items() if x.shape != SCALAR), *writes, *(plan.between[x] for x in each)])
    b.numbers(needs)
    keys(b, writes)
    for array, x in reads.items():
        if x.shape == ROW:
            b.load(array, x, f"{at[array]} + line", ", i < r", wide=True)
        elif x.shape == BATCH:
            b.load(array, x, f"{at[array]} + m", wide=True)
    b.operations(needs, LONG, wide=True)
    for n, x in enumerate([*few, *each]):
        kind = "float64" if wide_sum(x) else b.type
        b.lines.append(f"sum{n} = tl.full((DOWN, ACROSS), {identity(x)}, tl.{kind})")
    b.lines.append("first = 0")
    with b.inside("while first < c"):
        b.lines += ["j = first + tl.arange(0, ACROSS)[None, :]", "ok = (i < r) & (j < c)", "e = line * c + j"]
        for array, x in reads.items():
            if x.shape == COL:
                b.load(array, x, f"{at[array]} + m * c + j", ", j < c")
            elif x.shape == FULL:
                load(b, array, x, at, "e", ", ok")
        b.operations(needs, (COL, FULL))
        for array, x in writes.items():
            store(b, array, x, at, "e", ", ok")
        for n, x in enumerate([*few, *each]):
            term = b.summed(x.src[0]) if wide_sum(x) else b.value(x.src[0])
            term = f"tl.where(ok, {term}, {identity(x)})"
            b.lines.append(f"sum{n} = {combined(x, f'sum{n}', term)}")
        for n, x in enumerate(cols):
            part = reduced(x, f"tl.where(ok, {b.value(x.src[0])}, {identity(x)})", 0) + "[None, :]"
            b.lines.append(f"tl.store(columns + (column + q * c) * {len(cols)} + {n} * c + j, {part}, j < c)")
        b.lines.append("first += ACROSS")
    for n, x in enumerate(few):
        whole = reduced(x, reduced(x, f"sum{n}.to(tl.float64)", 1), 0)
        b.lines.append(f"tl.store(partials + {len(few)} * (tile + q) + {n}, {whole})")
    for n, x in enumerate(each, len(few)):
        b.lines.append(f"tl.store({at[plan.between[x]]} + line, {reduced(x, f'sum{n}', 1)}[:, None], i < r)")
    return b.function(f"rows{k}({WITH}, k, q, DOWN: tl.constexpr, ACROSS: tl.constexpr)")


def kernel(k: int) -> str:
    """The launch: which tile of which tensor, and the form of its blocks."""
    (narrow, *_), (flat, *_), _ = BLOCKS
    calls = [f"rows{k}({WITH}, k, q, {down}, {across})" for down, across in BLOCKS]
    return f"""
{JIT}
def kernel{k}({WITH}):
    program = tl.program_id(0)
    k = tl.load(blocks + 2 * program)
    q = tl.load(blocks + 2 * program + 1).to(tl.int64)
    tall = tl.load(sizes + {len(COLUMNS)} * k + {COLUMNS.index("tall")})
    if tall == {narrow}:
        {calls[0]}
    elif tall == {flat}:
        {calls[1]}
    else:
        {calls[2]}
"""


def after(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> list[str]:
    """The functions that are launched after the pass, in order.

    A program overwrites only states that no other one reads: numbers of rows and columns meet those of matrices and of
    the tensor, which are written later, and no others.
    """
    made: list[str] = []

    def function(fill: Callable[[Body], None]) -> None:
        b = Body(plan, dtypes)
        b.lines.append("k = tl.program_id(0)")
        b.sizes(("b", "r", "c", "tile", "tiles", "column"))
        fill(b)
        made.append(b.function(f"finish{k}_{len(made)}({WITH})"))

    if any(x.shape != ROW for x in kernel.sums):
        function(lambda b: gather(b, kernel.sums))
    for x in kernel.short:
        function(lambda b, x=x: short(b, x))
    vectors = [(a, x) for a, x in kernel.vectors if plan.shape(a) != BATCH]
    if vectors:
        function(lambda b: write(b, vectors))
    batches = [(a, x) for a, x in kernel.vectors if plan.shape(a) == BATCH]
    if batches:
        function(lambda b: write(b, batches))
    if kernel.scalars:
        function(lambda b: write_scalars(b, kernel.scalars))
    return made


def fold(b: Body, x: Expr, items: str, terms: str, term: Callable[[], str], axis: int = 1) -> None:
    """One result for each of the items, of so many terms each: `term` says what number `term` of `item` is.

    The terms are taken in blocks along the axis. Programs share the items.
    """
    shape = (16, SHARE) if axis == 0 else (1, 1024) if x.shape == SCALAR else (4, 256)
    count = shape[1 - axis]
    ways = ("[None, :]", "[:, None]") if axis == 0 else ("[:, None]", "[None, :]")
    b.lines.append(f"first = tl.program_id(1) * {count}")
    with b.inside(f"while first < {items}"):
        b.lines.append(f"item = first + tl.arange(0, {count}){ways[0]}")
        b.lines += [f"held = tl.full({shape}, {identity(x)}, tl.float64)", "done = 0"]
        with b.inside(f"while done < {terms}"):
            b.lines.append(f"term = done + tl.arange(0, {shape[axis]}){ways[1]}")
            b.lines.append(f"ok = (item < {items}) & (term < {terms})")
            b.lines.append(f"held = {combined(x, 'held', f'tl.where(ok, {term()}.to(tl.float64), {identity(x)})')}")
            b.lines.append(f"done += {shape[axis]}")
        whole = b.put(reduced(x, "held", axis) + ways[0])
        if x.op == "amax":  # of nothing
            whole = b.put(f"tl.where({terms} > 0, {whole}, 0.0)")
        if x.shape == SCALAR:
            to, kind = f"sums + {len(b.plan.sums)} * k + {b.plan.sums.index(x)}", "float64"
        else:
            to, kind = b.pointer(b.plan.between[x]), b.dtypes[b.plan.between[x]]
        b.lines.append(f"tl.store({to} + item, {whole}.to(tl.{kind}), item < {items})")
        b.lines.append(f"first += tl.num_programs(1) * {count}")


def gather(b: Body, sums: Iterable[Expr]) -> None:
    """The sums of tensors, matrices and columns, from what the tiles have left."""
    few = [x for x in sums if x.shape in (SCALAR, BATCH)]
    cols = [x for x in sums if x.shape == COL]
    for n, x in enumerate(few):
        items, terms = ("1", "b * tiles") if x.shape == SCALAR else ("b", "tiles")
        at = f"partials + {len(few)} * (tile + item * ({terms}) + term) + {n}"
        fold(b, x, items, terms, lambda at=at: b.put(f"tl.load({at}, ok)"))
    for n, x in enumerate(cols):
        tile = f"(column + (item // c * tiles + term) * c) * {len(cols)}"
        at = f"columns + {tile} + {n} * c + item % c"
        fold(b, x, "b * c", "tiles", lambda at=at: b.put(f"tl.load({at}, ok)"), axis=0)


def short(b: Body, x: Expr) -> None:
    """A sum over the numbers of rows, columns or matrices."""
    source = x.src[0]
    needs, at = prepare(b, [source])
    items, terms = ("1", TERMS[source.shape or BATCH]) if x.shape == SCALAR else ("b", LENGTH[source.shape or BATCH])

    def term() -> str:
        b.lines.append(f"here = item * ({terms}) + term")
        vectors(b, needs, at, source.shape)
        return b.value(source, wide=source.shape in LONG)

    fold(b, x, items, terms, term)


def write(b: Body, stores: Iterable[tuple[str, Expr]]) -> None:
    """The states of rows, columns or matrices."""
    stores = list(stores)
    _, at = prepare(b, [x for _, x in stores], [a for a, _ in stores])
    for shape in VECTORS:
        mine = [(a, x) for a, x in stores if b.plan.shape(a) == shape]
        if not mine:
            continue
        b.lines.append("first = tl.program_id(1) * 1024")
        with b.inside(f"while first < {TERMS[shape]}"):
            b.lines += ["here = first + tl.arange(0, 1024)", f"ok = here < {TERMS[shape]}"]
            vectors(b, b.plan.needs(Kernel(), [x for _, x in mine]), at, shape)
            for array, x in mine:  # after all loads: a state may become what another was
                b.store(f"{at[array]} + here", array, x, ", ok", wide=shape in LONG)
            b.lines.append("first += tl.num_programs(1) * 1024")


def write_scalars(b: Body, stores: Iterable[tuple[str, Expr]]) -> None:
    """The states that are one number per tensor."""
    prepare(b, [x for _, x in stores])
    with b.inside("if tl.program_id(1) == 0"):
        for array, x in stores:
            b.store(b.pointer(array), array, x, wide=True)


def prepare(b: Body, roots: list[Expr], more: Iterable[str] = ()) -> tuple[list[Expr], dict[str, str]]:
    """The nodes that these values need, and the addresses of their arrays; numbers of the tensor are loaded here."""
    needs = b.plan.needs(Kernel(), roots)
    b.numbers(x for x in needs if x.shape in (HOST, EVERY, SCALAR))
    arrays = [a for x in needs if x.shape in VECTORS and (a := b.plan.array(x))]
    return needs, b.pointers([*arrays, *more])


def vectors(b: Body, needs: Iterable[Expr], at: Mapping[str, str], shape: Shape) -> None:
    """Load and compute what lies at `here` of arrays of this shape, and what their matrix has."""
    for x in needs:
        array = b.plan.array(x)
        if array and x.shape in VECTORS:
            place = "here" if x.shape == shape else f"here // {LENGTH[shape or BATCH]}"
            b.load(array, x, f"{at[array]} + {place}", ", ok", wide=x.shape in LONG)
    b.operations(needs, LONG, wide=True)
    b.operations(needs, (COL,))
