"""Lines of IR: how each op is written, how numbers are loaded and stored."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ravine.compile.expr import COMPARE, REDUCE, Expr, Shape
from ravine.compile.plan import Plan, widened
from ravine.compile.storage import drawn

FLAGS = "contract nsz"  # no nnan, no ninf: a NaN must come through
OPS = {
    "add": "fadd {f} {t} {0}, {1}",
    "sub": "fsub {f} {t} {0}, {1}",
    "mul": "fmul {f} {t} {0}, {1}",
    "div": "fdiv {f} {t} {0}, {1}",
    "neg": "fneg {f} {t} {0}",
    "cbrt": "call {f} {t} @cbrt.{s}({t} {0})",
    "sqrt": "call {f} {t} @llvm.sqrt.{s}({t} {0})",
    "abs": "call {f} {t} @llvm.fabs.{s}({t} {0})",
    "max": "call {f} {t} @llvm.maximum.{s}({t} {0}, {t} {1})",
    "min": "call {f} {t} @llvm.minimum.{s}({t} {0}, {t} {1})",
    "gt": "fcmp ogt {t} {0}, {1}",
    "ge": "fcmp oge {t} {0}, {1}",
    "where": "select {f} i1 {0}, {t} {1}, {t} {2}, !unpredictable !4",  # a branch would round as vectors do not
}
SUFFIX = {"float": "f32", "double": "f64"}
DECLARE = [
    f"declare {t} @llvm.{op}.{s}({', '.join([t] * n)})"
    for t, s in SUFFIX.items()
    for op, n in (("sqrt", 1), ("fabs", 1), ("copysign", 2), ("fma", 3), ("maximum", 2), ("minimum", 2))
] + [f"declare i64 @llvm.{op}.i64(i64, i64)" for op in ("smin", "smax")]
DECLARE.extend(
    (
        "declare i32 @llvm.umax.i32(i32, i32)",
        "declare i32 @llvm.vector.reduce.umax.v16i32(<16 x i32>)",
        "declare double @llvm.vector.reduce.fadd.v16f64(double, <16 x double>)",
        "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
    )
)
IDENTITY = {"sum": "0.0", "amax": "0xFFF0000000000000"}  # −∞
NOTES = [  # of a long loop, and of one with few rounds; of a choice
    "!0 = distinct !{!0, !1}",
    '!1 = !{!"llvm.loop.vectorize.enable", i1 true}',
    "!2 = distinct !{!2, !3}",
    '!3 = !{!"llvm.loop.vectorize.enable", i1 false}',
    "!4 = !{}",
]


class Body:
    """Lines of IR, and the name of every value made so far."""

    def __init__(self, plan: Plan, dtypes: Mapping[str, str], at: str = "%i"):
        self.plan, self.dtypes, self.at = plan, dtypes, at  # where in the tensor an element lies
        self.type = "double" if dtypes["p"] == "float64" else "float"  # what the elements are computed in
        self.drawn = drawn(dtypes)  # where arrays that round stochastically have their bits
        self.walking: dict[tuple[int, str], str] = {}  # what a draw begins with, where a loop carries it along
        self.words: dict[tuple[int, str], str] = {}  # random bits that are made: of which draw, for which element
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
        self.lines, self.words = [], {}
        return text

    def value(self, x: Expr, wide: bool = False) -> str:
        if x.op == "const":
            return constant(x.arg, "double" if wide else self.type)
        return (self.double if wide else self.name)[x]

    def operation(self, x: Expr, wide: bool = False) -> str:
        if x.op == "normal":
            return self.noise(x)
        t = "double" if wide else self.type
        return self.put(OPS[x.op].format(*(self.value(s, wide) for s in x.src), f=FLAGS, t=t, s=SUFFIX[t]))

    def noise(self, x: Expr) -> str:
        """A standard normal number for this element."""
        seed, t = (self.put(f"fptosi double {self.value(s, wide=True)} to i64") for s in x.src)
        words = [self.put(f"trunc i64 {word} to i32") for word in (seed, "%index", t)]
        at = self.put(f"add i64 {self.at}, %offset")
        n = self.put(f"call float @normal(i32 {words[0]}, i32 {words[1]}, i64 {at}, i32 {words[2]})")
        return n if self.type == "float" else self.put(f"fpext float {n} to double")

    def operations(self, needs: Iterable[Expr], shapes: tuple[Shape, ...]) -> None:
        """Compute what has one of these shapes and is not loaded."""
        for x in needs:
            if x.shape in shapes and x not in self.name:
                self.name[x] = self.operation(x)

    def summed(self, x: Expr, last: bool = True) -> str:
        """The term that an element adds to a sum, in double: see `widened`."""
        if x.op == "const":
            return constant(x.arg, "double")
        if widened(x, last):
            parts = {s: self.summed(s, False) for s in x.src}
            return self.put(OPS[x.op].format(*(parts[s] for s in x.src), f=FLAGS, t="double", s=SUFFIX["double"]))
        if x in self.double:
            return self.double[x]
        name = self.name[x]
        return name if x.op in COMPARE or self.type == "double" else self.put(f"fpext float {name} to double")

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
            if (t, memory) == ("double", "half"):  # processors narrow in two steps; in one it is a call of a library
                x, t = self.put(f"fptrunc double {x} to float"), "float"
            if memory != t:
                x = self.put(f"{'fpext' if memory == 'double' else 'fptrunc'} {t} {x} to {memory}")
        at = self.put(f"getelementptr {memory}, ptr {base}, i64 {index}")
        self.lines.append(f"store {memory} {x}, ptr {at}")

    def numbers(self, needs: Iterable[Expr]) -> None:
        """Compute the numbers of the whole tensor, in double, and keep them in the elements' type too."""
        for x in needs:
            if x.op == "const":
                continue
            if x.on_host:
                v = self.load("%numbers", "float64", self.plan.numbers.index(x), wide=True)
                v = self.put(f"fcmp one double {v}, 0.0") if x.op in COMPARE else v
            elif x.op in REDUCE:
                v = self.load("%sums", "float64", self.plan.sums.index(x), wide=True)
            elif x.op == "size":
                v = self.put(f"sitofp i64 %whole.{x.arg} to double")
            elif x.op == "state":
                v = self.load(f"%in.{x.arg}", self.dtypes[str(x.arg)], 0, wide=True)
            else:
                v = self.operation(x, wide=True)
            self.double[x] = v
            same = x.op in COMPARE or self.type == "double"
            self.name[x] = v if same else self.narrowed(v)

    def narrowed(self, v: str) -> str:
        """A double as a float: the largest there is where it is larger and finite, as a ratio of norms may be."""
        for largest, beyond, than, end in ((LARGEST, "ogt", "olt", INFINITE), (LEAST, "olt", "ogt", MINUS_INFINITE)):
            over = self.put(f"fcmp {beyond} double {v}, {largest}")
            finite = self.put(f"fcmp {than} double {v}, {end}")
            v = self.put(f"select i1 {self.put(f'and i1 {over}, {finite}')}, double {largest}, double {v}")
        return self.put(f"fptrunc double {v} to float")


LARGEST, LEAST = "0x47EFFFFFE0000000", "0xC7EFFFFFE0000000"  # of float, as doubles
INFINITE, MINUS_INFINITE = "0x7FF0000000000000", "0xFFF0000000000000"


def constant(x: object, kind: str) -> str:
    """A float literal that LLVM takes for exactly this number: the bits of its double."""
    value = float(str(x))
    value = struct.unpack("f", struct.pack("f", value))[0] if kind == "float" else value
    return "0x" + struct.pack(">d", value).hex().upper()
