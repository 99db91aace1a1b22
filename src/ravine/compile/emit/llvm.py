"""The CPU: each Kernel of a plan becomes LLVM IR that walks a table of pointers, one call for all tensors.

A kernel is a few functions. `inner` is the rule over a stretch of one tensor. `work` claims chunks of the whole
model from a shared counter and calls `inner` on each stretch; any number of threads may run it at once. `finish`
adds up what the blocks left and writes the states that are one number per tensor. `run` is all of it, on the
threads of the OpenMP runtime whose GOMP_parallel it is given. Sums are made in blocks of fixed size and added in
a fixed order, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ravine.compile.expr import COMPARE, EVERY, FULL, HOST, SCALAR, Expr
from ravine.compile.plan import Kernel, Plan

CONTEXT = (
    "pointers",
    "sizes",
    "tensors",
    "total",
    "numbers",
    "sums",
    "partials",
    "first",
    "chunks",
    "chunk",
    "next",
)
POINTERS = ("pointers", "sizes", "numbers", "sums", "partials", "first")
COLUMNS = ("n", "base", "row", "index", "block", "b", "r", "c")  # of `sizes`, which has a row for each tensor
BLOCK = 4096  # elements that a partial sum covers
ALIGN = 16  # elements: threads meet at a multiple of this, so no two write one cache line

FLAGS = "contract nsz"  # no nnan, no ninf: a NaN must come through
OPS = {
    "add": "fadd {f} {t} {0}, {1}",
    "sub": "fsub {f} {t} {0}, {1}",
    "mul": "fmul {f} {t} {0}, {1}",
    "div": "fdiv {f} {t} {0}, {1}",
    "neg": "fneg {f} {t} {0}",
    "sqrt": "call {f} {t} @llvm.sqrt.{s}({t} {0})",
    "abs": "call {f} {t} @llvm.fabs.{s}({t} {0})",
    "max": "call {f} {t} @llvm.maximum.{s}({t} {0}, {t} {1})",
    "min": "call {f} {t} @llvm.minimum.{s}({t} {0}, {t} {1})",
    "gt": "fcmp ogt {t} {0}, {1}",
    "ge": "fcmp oge {t} {0}, {1}",
    "where": "select {f} i1 {0}, {t} {1}, {t} {2}",
}
SUFFIX = {"float": "f32", "double": "f64"}
DECLARE = [
    f"declare {t} @llvm.{op}.{s}({', '.join([t] * n)})"
    for t, s in SUFFIX.items()
    for op, n in (("sqrt", 1), ("fabs", 1), ("maximum", 2), ("minimum", 2))
] + [f"declare i64 @llvm.{op}.i64(i64, i64)" for op in ("smin", "smax")]
LOOP = ["!0 = distinct !{!0, !1}", '!1 = !{!"llvm.loop.vectorize.enable", i1 true}']


def emit(plan: Plan, dtypes: Mapping[str, str]) -> str:
    """The IR of every kernel of the plan; `dtypes` names the type of each array."""
    kernels = [part for i, k in enumerate(plan.kernels) for part in functions(plan, dtypes, k, i)]
    return "\n".join([*kernels, *DECLARE, *LOOP, ""])


def functions(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> list[str]:
    """The functions of kernel number k."""
    arrays = [a for a in plan.arrays if a in plan.reads(kernel) or a in plan.writes(kernel)]
    return [
        inner(plan, dtypes, kernel, k, arrays),
        work(plan, kernel, k, arrays),
        finish(plan, dtypes, kernel, k),
        run(k),
    ]


class Body:
    """Lines of IR, and the name of every value made so far."""

    def __init__(self, plan: Plan, dtypes: Mapping[str, str]):
        self.plan, self.dtypes = plan, dtypes
        self.type = "double" if dtypes["p"] == "float64" else "float"  # what the elements are computed in
        self.lines: list[str] = []
        self.count = 0
        self.double: dict[Expr, str] = {}  # one number per tensor, in double
        self.name: dict[Expr, str] = {}  # the same and the elements, in self.type

    def put(self, code: str) -> str:
        self.count += 1
        self.lines.append(f"%v{self.count} = {code}")
        return f"%v{self.count}"

    def take(self) -> str:
        """The lines so far, as text; the body goes on without them."""
        text = "".join(f"  {line}\n" for line in self.lines)
        self.lines = []
        return text

    def value(self, x: Expr, wide: bool = False) -> str:
        if x.op == "const":
            return constant(x.arg, "double" if wide else self.type)
        return (self.double if wide else self.name)[x]

    def operation(self, x: Expr, wide: bool = False) -> str:
        t = "double" if wide else self.type
        return self.put(OPS[x.op].format(*(self.value(s, wide) for s in x.src), f=FLAGS, t=t, s=SUFFIX[t]))

    def load(self, base: str, kind: str, index: int | str, wide: bool = False) -> str:
        """An element of an array of `kind`, widened to the type of computation."""
        t = "double" if wide else self.type
        memory = {
            "float64": "double",
            "float32": "float",
            "bfloat16": "i16",
            "float16": "half",
            "int64": "i64",
        }[kind]
        at = self.put(f"getelementptr {memory}, ptr {base}, i64 {index}")
        x = self.put(f"load {memory}, ptr {at}")
        if kind == "bfloat16":  # the upper half of a float32
            x = self.put(f"zext i16 {x} to i32")
            x = self.put(f"shl i32 {x}, 16")
            x = self.put(f"bitcast i32 {x} to float")
            memory = "float"
        return (
            x
            if memory in (t, "i64")
            else self.put(f"{'fpext' if memory != 'double' else 'fptrunc'} {memory} {x} to {t}")
        )

    def store(self, base: str, kind: str, index: int | str, x: str, wide: bool = False) -> None:
        """Store x, rounded once to the array's type."""
        t = "double" if wide else self.type
        if kind == "bfloat16":
            x = x if t == "float" else self.put(f"fptrunc double {x} to float")
            bits = self.put(f"bitcast float {x} to i32")
            upper = self.put(f"lshr i32 {bits}, 16")
            odd = self.put(f"and i32 {upper}, 1")
            bias = self.put(f"add i32 {odd}, 32767")
            near = self.put(f"add i32 {bits}, {bias}")
            near = self.put(f"lshr i32 {near}, 16")
            nan = self.put(f"fcmp uno float {x}, 0.0")
            quiet = self.put(f"or i32 {upper}, 64")
            word = self.put(f"select i1 {nan}, i32 {quiet}, i32 {near}")
            x, memory = self.put(f"trunc i32 {word} to i16"), "i16"
        else:
            memory = {"float64": "double", "float32": "float", "float16": "half"}[kind]
            if memory != t:
                x = self.put(f"{'fpext' if memory == 'double' else 'fptrunc'} {t} {x} to {memory}")
        at = self.put(f"getelementptr {memory}, ptr {base}, i64 {index}")
        self.lines.append(f"store {memory} {x}, ptr {at}")

    def numbers(self, needs: Iterable[Expr]) -> None:
        """What is one number for the whole tensor: computed in double, kept in the elements' type too."""
        for x in needs:
            if x.op == "const":
                continue
            if x.on_host:
                v = self.load("%numbers", "float64", self.plan.numbers.index(x), wide=True)
                v = self.put(f"fcmp one double {v}, 0.0") if x.op in COMPARE else v
            elif x.op == "sum":
                v = self.load("%sums", "float64", self.plan.sums.index(x), wide=True)
            elif x.op == "size":
                v = self.put(f"sitofp i64 %{x.arg} to double")
            elif x.op == "state":
                v = self.load(f"%in.{x.arg}", self.dtypes[str(x.arg)], 0, wide=True)
            else:
                v = self.operation(x, wide=True)
            self.double[x] = v
            same = x.op in COMPARE or self.type == "double"
            self.name[x] = v if same else self.put(f"fptrunc double {v} to float")


def inner(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int, arrays: list[str]) -> str:
    """The rule over elements lo..hi of one tensor; where it sums, block by block."""
    b, needs, sums = Body(plan, dtypes), plan.needs(kernel), kernel.sums
    b.numbers(x for x in needs if x.shape in (HOST, EVERY, SCALAR))
    head = b.take()
    for array, x in plan.reads(kernel).items():
        if x.shape == FULL:
            b.name[x] = b.load(f"%in.{array}", dtypes[array], "%i")
    for x in needs:
        if x.shape == FULL and x not in b.name:
            b.name[x] = b.operation(x)
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


def arguments(arrays: list[str], attribute: str = "") -> str:
    """What `inner` is given."""
    pointers = [f"ptr {attribute}%{a}" for a in [*(f"in.{a}" for a in arrays), "numbers", "sums", "partials"]]
    return ", ".join([*pointers, *(f"i64 %{a}" for a in ("n", "b", "r", "c", "index", "block0", "lo", "hi"))])


def context(names: Iterable[str]) -> str:
    """Lines that load named fields of the context."""
    return "".join(
        f"  %ctx.{name} = getelementptr i64, ptr %ctx, i64 {CONTEXT.index(name)}\n"
        f"  %{name if name not in ('numbers', 'sums', 'partials') else 'all.' + name} = "
        f"load {'ptr' if name in POINTERS else 'i64'}, ptr %ctx.{name}\n"
        for name in names
    )


def tensor(plan: Plan, arrays: Iterable[str]) -> str:
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
            f"%column.{a} = mul i64 %tensors, {plan.arrays.index(a)}",
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


def work(plan: Plan, kernel: Kernel, k: int, arrays: list[str]) -> str:
    """Claim chunks until none is left; in each, every stretch of a tensor goes to `inner`."""
    unit = BLOCK if kernel.sums else ALIGN
    return f"""
define void @work{k}(ptr %ctx) {{
entry:
{context(CONTEXT[:-1])}  %partials = getelementptr double, ptr %all.partials, i64 0
  %next = getelementptr i64, ptr %ctx, i64 {CONTEXT.index("next")}
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
{tensor(plan, arrays)}  %mine = icmp slt i64 %base, %high
  br i1 %mine, label %stretch, label %claim
stretch:
  %a0 = sub i64 %low, %base
  %a1 = call i64 @llvm.smax.i64(i64 %a0, i64 0)
  %a2 = add i64 %a1, {unit - 1}
  %a3 = and i64 %a2, {-unit}
  %lo = call i64 @llvm.smin.i64(i64 %a3, i64 %n)
  %b0 = sub i64 %high, %base
  %b1 = add i64 %b0, {unit - 1}
  %b2 = and i64 %b1, {-unit}
  %hi = call i64 @llvm.smin.i64(i64 %b2, i64 %n)
  %some = icmp slt i64 %lo, %hi
  br i1 %some, label %call, label %step
call:
  call void @inner{k}({arguments(arrays)})
  br label %step
step:
  %k1 = add i64 %k, 1
  br label %head
exit:
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
{tensor(plan, states)}  %n.up = add i64 %n, {BLOCK - 1}
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


def run(k: int) -> str:
    """The whole kernel: on `threads` threads of the runtime behind `parallel`, or on the caller's own."""
    return f"""
define void @run{k}(ptr %ctx, i32 %threads, ptr %parallel) {{
entry:
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
  call void @finish{k}(ptr %ctx)
  ret void
}}"""


def constant(x: object, kind: str) -> str:
    """A float literal that LLVM takes for exactly this number: the bits of its double."""
    value = float(str(x))
    value = struct.unpack("f", struct.pack("f", value))[0] if kind == "float" else value
    return "0x" + struct.pack(">d", value).hex().upper()
