"""The random bits of stochastic rounding: `key` and `words` of compile/storage.py, in IR."""

from __future__ import annotations

from collections.abc import Iterable

from ravine.compile.emit.llvm.body import Body
from ravine.compile.storage import FIRST, SECOND, STRIDE, THIRD

# The key of the random bits of one tensor in one step.
KEY = f"""
define internal i32 @mix(i32 %x) alwaysinline {{
  %a = lshr i32 %x, 16
  %b = xor i32 %x, %a
  %c = mul i32 %b, {FIRST}
  %d = lshr i32 %c, 15
  %e = xor i32 %c, %d
  %f = mul i32 %e, {SECOND}
  %g = lshr i32 %f, 16
  %h = xor i32 %f, %g
  ret i32 %h
}}
define internal i32 @key(double %seed, double %t, i64 %index, i64 %offset, i32 %draw) alwaysinline {{
  %seed.wide = fptosi double %seed to i64
  %seed.word = trunc i64 %seed.wide to i32
  %t.wide = fptosi double %t to i64
  %t.word = trunc i64 %t.wide to i32
  %index.word = trunc i64 %index to i32
  %ahead.draw = mul i32 %draw, {STRIDE}
  %a = add i32 %seed.word, %ahead.draw
  %b = call i32 @mix(i32 %a)
  %c = add i32 %b, %t.word
  %d = call i32 @mix(i32 %c)
  %e = add i32 %d, %index.word
  %f = call i32 @mix(i32 %e)
  %offset.word = trunc i64 %offset to i32
  %ahead = mul i32 %offset.word, {STRIDE}
  %key = add i32 %f, %ahead
  ret i32 %key
}}
"""


def keys(b: Body, arrays: Iterable[str]) -> None:
    """The keys of these arrays' random bits, once for a tensor."""
    draws = sorted({b.drawn[a][0] for a in arrays if a in b.drawn})
    if not draws:
        return
    seed, t = (b.load("%numbers", "float64", b.plan.numbers.index(x), wide=True) for x in b.plan.chance)
    for draw in draws:
        b.lines.append(f"%key{draw} = call i32 @key(double {seed}, double {t}, i64 %index, i64 %offset, i32 {draw})")


def random_bits(b: Body, array: str, at: str) -> str:
    """16 random bits for this array and element, in an i32."""
    draw, half = b.drawn[array]
    if (draw, at) not in b.words:
        x = b.walking.get((draw, at)) or begun(b, draw, at)
        x = b.put(f"xor i32 {x}, {b.put(f'lshr i32 {x}, 15')}")
        x = b.put(f"mul i32 {x}, {THIRD}")
        b.words[draw, at] = b.put(f"xor i32 {x}, {b.put(f'lshr i32 {x}, 16')}")
    word = b.words[draw, at]
    return b.put(f"lshr i32 {word}, 16" if half else f"and i32 {word}, 65535")


def begun(b: Body, draw: int, at: str) -> str:
    """The counter of an element, from which its random bits are mixed."""
    i = b.put(f"trunc i64 {at} to i32")
    return b.put(f"add i32 {b.put(f'mul i32 {i}, {STRIDE}')}, %key{draw}")


def walk(b: Body, arrays: Iterable[str], i: str, first: str, blocks: tuple[str, str]) -> tuple[str, str]:
    """The same for the elements %i of a loop, one sum each: the lines that the loop begins with, in two parts."""
    draws = sorted({b.drawn[a][0] for a in arrays if a in b.drawn})
    b.walking = {(draw, f"%{i}"): f"%walk.{i}{draw}" for draw in draws}
    starts = [begun(b, draw, first) for draw in draws]
    before, loop = blocks
    names = list(b.walking.values())
    phis = [f"  {x} = phi i32 [{s}, %{before}], [{x}.next, %{loop}]\n" for x, s in zip(names, starts, strict=True)]
    return "".join(phis), "".join(f"  {x}.next = add i32 {x}, {STRIDE}\n" for x in names)
