"""The same numbers with less work in the inner loop: what the host can do, the host does."""

from ravine.compile.expr import FULL, Expr, node, walk
from ravine.compile.trace import Program


def simplify(program: Program, roots: bool = False) -> Program:
    """A program that steps to the same numbers up to rounding; its views are left out, no kernel computes them.

    roots: of states that are never negative the roots are stored, so what needs √(a x) shall take √a √x.
    """
    new: dict[Expr, Expr] = {}
    stored = {x for k, x in program.next.items() if program.start[k].arg is True and x.shape == FULL} if roots else ()
    more = [*program.measures.values(), *([] if program.guard is None else [program.guard])]
    for x in walk([*program.outputs.values(), *more]):
        new[x] = rewrite(node(x.op, *(new[s] for s in x.src), arg=x.arg, shape=x.shape)) if x.src else x
        match new[x].op, new[x].src:
            case "sqrt", (a,) if a.op == "mul" and a.src[0].on_host and any(new.get(s) is a.src[1] for s in stored):
                new[x] = node("mul", node("sqrt", a.src[0]), node("sqrt", a.src[1]))
            case _:
                pass
    return Program(
        program.name,
        program.start,
        {k: new[x] for k, x in program.next.items()},
        new[program.p],
        measures={k: new[x] for k, x in program.measures.items()},
        guard=None if program.guard is None else new[program.guard],
        inputs=program.inputs,
    )


def rewrite(x: Expr) -> Expr:
    """One node, simpler where a rule applies."""
    match x.op, x.src:
        case "mul" | "div", (a, b) if not x.on_host and "neg" in (a.op, b.op):  # in front of a sum: see below
            made = rewrite(node(x.op, *(s.src[0] if s.op == "neg" else s for s in (a, b))))
            return made if a.op == b.op else rewrite(node("neg", made))
        case "sum" | "every", (a,) if a.op == "neg":  # LLVM subtracts negated terms, in another order than it adds them
            return node("neg", node(x.op, a.src[0], arg=x.arg, shape=x.shape))
        case "pow", (a, b) if not x.on_host and b.op == "const":
            return power(a, b.arg)
        case "div", (a, b) if not x.on_host and b.on_host and b.op != "const":
            return rewrite(node("mul", a, node("div", 1.0, b)))
        case "mul", (a, b) if a.on_host and not b.on_host:
            return scale(b, a)
        case "mul", (a, b) if b.on_host and not a.on_host:
            return scale(a, b)
        case "neg", (a,) if a.op == "neg":
            return a.src[0]
        case "add", (a, b) if b.op == "neg":
            return node("sub", a, b.src[0])
        case "sub", (a, b) if b.op == "neg":
            return node("add", a, b.src[0])
        case _:
            return x


def scale(x: Expr, by: Expr) -> Expr:
    """by · x, with the host's factors gathered into one; the host's factor stands first."""
    if by.op == "const" and by.arg == 1.0:
        return x
    if x.op == "mul" and x.src[0].on_host:
        return node("mul", node("mul", by, x.src[0]), x.src[1])
    return node("mul", by, x)


def power(a: Expr, b: object) -> Expr:
    """aᵇ by multiplications and roots, for the powers that `check` lets through."""
    match b:
        case 0.5:
            return node("sqrt", a)
        case 1.0:
            return a
        case 2.0 | 4.0:
            half = power(a.src[0] if a.op == "neg" else a, b / 2)
            return node("mul", half, half)
        case 3.0:
            return node("mul", power(a, 2.0), a)
        case -0.5 | -1.0 | -2.0:
            return node("div", 1.0, power(a, -b))
        case _:
            raise AssertionError(f"check() let the power {b} through")
