"""The rate of a rule: how far it moves each weight for a direction of 1, found in its graph.

A step is a product. One factor has the gradient's sign, and is the direction: g, a momentum. The others are never
negative: lr, 1/(√v̂ + ε), a trust ratio, the distance that a method without a learning rate has found. Their product is
the rate. What has the form 1 − x belongs to the direction: the weights of averages, 1 − β, and their corrections.
"""

from __future__ import annotations

from collections.abc import Mapping

from ravine.compile.expr import EVERY, REDUCE, Expr, const, leaf, node, walk


def rate(new: Expr, g: Expr, start: Mapping[str, Expr]) -> Expr:
    """The rate of each weight of a rule that makes `new` of the gradient g; start: of its states, how they begin.

    It is lr where the graph does not tell: of sign methods, of Rprop, and of rules whose step is no product.
    """
    lr, found = leaf("hyper", "lr"), Search(new, g, start).product(new)
    if lr not in set(walk([found])):
        return lr
    return found if found.on_host else node("where", node("gt", found, 0.0), found, 0.0)  # 0/0: it does not move


class Search:
    """Through the graph of one step, from the new weight to the gradient."""

    def __init__(self, new: Expr, g: Expr, start: Mapping[str, Expr]):
        self.g, self.start = g, start
        self.moved = {g}  # what the gradient of this step is in, and not by a sum alone
        for x in walk([new], {g}):
            if x.op not in REDUCE and any(s in self.moved for s in x.src):
                self.moved.add(x)

    def product(self, x: Expr) -> Expr:
        """The factors of the direction in x: 1 where x is the direction itself, 0 where it is no step."""
        if x is self.g:
            return const(1.0)
        if x not in self.moved:
            return const(0.0)
        match x.op, x.src:
            case "neg", (a,):
                return self.product(a)
            case (("add" | "sub" | "max" | "min"), (a, b)) if a not in self.moved or b not in self.moved:
                return self.product(a if a in self.moved else b)  # beside it decay, a momentum; or it is clipped
            case "where", (condition, a, b) if not any(s.op == "const" and s.arg for s in (a, b)):  # else a sign
                one, other = self.product(a), self.product(b)
                return one if one is other else node("where", condition, one, other)
            case (("mul" | "div"), _):
                return self.factors(x)
            case _:
                return const(1.0)

    def factors(self, x: Expr) -> Expr:
        """The factors of the direction in a product."""
        above, below = self.parts(x)
        signed = [y for y in above if not self.positive(y)]
        if len(signed) != 1 or not all(self.positive(y) for y in below):
            return const(1.0)
        out = self.product(signed[0])
        for op, side in (("mul", above), ("div", below)):
            for y in side:
                if y is not signed[0] and self.counts(y):
                    out = y if op == "mul" and out.op == "const" and out.arg == 1.0 else node(op, out, y)
        return out

    def counts(self, x: Expr) -> bool:
        """True for a factor that is a rate and no weight of an average, nor its correction."""
        if not x.on_host or x.shape == EVERY:
            return True
        if x.op == "sub" and x.src[0].op == "const" and x.src[0].arg == 1.0:
            return False
        if x.op == "where":
            return any(self.counts(y) for y in x.src[1:])
        of = [y for y in walk([x]) if not y.src]
        return any(y.op == "t" or (y.op, y.arg) == ("hyper", "lr") or self.begins(y) == "shared" for y in of)

    def begins(self, x: Expr) -> object:
        """The mark of a state from init(): True for one that is never negative, "shared" for all parameters'."""
        return self.start[str(x.arg)].arg if x.op == "state" and str(x.arg) in self.start else None

    def positive(self, x: Expr) -> bool:
        """True for what is never negative; numbers of the host are taken for that."""
        if x.op == "neg" or (x.op == "const" and float(str(x.arg)) < 0):
            return False
        if x.on_host or x.op in ("sqrt", "abs", "size") or self.begins(x) is True:
            return True
        sides = [self.positive(s) for s in x.src[x.op == "where" :]]
        match x.op:
            case "mul":
                return all(sides) or x.src[0] is x.src[1]
            case "pow":
                return sides[0] or (x.src[1].op == "const" and float(str(x.src[1].arg)) % 2 == 0)
            case "max":
                return any(sides)
            case "add" | "div" | "min" | "where" | "cbrt" | "sum" | "amax" | "every":
                return all(sides)
            case _:
                return False

    def parts(self, x: Expr) -> tuple[list[Expr], list[Expr]]:
        """The factors of a product, above and below the line."""
        if x is self.g or x.op not in ("mul", "div"):
            return [x], []
        (above, below), (a, b) = self.parts(x.src[0]), self.parts(x.src[1])
        return (above + a, below + b) if x.op == "mul" else (above + b, below + a)
