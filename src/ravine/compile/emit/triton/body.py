"""Lines of Triton source: how each op is written, how numbers are loaded and stored."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager

from ravine.compile.expr import COMPARE, EVERY, HOST, REDUCE, SCALAR, Expr, Shape
from ravine.compile.plan import Plan, widened
from ravine.compile.storage import beside, drawn

# A double as a float: the largest there is where it is larger and finite, as a ratio of norms may be.
NARROWED = (
    "tl.where(({0} > 3.4028234663852886e38) & ({0} < float('inf')), 3.4028234663852886e38, tl.where("
    "({0} < -3.4028234663852886e38) & ({0} > -float('inf')), -3.4028234663852886e38, {0})).to(tl.float32)"
)
BLOCK = 1024  # elements of a program, with 4 warps: two 16-byte loads of float32 a thread and array
# of `sizes`, which has a row for each tensor: elements, row of numbers, place among the parameters, elements of the
# whole parameter before this part of it, first block, its three sizes, first tile, tiles of a matrix, rows of a tile,
# first number of its tiles' columns, and the three sizes of the whole parameter
WHOLE = ("whole_b", "whole_r", "whole_c")
COLUMNS = ("n", "row", "index", "offset", "block", "b", "r", "c", "tile", "tiles", "tall", "column", *WHOLE)

OPS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sqrt": "tl.sqrt({0})",
    "cbrt": "cbrt64({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "floor": "tl.floor({0})",
    "pow": "power({0}, {1})",
    "abs": "tl.abs({0})",
    "max": "tl.maximum({0}, {1}, tl.PropagateNan.ALL)",
    "min": "tl.minimum({0}, {1}, tl.PropagateNan.ALL)",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "where": "tl.where({0}, {1}, {2})",
}
# In float32 `/` and tl.sqrt are the GPU's approximations, off by an ulp or two; the reference is IEEE's, as torch is.
# In float64 they are IEEE's already, and the _rn forms do not exist.
FLOAT32 = OPS | {"div": "tl.div_rn({0}, {1})", "sqrt": "tl.sqrt_rn({0})", "cbrt": "cbrt32({0})"}


MEMORY = {
    "bfloat16~": "bfloat16",
    "bfloat16+8": "bfloat16",
    "bfloat16+16": "bfloat16",
    "linear8": "int8",
    "root8": "uint8",
}


class Body:
    """Lines of a function, and the name of every value made so far."""

    def __init__(self, plan: Plan, dtypes: Mapping[str, str], at: str = ""):
        self.plan, self.dtypes, self.at = plan, dtypes, at  # where in the tensor an element lies
        self.type = "float64" if dtypes["p"] == "float64" else "float32"  # what the elements are computed in
        self.lines: list[str] = []
        self.drawn = drawn(dtypes)  # where arrays that round stochastically have their bits
        self.words: dict[int, str] = {}  # the draws that are made
        self.count = 0
        self.double: dict[Expr, str] = {}  # one number per tensor, in float64
        self.name: dict[Expr, str] = {}  # the elements, and such numbers where they meet them, in self.type

    def put(self, code: str, name: str = "") -> str:
        self.count += not name
        name = name or f"x{self.count}"
        self.lines.append(f"{name} = {code}")
        return name

    def several(self, code: str, n: int) -> list[str]:
        """The names of the n results of a function."""
        names = [f"x{self.count + i}" for i in range(1, n + 1)]
        self.count += n
        self.lines.append(f"{', '.join(names)} = {code}")
        return names

    def value(self, x: Expr, wide: bool = False) -> str:
        """The name of x in float64 (`wide`) or in the elements' type, made here where it is not yet known."""
        names, t = (self.double, "float64") if wide else (self.name, self.type)
        if x in names:
            return names[x]
        if x.op == "const":  # typed, since some words make a float32 of a bare Python number
            names[x] = self.put(f"tl.full((), {constant(x.arg, t)}, tl.{t})")
        else:
            same = x.op in COMPARE or t == "float64"
            names[x] = self.double[x] if same else self.put(NARROWED.format(self.double[x]))
        return names[x]

    def operation(self, x: Expr, wide: bool = False) -> str:
        if x.op == "normal":
            return self.noise(x)
        table = OPS if wide or self.type == "float64" else FLOAT32
        return self.put(table[x.op].format(*(self.value(s, wide) for s in x.src)))

    def summed(self, x: Expr, last: bool = True) -> str:
        """The term that each element adds to a sum, in float64: see `widened`."""
        if widened(x, last):
            parts = {s: self.summed(s, False) for s in x.src}
            return self.put(OPS[x.op].format(*(parts[s] for s in x.src)))
        if x.op == "const" or x in self.double:
            return self.value(x, wide=True)
        return self.name[x] if x.op in COMPARE or self.type == "float64" else f"{self.name[x]}.to(tl.float64)"

    def noise(self, x: Expr) -> str:
        """A standard normal number for each element."""
        self.sizes(["index", "offset"])
        seed, t = (f"{self.value(s, wide=True)}.to(tl.int64)" for s in x.src)
        return self.put(f"normal({seed}, index, {self.at} + offset, {t}).to(tl.{self.type})")

    @contextmanager
    def inside(self, head: str) -> Generator[None, None, None]:
        """Indent the lines that are put here under `head`; their names end with it."""
        start, names, double, words = len(self.lines) + 1, dict(self.name), dict(self.double), dict(self.words)
        self.lines.append(f"{head}:")
        yield
        self.lines[start:] = [f"    {line}" for line in self.lines[start:]]
        self.name, self.double, self.words = names, double, words

    def pointers(self, arrays: Iterable[str]) -> dict[str, str]:
        """Load the addresses of some arrays of tensor k, in table order."""
        found = set(arrays)
        found |= {part for a in found if (part := beside(a, self.dtypes[a]))}
        return {a: self.pointer(a) for a in self.dtypes if a in found}

    def load(self, array: str, x: Expr, at: str, mask: str = "", wide: bool = False) -> None:
        """Load x from an array."""
        names, t = (self.double, "float64") if wide else (self.name, self.type)
        names[x] = self.put(f"tl.load({at}{mask}).to(tl.{t})", f"in_{plain(array)}")

    def operations(self, needs: Iterable[Expr], shapes: tuple[Shape, ...], wide: bool = False) -> None:
        """Compute what has one of these shapes and is not loaded."""
        names = self.double if wide else self.name
        for x in needs:
            if x.shape in shapes and x not in names:
                names[x] = self.operation(x, wide)

    def pointer(self, array: str) -> str:
        """The address of an array of tensor k."""
        place, kind = list(self.dtypes).index(array), MEMORY.get(self.dtypes[array]) or self.dtypes[array]
        load = f"tl.load(pointers + {place} * tensors + k).to(tl.pointer_type(tl.{kind}))"
        return self.put(load, f"at_{plain(array)}")

    def store(self, at: str, array: str, x: Expr, mask: str = "", wide: bool = False) -> None:
        """Store x, rounded once to the array's type."""
        kind, v = self.dtypes[array], self.value(x, wide)
        v = f"bfloat16({v}.to(tl.float32))" if kind == "bfloat16" else f"{v}.to(tl.{kind})"
        self.lines.append(f"tl.store({at}, {v}{mask})")

    def sizes(self, names: Iterable[str]) -> None:
        """Load these sizes of tensor k."""
        self.lines += [f"{c} = tl.load(sizes + {len(COLUMNS)} * k + {COLUMNS.index(c)})" for c in names]

    def numbers(self, needs: Iterable[Expr]) -> None:
        """Compute the numbers of the whole tensor, in float64."""
        needs = [x for x in needs if x.shape in (HOST, EVERY, SCALAR) and x.op != "const"]
        letters = dict.fromkeys(f"whole_{x.arg}" for x in needs if x.op == "size")
        self.sizes([*letters, *["row"] * any(x.on_host for x in needs)])
        for x in needs:
            if x.on_host:
                at = f"numbers + {len(self.plan.numbers)} * row + {self.plan.numbers.index(x)}"
                v = self.put(f"tl.load({at}){' != 0' * (x.op in COMPARE)}")
            elif x.op in REDUCE:
                v = self.put(f"tl.load(sums + {len(self.plan.sums)} * k + {self.plan.sums.index(x)})")
            elif x.op == "size":
                v = self.put(f"whole_{x.arg}.to(tl.float64)")
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


def constant(x: object, kind: str) -> str:
    """A Python literal for exactly this number in this type."""
    value = float(str(x))
    value = ctypes.c_float(value).value if kind == "float32" else value
    return repr(value) if value - value == 0 else f"float('{value}')"


def plain(array: str) -> str:
    """The name of an array as a Python name: `m.0` is one of a list."""
    return array.replace(".", "_")
