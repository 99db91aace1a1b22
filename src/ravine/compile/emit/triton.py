"""CUDA: each Kernel of a plan becomes Triton source that runs over all tensors in one launch.

A kernel is up to three functions. `kernel` is the launch: one program for a block of one tensor, found through a
table of (tensor, block). `elements` is the rule over that block; it is compiled twice, FAST for whole blocks of
arrays that begin at multiples of 16 bytes (no mask, 16 bytes a load) and once for the rest. `finish`, one program
for a tensor, adds up what the blocks left and writes the states that are one number per tensor. A block leaves one
partial sum and they are added in a fixed order, so results do not depend on the order in which blocks ran.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping

from ravine.compile.expr import COMPARE, EVERY, FULL, HOST, SCALAR, Expr
from ravine.compile.plan import Kernel, Plan

BLOCK = 1024  # elements of a program, with 4 warps: two 16-byte loads of float32 a thread and array
COLUMNS = ("n", "row", "index", "block", "b", "r", "c")  # of `sizes`, which has a row for each tensor

OPS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sqrt": "tl.sqrt({0})",
    "abs": "tl.abs({0})",
    "max": "tl.maximum({0}, {1}, tl.PropagateNan.ALL)",
    "min": "tl.minimum({0}, {1}, tl.PropagateNan.ALL)",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "where": "tl.where({0}, {1}, {2})",
}
# In float32 `/` and tl.sqrt are the GPU's approximations, off by an ulp or two; the reference is IEEE's, as torch is.
# In float64 they are IEEE's already, and the _rn forms do not exist.
FLOAT32 = OPS | {"div": "tl.div_rn({0}, {1})", "sqrt": "tl.sqrt_rn({0})"}

# The instruction of the GPU rounds to nearest even; Triton's interpreter truncates, so there it is done on the bits.
NEAREST = """
@triton.jit
def bfloat16(x):
    return x.to(tl.bfloat16)
"""
NEAREST_BITS = """
@triton.jit
def bfloat16(x):
    bits = x.to(tl.uint32, bitcast=True)
    near = (bits + 32767 + ((bits >> 16) & 1)) >> 16
    word = tl.where(x == x, near, (bits >> 16) | 64)
    return word.to(tl.uint16).to(tl.bfloat16, bitcast=True)
"""


def emit(plan: Plan, dtypes: Mapping[str, str], interpreted: bool = False) -> str:
    """The source of every kernel of the plan; `dtypes` names the type of each array."""
    parts = ["import triton\nimport triton.language as tl\n"]
    if "bfloat16" in dtypes.values():
        parts.append(NEAREST_BITS if interpreted else NEAREST)
    for i, k in enumerate(plan.kernels):
        parts += [elements(plan, dtypes, k, i), kernel(plan, i)]
        if k.sums or k.scalars:
            parts.append(finish(plan, dtypes, k, i))
    return "\n".join(parts)


class Body:
    """Lines of a function, and the name of every value made so far."""

    def __init__(self, plan: Plan, dtypes: Mapping[str, str]):
        self.plan, self.dtypes = plan, dtypes
        self.type = "float64" if dtypes["p"] == "float64" else "float32"  # what the elements are computed in
        self.lines: list[str] = []
        self.count = 0
        self.double: dict[Expr, str] = {}  # one number per tensor, in float64
        self.name: dict[Expr, str] = {}  # the elements, and such numbers where they meet them, in self.type

    def put(self, code: str, name: str = "") -> str:
        self.count += not name
        name = name or f"x{self.count}"
        self.lines.append(f"{name} = {code}")
        return name

    def value(self, x: Expr, wide: bool = False) -> str:
        """The name of x in float64 (`wide`) or in the elements' type, made here where it is not yet known."""
        names, t = (self.double, "float64") if wide else (self.name, self.type)
        if x in names:
            return names[x]
        if x.op == "const":  # typed, since some words make a float32 of a bare Python number
            names[x] = self.put(f"tl.full((), {constant(x.arg, t)}, tl.{t})")
        else:
            same = x.op in COMPARE or t == "float64"
            names[x] = self.double[x] if same else self.put(f"{self.double[x]}.to(tl.float32)")
        return names[x]

    def operation(self, x: Expr, wide: bool = False) -> str:
        table = OPS if wide or self.type == "float64" else FLOAT32
        return self.put(table[x.op].format(*(self.value(s, wide) for s in x.src)))

    def pointer(self, array: str) -> str:
        """Where tensor k has its array."""
        place, kind = self.plan.arrays.index(array), self.dtypes[array]
        load = f"tl.load(pointers + {place} * tensors + k).to(tl.pointer_type(tl.{kind}))"
        return self.put(load, f"at_{plain(array)}")

    def store(self, at: str, array: str, x: Expr, mask: str = "", wide: bool = False) -> None:
        """Store x, rounded once to the array's type."""
        kind, v = self.dtypes[array], self.value(x, wide)
        v = f"bfloat16({v}.to(tl.float32))" if kind == "bfloat16" else f"{v}.to(tl.{kind})"
        self.lines.append(f"tl.store({at}, {v}{mask})")

    def sizes(self, names: Iterable[str]) -> None:
        """What is known of tensor k."""
        self.lines += [f"{c} = tl.load(sizes + {len(COLUMNS)} * k + {COLUMNS.index(c)})" for c in names]

    def numbers(self, needs: Iterable[Expr]) -> None:
        """What is one number for the whole tensor, in float64."""
        needs = [x for x in needs if x.shape in (HOST, EVERY, SCALAR) and x.op != "const"]
        letters = dict.fromkeys(str(x.arg) for x in needs if x.op == "size")
        self.sizes([*letters, *["row"] * any(x.on_host for x in needs)])
        for x in needs:
            if x.on_host:
                at = f"numbers + {len(self.plan.numbers)} * row + {self.plan.numbers.index(x)}"
                v = self.put(f"tl.load({at}){' != 0' * (x.op in COMPARE)}")
            elif x.op == "sum":
                v = self.put(f"tl.load(sums + {len(self.plan.sums)} * k + {self.plan.sums.index(x)})")
            elif x.op == "size":
                v = self.put(f"{x.arg}.to(tl.float64)")
            elif x.op == "state":
                v = self.put(f"tl.load({self.pointer(str(x.arg))}).to(tl.float64)")
            else:
                v = self.operation(x, wide=True)
            self.double[x] = v

    def function(self, head: str) -> str:
        """The whole text."""
        return f"\n{JIT}\ndef {head}:\n" + "".join(f"    {x}\n" for x in self.lines)


JIT = "@triton.jit(do_not_specialize=['tensors'])"  # else one tensor, or 16, would be a program of its own
TABLES = "pointers, sizes, blocks, numbers, sums, partials, tensors"


def elements(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """The rule over one block of one tensor."""
    b, needs = Body(plan, dtypes), plan.needs(kernel)
    reads = {a: x for a, x in plan.reads(kernel).items() if x.shape == FULL}
    writes = plan.writes(kernel)
    b.lines.append("i = tl.arange(0, BLOCK)")
    at = {a: b.pointer(a) for a in plan.arrays if a in reads or a in writes}
    b.lines += [f"{a} += start" for a in at.values()]
    b.lines += ["if FAST:", *(f"    {a} = tl.multiple_of({a}, 16)" for a in at.values()), "    ok = None"]
    b.lines += ["else:", "    ok = i < n - start"]
    for array, x in reads.items():  # all loads stand first, so that they are on their way together
        b.name[x] = b.put(f"tl.load({at[array]} + i, ok).to(tl.{b.type})", f"in_{plain(array)}")
    b.numbers(needs)
    for x in needs:
        if x.shape == FULL and x not in b.name:
            b.name[x] = b.operation(x)
    for array, x in writes.items():
        b.store(f"{at[array]} + i", array, x, ", ok")
    for i, x in enumerate(kernel.sums):
        b.lines += [f"sum{i} = {b.value(x.src[0])}", "if not FAST:", f"    sum{i} = tl.where(ok, sum{i}, 0.0)"]
        b.lines.append(f"tl.store(partials + {len(kernel.sums)} * program + {i}, tl.sum(sum{i}, 0).to(tl.float64))")
    return b.function(f"elements{k}({TABLES}, program, k, n, start, BLOCK: tl.constexpr, FAST: tl.constexpr)")


def kernel(plan: Plan, k: int) -> str:
    """The launch: which block of which tensor, and which form of `elements` it may take."""
    return f"""
{JIT}
def kernel{k}({TABLES}, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    k = tl.load(blocks + 2 * program)
    start = tl.load(blocks + 2 * program + 1).to(tl.int64) * BLOCK
    n = tl.load(sizes + {len(COLUMNS)} * k)
    aligned = tl.load(pointers + {len(plan.arrays)} * tensors + k) != 0
    if aligned & (start + BLOCK <= n):
        elements{k}({TABLES}, program, k, n, start, BLOCK, True)
    else:
        elements{k}({TABLES}, program, k, n, start, BLOCK, False)
"""


def finish(plan: Plan, dtypes: Mapping[str, str], kernel: Kernel, k: int) -> str:
    """For each tensor: its sums from the partial sums, in order; its one-number states."""
    b, count = Body(plan, dtypes), len(kernel.sums)
    b.lines.append("k = tl.program_id(0)")
    if kernel.sums:
        b.sizes(("n", "block"))
        b.lines += ["i = tl.arange(0, BLOCK)", "count = (n + BLOCK - 1) // BLOCK"]
        b.lines += [f"sum{i} = tl.zeros((BLOCK,), tl.float64)" for i in range(count)]
        b.lines += ["j = 0", "while j < count:"]  # `range` of a loaded number fails in some releases' interpreter
        at = f"partials + {count} * (block + j + i)"
        b.lines += [f"    sum{i} += tl.load({at} + {i}, j + i < count, 0.0)" for i in range(count)]
        b.lines.append("    j += BLOCK")
    for i, x in enumerate(kernel.sums):
        b.lines.append(f"tl.store(sums + {len(plan.sums)} * k + {plan.sums.index(x)}, tl.sum(sum{i}, 0))")
    if kernel.scalars:
        b.numbers(plan.needs(kernel, kernel.after))
    for name, x in kernel.scalars:  # after all loads: a state may become what another was
        b.store(b.pointer(name), name, x, wide=True)
    return b.function(f"finish{k}({TABLES}, BLOCK: tl.constexpr)")


def constant(x: object, kind: str) -> str:
    """A Python literal for exactly this number in this type."""
    value = float(str(x))
    value = ctypes.c_float(value).value if kind == "float32" else value
    return repr(value) if value - value == 0 else f"float('{value}')"


def plain(array: str) -> str:
    """The name of an array as a Python name: `m.0` is one of a list."""
    return array.replace(".", "_")
