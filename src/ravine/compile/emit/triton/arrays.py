"""Loads and stores of arrays of every kind (compile/storage.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ravine.compile.emit.triton.body import BLOCK as PROGRAM
from ravine.compile.emit.triton.body import Body
from ravine.compile.expr import Expr
from ravine.compile.storage import BELOW, BLOCK, EXTRA, LARGEST, TOP, beside


def keys(b: Body, arrays: Iterable[str]) -> None:
    """The keys of these arrays' random bits."""
    draws = sorted({b.drawn[a][0] for a in arrays if a in b.drawn})
    if not draws:
        return
    b.sizes(["row", "index", "offset"])
    at = f"numbers + {len(b.plan.numbers)} * row + "
    seed, t = (f"tl.load({at}{b.plan.numbers.index(x)})" for x in b.plan.chance)
    for draw in draws:
        b.lines.append(f"key{draw} = key({seed}, {t}, index, {draw})")


def random_bits(b: Body, array: str) -> str:
    """16 random bits for this array and each element."""
    draw, half = b.drawn[array]
    if draw not in b.words:
        b.words[draw] = b.put(f"words({b.at} + offset, key{draw})")
    return f"({b.words[draw]} >> 16)" if half else f"({b.words[draw]} & 65535)"


def load(b: Body, array: str, x: Expr, at: Mapping[str, str], i: str, mask: str = "") -> None:
    """Load x from element i of an array on."""
    kind = b.dtypes[array]
    part = beside(array, kind)
    if part is None:
        b.load(array, x, f"{at[array]} + {i}", mask)
        return
    more = f"tl.load({at[part]} + {i if kind in EXTRA else f'({b.at}) // {BLOCK}'}{mask})"
    found = f"tl.load({at[array]} + {i}{mask})"
    if kind in EXTRA:
        value = f"joined({found}, {more}, {BELOW[EXTRA[kind]]})"
    else:
        value = b.put(f"{found}.to(tl.float32) * ({more} * {1 / LARGEST[kind]!r})")
        value = value if kind == "linear8" else f"{value} * {value}"
    b.name[x] = b.put(f"({value}).to(tl.{b.type})")


def store(b: Body, array: str, x: Expr, at: Mapping[str, str], i: str, mask: str = "") -> None:
    """Store x from element i of an array on."""
    kind, to = b.dtypes[array], f"{at[array]} + {i}"
    part = beside(array, kind)
    if part is None and kind != "bfloat16~":
        b.store(to, array, x, mask)
        return
    value = b.put(f"{b.value(x)}.to(tl.float32)")
    if kind == "bfloat16~":
        b.lines.append(f"tl.store({to}, stochastic({value}, {random_bits(b, array)}){mask})")
        return
    assert part is not None
    if kind in EXTRA:
        few = f"({random_bits(b, array)} >> 8)" if kind == "bfloat16+8" else "0"
        upper, low = b.several(f"split({value}, {few}, {BELOW[EXTRA[kind]]})", 2)
        b.lines.append(f"tl.store({to}, {upper}{mask})")
        b.lines.append(f"tl.store({at[part]} + {i}, {low}.to(tl.{EXTRA[kind]}){mask})")
        return
    b.lines += ["if not FAST:", f"    {value} = tl.where(ok, {value}, 0.0)"]
    few, signed = f"({random_bits(b, array)} >> 1)", kind == "linear8"
    code, scale = b.several(f"coded({value}, {few}, {TOP[kind]!r}, {signed}, {PROGRAM})", 2)
    block = b.put(f"start // {BLOCK} + tl.arange(0, {PROGRAM // BLOCK})")
    b.lines.append(f"tl.store({at[part]} + {block}, {scale}, {block} < (n + {BLOCK - 1}) // {BLOCK})")
    b.lines.append(f"tl.store({to}, {code}.to(tl.{'int8' if signed else 'uint8'}){mask})")
