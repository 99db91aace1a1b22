"""Loads and stores of arrays of every kind (compile/storage.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ravine.compile.emit.llvm.body import FLAGS, Body, constant
from ravine.compile.emit.llvm.random_bits import random_bits
from ravine.compile.expr import Expr, Shape
from ravine.compile.storage import BELOW, BLOCK, CODED, EXTRA, LARGEST, LEAST, TOP, beside

MEMORY = {"int8": "i8", "int16": "i16"}


def coded(kinds: Mapping[str, str], arrays: Iterable[str]) -> list[str]:
    """The arrays that are read and written block by block."""
    return [a for a in arrays if kinds[a] in CODED]


def loads(b: Body, arrays: Mapping[str, Expr], shape: Shape, at: str) -> None:
    """Load from the arrays of this shape."""
    for array, x in arrays.items():
        if x.shape == shape:
            b.name[x] = read(b, array, at)


def read(b: Body, array: str, at: str) -> str:
    """An element in the type of computation."""
    kind = b.dtypes[array]
    if kind not in (*CODED, *EXTRA):
        return b.load(f"%in.{array}", kind.rstrip("~"), at)
    x = joined(b, array, kind, at) if kind in EXTRA else decoded(b, array, kind, at)
    return x if b.type == "float" else b.put(f"fpext float {x} to double")


def write(b: Body, array: str, at: str, x: str) -> None:
    """Store x, whose array has no scales: `hold` is for those that have."""
    kind = b.dtypes[array]
    if kind in (*EXTRA, "bfloat16~"):
        halve(b, array, at, narrow(b, x))
    else:
        b.store(f"%in.{array}", kind, at, x)


def narrow(b: Body, x: str) -> str:
    """A number of the type of computation, as a float."""
    return x if b.type == "float" else b.put(f"fptrunc double {x} to float")


def joined(b: Body, array: str, kind: str, at: str) -> str:
    """A float from its upper 16 bits and those that lie elsewhere."""
    word = b.put(f"zext i16 {element(b, 'i16', f'%in.{array}', at)} to i32")
    upper = b.put(f"shl i32 {word}, 16")
    memory, shift = MEMORY[EXTRA[kind]], BELOW[EXTRA[kind]]
    low = b.put(f"sext {memory} {element(b, memory, f'%in.{beside(array, kind)}', at)} to i32")
    # a zero or what is not finite may stand where another weight was
    size = b.put(f"and i32 {upper}, 2147483647")
    inside = b.put(f"icmp ult i32 {b.put(f'sub i32 {size}, 1')}, {0x7F800000 - 1}")
    low = b.put(f"select i1 {inside}, i32 {b.put(f'shl i32 {low}, {shift}')}, i32 0")
    return b.put(f"bitcast i32 {b.put(f'add i32 {upper}, {low}')} to float")


def decoded(b: Body, array: str, kind: str, at: str) -> str:
    """A float from its code."""
    code = element(b, "i8", f"%in.{array}", at)
    number = b.put(f"{'sitofp' if kind == 'linear8' else 'uitofp'} i8 {code} to float")
    x = b.put(f"fmul {FLAGS} float {number}, %step.{array}")
    return x if kind == "linear8" else b.put(f"fmul {FLAGS} float {x}, {x}")


def element(b: Body, memory: str, base: str, at: str) -> str:
    """An element of an array of this type."""
    return b.put(f"load {memory}, ptr {b.put(f'getelementptr {memory}, ptr {base}, i64 {at}')}")


def halve(b: Body, array: str, at: str, x: str) -> None:
    """Store a float: its upper 16 bits, rounded stochastically or with the next bits beside them."""
    kind = b.dtypes[array]
    bits = b.put(f"bitcast float {x} to i32")
    number = b.put(f"fcmp ord float {x}, 0.0")  # a NaN is a quiet one, made by arithmetic: its upper half says so
    more = b.put(f"lshr i32 {random_bits(b, array, at)}, 8") if kind == "bfloat16+8" else "32768"
    more = random_bits(b, array, at) if kind == "bfloat16~" else more
    more = b.put(f"select i1 {number}, i32 {more}, i32 0")
    if kind == "bfloat16+8":
        bits, more = b.put(f"and i32 {b.put(f'add i32 {bits}, {more}')}, -256"), "32768"
        more = b.put(f"select i1 {number}, i32 {more}, i32 0")
    upper = b.put(f"lshr i32 {b.put(f'add i32 {bits}, {more}')}, 16")
    place(b, "i16", f"%in.{array}", at, b.put(f"trunc i32 {upper} to i16"))
    if kind in EXTRA:
        low = b.put(f"sub i32 {bits}, {b.put(f'shl i32 {upper}, 16')}")
        memory, shift = MEMORY[EXTRA[kind]], BELOW[EXTRA[kind]]
        low = b.put(f"ashr i32 {low}, {shift}")
        place(b, memory, f"%in.{beside(array, kind)}", at, b.put(f"trunc i32 {low} to {memory}"))


def place(b: Body, memory: str, base: str, at: str, x: str) -> None:
    """Store an element of an array of this type."""
    b.lines.append(f"store {memory} {x}, ptr {b.put(f'getelementptr {memory}, ptr {base}, i64 {at}')}")


# states with a scale for each block: new numbers go to a buffer, their largest is found, then come the codes


def steps(b: Body, arrays: Iterable[str]) -> None:
    """The value of one code of each array, in the block that begins at %from."""
    for a in arrays:
        kind = b.dtypes[a]
        scale = element(b, "float", f"%in.{beside(a, kind)}", b.put(f"lshr i64 %from, {BLOCK.bit_length() - 1}"))
        b.lines.append(f"%step.{a} = fmul float {scale}, {single(1 / LARGEST[kind])}")


def hold(b: Body, array: str, at: str, lane: str, x: str) -> None:
    """Put a new number, or its root, into the buffer, and see whether it is the largest of its lane."""
    place(b, b.type, f"%held.{array}", b.put(f"sub i64 {at}, %from"), x)
    size = b.put(f"and i32 {b.put(f'bitcast float {narrow(b, x)} to i32')}, 2147483647")
    most = element(b, "i32", f"%most.{array}", lane)
    place(b, "i32", f"%most.{array}", lane, b.put(f"call i32 @llvm.umax.i32(i32 {most}, i32 {size})"))


def recall(b: Body, held: Mapping[str, Expr], at: str) -> None:
    """Load what was held."""
    for a, x in held.items():
        b.name[x] = element(b, b.type, f"%held.{a}", b.put(f"sub i64 {at}, %from"))


def scales(b: Body, arrays: Iterable[str]) -> None:
    """Store the scale of the block, and make what a number is multiplied by to be a code."""
    for a in arrays:
        kind = b.dtypes[a]
        scale = b.put(f"bitcast i32 %top.{a} to float")
        small = b.put(f"fcmp olt float {scale}, {single(LEAST)}")
        scale = b.put(f"select i1 {small}, float 0.0, float {scale}")
        place(b, "float", f"%in.{beside(a, kind)}", b.put(f"lshr i64 %from, {BLOCK.bit_length() - 1}"), scale)
        inverse = b.put(f"fdiv float {single(TOP[kind])}, {scale}")
        b.lines.append(f"%inverse.{a} = select i1 {small}, float 0.0, float {inverse}")


def encode(b: Body, held: Mapping[str, Expr], at: str) -> None:
    """Store the codes of an element whose numbers are known.

    From 256 to 512 a float32 counts in steps of 2⁻¹⁵: 256 + c, or 384 + c where c has a sign, has the code in the
    upper 8 bits of its fraction and what is beyond in the lower 15. Adding 15 random bits there and truncating is
    stochastic rounding.
    """
    for a, x in held.items():
        kind = b.dtypes[a]
        c = b.put(f"fmul {FLAGS} float {narrow(b, b.name[x])}, %inverse.{a}")
        c = b.put(f"fadd {FLAGS} float {c}, {single(384.0 if kind == 'linear8' else 256.0)}")
        few = b.put(f"lshr i32 {random_bits(b, a, at)}, 1")
        if kind == "root8":
            c = b.put(f"select i1 {b.put(f'fcmp olt float {c}, {single(257.0)}')}, float {single(257.0)}, float {c}")
        else:
            few = b.put(f"or i32 {few}, {1 << 22}")
        word = b.put(f"add i32 {b.put(f'bitcast float {c} to i32')}, {few}")
        place(b, "i8", f"%in.{a}", at, b.put(f"trunc i32 {b.put(f'lshr i32 {word}, 15')} to i8"))


def single(x: float) -> str:
    """A float literal."""
    return constant(x, "float")
