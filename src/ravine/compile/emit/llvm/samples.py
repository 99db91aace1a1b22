"""A loop over the samples of a sparse problem, with a rule's step on the few coordinates that each sample touches.

`linear` is Σᵢ loss(xᵢ·w, yᵢ) over the rows of a CSR matrix, `factors` Σ loss(Lᵤ·Rᵥ, y) over the known entries of a
matrix. For each sample: the score, from the weights as they are now; the slope of the loss there; then, coordinate by
coordinate, the rule, with slope times value as g. Any number of threads and processes may run it on the same weights
at once. A weight or a state is read just before it is written, and how it is written is one of

    plain     a load and a store: what another wrote in between is lost, which is seldom where samples are sparse
    atomic    an atomic add of the difference: nothing is lost
    locked    plain, but only one sample at a time, in all threads and processes

Loads and stores are relaxed atomic ones ("monotonic"), which are ordinary instructions. They say to LLVM that others
write there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ravine.compile.emit.llvm.body import DECLARE, NOTES, Body, constant
from ravine.compile.emit.llvm.functions import cbrt
from ravine.compile.expr import EVERY, FULL, HOST, SCALAR, walk
from ravine.compile.plan import Plan

ADDS = ("plain", "atomic", "locked")
FIELDS = ("low", "high", "order", "table", "stride", "lock", "first", "second", "values", "targets", "rank")
WORDS = {"float64": "double", "float32": "float"}
WIDTH = {"double": 8, "float": 4}
POINTERS = ("order", "table", "lock", "first", "second", "values", "targets")


def names(plan: Plan) -> list[str]:
    """The arrays of a weight in table order."""
    return plan.arrays[:-1]


def fields(plan: Plan, problem: str) -> list[str]:
    """What the context holds, as 64-bit numbers: of two weights their arrays one after the other."""
    sides = ("a", "b") if problem == "factors" else ("a",)
    return [*FIELDS, *(f"{side}.{name}" for side in sides for name in names(plan))]


def emit(plan: Plan, dtypes: Mapping[str, str], problem: str, loss: str, adds: str) -> str:
    """The IR of `samples(context)`, and of `claim(counter, by, found)`, which hands out samples."""
    b = Body(plan, dtypes)
    loads = "".join(
        f"  %at.{name} = getelementptr i64, ptr %ctx, i64 {i}\n"
        f"  %{name} = load {'ptr' if '.' in name or name in POINTERS else 'i64'}, ptr %at.{name}\n"
        for i, name in enumerate(fields(plan, problem))
    )
    b.numbers(x for x in plan.needs(plan.kernels[0]) if x.shape in (HOST, EVERY, SCALAR))
    numbers = b.take()
    body = PROBLEMS[problem](b, loss, adds)
    used = {x.op for x in walk(plan.outputs.values())}
    called = [cbrt("double"), cbrt("float")] if "cbrt" in used else []
    return "\n".join(
        [SAMPLES.format(loads=loads, numbers=numbers, body=body), CLAIM, EXP, *called, *DECLARE, *NOTES, ""]
    )


SAMPLES = """
define void @samples(ptr %ctx) {{
entry:
{loads}  %some = icmp slt i64 %low, %high
  br i1 %some, label %sample, label %exit
sample:
  %s = phi i64 [%low, %entry], [%s1, %done]
  %i.at = getelementptr i64, ptr %order, i64 %s
  %i = load i64, ptr %i.at
  %target.at = getelementptr double, ptr %targets, i64 %i
  %target = load double, ptr %target.at
  %step = sub i64 %s, %low
  %row = mul i64 %step, %stride
  %numbers = getelementptr double, ptr %table, i64 %row
{numbers}{body}  %s1 = add nuw nsw i64 %s, 1
  %more = icmp slt i64 %s1, %high
  br i1 %more, label %sample, label %exit
exit:
  ret void
}}"""
CLAIM = """
define void @claim(ptr %counter, i64 %by, ptr %found) {
  %old = atomicrmw add ptr %counter, i64 %by monotonic
  store i64 %old, ptr %found
  ret void
}"""


def linear(b: Body, loss: str, adds: str) -> str:
    """One weight vector, and a row of a CSR matrix for each sample."""
    word = WORDS[b.dtypes["p"]]
    begin = element(b, "i64", "%first", "%i")
    end = element(b, "i64", "%first", b.put("add i64 %i, 1"))
    before = b.take()
    value, at = element(b, word, "%values", "%j"), column(b, "%j")
    term = b.put(f"fmul double {widened(b, word, value)}, {read(b, 'a.p', at, 'double')}")
    b.lines.append(f"%sum = fadd double %score, {term}")
    dot, slope = b.take(), LOSSES[loss](b)
    slope, middle = narrowed(b, slope), b.take()
    rule(b, "a", b.put(f"fmul {b.type} {slope}, {element(b, word, '%values', '%k')}"), column(b, "%k"), adds)
    return loops(before, begin, end, dot, middle, b.take(), adds)


def factors(b: Body, loss: str, adds: str) -> str:
    """Two weight matrices, and a row of each for each sample."""
    starts = [b.put(f"mul i64 {column(b, '%i', of)}, %rank") for of in ("%first", "%second")]
    before = b.take()
    left, right = (
        read(b, f"{side}.p", b.put(f"add i64 {start}, %j"), "double") for side, start in zip("ab", starts, strict=True)
    )
    b.lines.append(f"%sum = fadd double %score, {b.put(f'fmul double {left}, {right}')}")
    dot, slope = b.take(), LOSSES[loss](b)
    slope, middle, numbers = narrowed(b, slope), b.take(), dict(b.name)
    at = [b.put(f"add i64 {start}, %k") for start in starts]
    left, right = (read(b, f"{side}.p", i, b.type) for side, i in zip("ab", at, strict=True))
    gradients = [b.put(f"fmul {b.type} {slope}, {other}") for other in (right, left)]  # of the weights as they were
    for side, i, g in zip("ab", at, gradients, strict=True):
        b.name = dict(numbers)
        rule(b, side, g, i, adds)
    return loops(before, "0", "%rank", dot, middle, b.take(), adds)


def loops(before: str, begin: str, end: str, dot: str, middle: str, rule: str, adds: str) -> str:
    """For each sample two loops over its coordinates: the score, and the rule."""
    taken, freed = (ACQUIRE, RELEASE) if adds == "locked" else ("  br label %ready\n", "")
    return f"""{before}{taken}ready:
  br label %dot.head
dot.head:
  %j = phi i64 [{begin}, %ready], [%j1, %dot]
  %score = phi double [0.0, %ready], [%sum, %dot]
  %dot.more = icmp slt i64 %j, {end}
  br i1 %dot.more, label %dot, label %middle
dot:
{dot}  %j1 = add nuw nsw i64 %j, 1
  br label %dot.head
middle:
{middle}  br label %rule.head
rule.head:
  %k = phi i64 [{begin}, %middle], [%k1, %rule]
  %rule.more = icmp slt i64 %k, {end}
  br i1 %rule.more, label %rule, label %done
rule:
{rule}  %k1 = add nuw nsw i64 %k, 1
  br label %rule.head
done:
{freed}"""


# look until the lock is free, then try to take it
ACQUIRE = """  br label %wait
wait:
  %held = load atomic i32, ptr %lock monotonic, align 4
  %free = icmp eq i32 %held, 0
  br i1 %free, label %try, label %wait
try:
  %taken = cmpxchg ptr %lock, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %taken, 1
  br i1 %mine, label %ready, label %wait
"""
RELEASE = "  store atomic i32 0, ptr %lock release, align 4\n"


def rule(b: Body, side: str, g: str, at: str, adds: str) -> None:
    """The rule at one coordinate of a weight."""
    kernel, old = b.plan.kernels[0], dict[str, str]()
    for array, x in b.plan.reads(kernel).items():
        b.name[x] = old[array] = g if array == "g" else read(b, f"{side}.{array}", at, b.type)
    b.operations(b.plan.needs(kernel), (FULL,))
    for array, x in b.plan.writes(kernel).items():
        kind = WORDS[b.dtypes[array]]
        new = b.value(x)
        if adds == "atomic":
            new = b.put(f"fsub {b.type} {new}, {old.get(array) or read(b, f'{side}.{array}', at, b.type)}")
        if kind != b.type:
            new = b.put(f"{'fpext' if kind == 'double' else 'fptrunc'} {b.type} {new} to {kind}")
        place = b.put(f"getelementptr {kind}, ptr %{side}.{array}, i64 {at}")
        if adds == "atomic":
            b.put(f"atomicrmw fadd ptr {place}, {kind} {new} monotonic")
        else:
            b.lines.append(f"store atomic {kind} {new}, ptr {place} monotonic, align {WIDTH[kind]}")


def read(b: Body, array: str, at: str, want: str) -> str:
    """An element of an array of a weight, as a float or a double."""
    kind = WORDS[b.dtypes[array.split(".", 1)[1]]]
    place = b.put(f"getelementptr {kind}, ptr %{array}, i64 {at}")
    x = b.put(f"load atomic {kind}, ptr {place} monotonic, align {WIDTH[kind]}")
    return x if kind == want else b.put(f"{'fpext' if want == 'double' else 'fptrunc'} {kind} {x} to {want}")


def element(b: Body, kind: str, base: str, at: str) -> str:
    """An element of the data."""
    return b.put(f"load {kind}, ptr {b.put(f'getelementptr {kind}, ptr {base}, i64 {at}')}")


def column(b: Body, at: str, of: str = "%second") -> str:
    """An index of the data."""
    return b.put(f"zext i32 {element(b, 'i32', of, at)} to i64")


def widened(b: Body, kind: str, x: str) -> str:
    """A number of this kind as a double."""
    return x if kind == "double" else b.put(f"fpext float {x} to double")


def narrowed(b: Body, x: str) -> str:
    """A double as the rule computes."""
    return x if b.type == "double" else b.put(f"fptrunc double {x} to float")


# losses: the slope at the score %score for the target %target, in double


def logistic(b: Body) -> str:
    """log(1 + exp(−y z)), y = ±1."""
    margin = b.put("fmul double %target, %score")
    more = b.put(f"fadd double 1.0, {b.put(f'call double @exp.f64(double {margin})')}")
    return b.put(f"fneg double {b.put(f'fdiv double %target, {more}')}")


def hinge(b: Body) -> str:
    """max(0, 1 − y z), y = ±1. A NaN comes through: its slope is not 0."""
    beyond = b.put(f"fcmp oge double {b.put('fmul double %target, %score')}, 1.0")
    return b.put(f"select i1 {beyond}, double 0.0, double {b.put('fneg double %target')}")


def squared(b: Body) -> str:
    """½ (z − y)²."""
    return b.put("fsub double %score, %target")


LOSSES: Mapping[str, Callable[[Body], str]] = {"logistic": logistic, "hinge": hinge, "squared": squared}

PROBLEMS: Mapping[str, Callable[[Body, str, str], str]] = {"linear": linear, "factors": factors}


def series(terms: Iterable[float]) -> str:
    """Horner's scheme in %r, from the highest term down."""
    first, *rest = terms
    lines, last = "", constant(first, "double")
    for i, term in enumerate(rest):
        lines += f"  %h{i} = call double @llvm.fma.f64(double {last}, double %r, double {constant(term, 'double')})\n"
        last = f"%h{i}"
    return f"{lines}  %near = fadd double {last}, 0.0\n"


def inverse_factorials(count: int) -> list[float]:
    """1/k! for k = count − 1 … 0."""
    made = [1.0]
    for k in range(1, count):
        made.append(made[-1] / k)
    return made[::-1]


# exp(x) = 2ᵏ exp(r) with k the whole number nearest to x / log 2 and |r| ≤ ½ log 2, where Taylor's series of 14 terms
# is exact to the last bit or two. Adding 1.5·2⁵² rounds, and leaves k in the lower bits of the sum. log 2 has two
# parts, so that k times the first is exact. A NaN comes through.
EXP = f"""
define internal double @exp.f64(double %x) alwaysinline {{
  %high = fcmp ogt double %x, {constant(709.0, "double")}
  %below = select i1 %high, double {constant(709.0, "double")}, double %x
  %low = fcmp olt double %below, {constant(-708.0, "double")}
  %a = select i1 %low, double {constant(-708.0, "double")}, double %below
  %shifted = call double @llvm.fma.f64(double %a, double {constant(1.4426950408889634, "double")}, double {constant(6755399441055744.0, "double")})
  %k = fsub double %shifted, {constant(6755399441055744.0, "double")}
  %minus = fneg double %k
  %r0 = call double @llvm.fma.f64(double %minus, double 0x3FE62E42FEE00000, double %a)
  %r = call double @llvm.fma.f64(double %minus, double 0x3DEA39EF35793C76, double %r0)
{series(inverse_factorials(14))}  %bits = bitcast double %shifted to i64
  %power = shl i64 %bits, 52
  %unit = add i64 %power, {1023 << 52}
  %scale = bitcast i64 %unit to double
  %made = fmul double %near, %scale
  ret double %made
}}"""  # noqa: E501
