"""Sums of matrices with products, β X + α a b, which one call makes: as factors gather them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ravine.compile.expr import Expr, is_matrix


@dataclass
class Accumulated:
    """Sums β X + α a b of matrices, each made by one call; and what within them is not made by itself."""

    found: dict[Expr, tuple[Expr | None, Expr, Expr | None, tuple[Expr, Expr]]] = field(default_factory=dict[Any, Any])
    within: set[Expr] = field(default_factory=set[Expr])


@lru_cache(maxsize=256)
def accumulated(order: tuple[Expr, ...], asked: frozenset[Expr]) -> Accumulated:
    """Those among these nodes, where nothing but the sum wants its terms."""
    sums = Accumulated()
    if not any(x.op == "matmul" for x in order):
        return sums
    uses = Counter(s for x in order for s in x.src)

    def scaled(x: Expr) -> tuple[Expr | None, Expr]:
        """The factor, and what it is the factor of."""
        factor = x.op == "mul" and x.src[0].on_host and uses[x] == 1 and x not in asked
        return (x.src[0], x.src[1]) if factor else (None, x)

    for x in order:
        if x.op != "add" or not is_matrix(x):
            continue
        for one, other in (x.src, x.src[::-1]):
            (beta, old), (alpha, new) = scaled(one), scaled(other)
            if new.op == "matmul" and uses[new] == 1 and new not in asked and old.shape == new.shape:
                sums.found[x] = beta, old, alpha, (new.src[0], new.src[1])
                sums.within |= {new, *(y for y, f in ((one, beta), (other, alpha)) if f is not None)}
                break
    return sums


def is_gram(a: Expr, b: Expr) -> bool:
    """True for a matrix and its own transpose."""
    return (b.op == "transpose" and b.src[0] is a) or (a.op == "transpose" and a.src[0] is b)
