"""The backend for people: the equations of a rule, from the same graph that the kernels come from."""

from collections import Counter
from collections.abc import Callable, Iterable

from ravine.compile.expr import Expr, walk
from ravine.compile.trace import Program

GREEK = {
    "betas.0": r"\beta_1",
    "betas.1": r"\beta_2",
    "etas.0": r"\eta_-",
    "etas.1": r"\eta_+",
    "step_sizes.0": r"\Delta_{min}",
    "step_sizes.1": r"\Delta_{max}",
    "eps": r"\varepsilon",
    "weight_decay": r"\lambda",
    "lr": r"\eta",
    "rho": r"\rho",
    "alpha": r"\alpha",
    "momentum": r"\mu",
    "dampening": r"\tau",
    "momentum_decay": r"\psi",
}
LEVEL = {"add": 1, "sub": 1, "neg": 1, "mul": 2}  # of precedence; what is not here binds tightest
SYMBOL = {"add": "{0} + {1}", "sub": "{0} - {1}", "mul": r"{0}\,{1}", "neg": "-{0}"}


def equations(program: Program) -> str:
    """LaTeX lines `symbol &= …`, each state first, then the parameter; long parts used twice get a line of their own."""
    names: dict[Expr, str] = {}
    lines: list[str] = []
    free = next(x for x in "dabch" if x not in program.next)
    parts = iter(range(1, 99))

    def say(symbol: str, x: Expr) -> None:
        lines.append(rf"{symbol} &= {tex(x, names)}")
        if x.src and x not in names:
            names[x] = symbol

    often = shared(program.outputs.values())
    for symbol, x in [*((f"{letter(k)}_t", x) for k, x in program.next.items()), (r"\theta_t", program.p)]:
        for part in walk([x], names):
            if part in often and part not in names and part is not x and part not in program.next.values():
                say(f"{free}_{{{next(parts)}}}", part)
        say(symbol, x)
    return " \\\\\n".join(lines)


def shared(roots: Iterable[Expr]) -> set[Expr]:
    """Parts that are used more than once and are long enough to deserve a name."""
    within = walk(roots)
    uses = Counter(s for x in within for s in x.src)
    return {x for x in within if uses[x] > 1 and len(walk([x])) > 6}


SYMBOLS = {"delta": r"\Delta", "mu_product": r"\Pi", "vmax": r"\hat{v}", "ahead": r"\alpha"}  # of states


def letter(name: str) -> str:
    """A state's name as a symbol: single letters as written, longer words upright; `m.0` has an index."""
    word, _, index = name.partition(".")
    if word in SYMBOLS:
        return SYMBOLS[word]
    word = word if len(word) == 1 else rf"\mathrm{{{word.replace('_', ' ')}}}"
    return f"{{{word}^{{({index})}}}}" if index else word


def leaf(x: Expr) -> str:
    """What is read: before the step, so states and the parameter have t − 1."""
    match x.op:
        case "const":
            return f"{x.arg:g}"
        case "hyper":
            return GREEK.get(str(x.arg), rf"\mathrm{{{str(x.arg).replace('_', ' ')}}}")
        case "p":
            return r"\theta_{t-1}"
        case "g":
            return "g_t"
        case "t":
            return "t"
        case "state":
            return f"{letter(str(x.arg))}_{{t-1}}"
        case "size":
            return {"r": "r", "c": "c"}[str(x.arg)]
        case _:
            return "I"


def tex(x: Expr, names: dict[Expr, str]) -> str:
    """One expression."""
    if x in names:
        return names[x]

    def part(i: int, level: int = 0) -> str:
        inner = tex(x.src[i], names)
        loose = x.src[i] not in names and LEVEL.get(x.src[i].op, 9) < level
        return rf"\left({inner}\right)" if loose else inner

    forms: dict[str, Callable[[], str]] = {
        "div": lambda: rf"\frac{{{part(0)}}}{{{part(1)}}}",
        "sqrt": lambda: rf"\sqrt{{{part(0)}}}",
        "abs": lambda: rf"\left|{part(0)}\right|",
        "pow": lambda: rf"{{{brace(x.src[0], names)}}}^{{{part(1)}}}",
        "max": lambda: rf"\max\left({part(0)}, {part(1)}\right)",
        "min": lambda: rf"\min\left({part(0)}, {part(1)}\right)",
        "gt": lambda: rf"{part(1)} < {part(0)}" if x.src[0].op == "const" else rf"{part(0)} > {part(1)}",
        "ge": lambda: rf"{part(0)} \ge {part(1)}",
        "where": lambda: rf"\begin{{cases}} {part(1)} & {part(0)} \\ {part(2)} & \text{{else}} \end{{cases}}",
        "sum": lambda: rf"\sum {part(0, 2)}",
        "matmul": lambda: rf"{part(0, 2)}\,{part(1, 2)}",
        "transpose": lambda: rf"{{{brace(x.src[0], names)}}}^\top",
    }
    if x.op in forms:
        return forms[x.op]()
    if x.op in SYMBOL:
        level = LEVEL[x.op]
        return SYMBOL[x.op].format(
            *(part(i, level + (x.op in ("sub", "neg") and i == len(x.src) - 1)) for i in range(len(x.src)))
        )
    if x.op == "call":
        return rf"\mathrm{{{x.arg[0].__name__.replace('_', ' ')}}}\left({part(0)}\right)"  # pyright: ignore
    return leaf(x)


def brace(x: Expr, names: dict[Expr, str]) -> str:
    """The base of a power: bare if it is one symbol."""
    inner = tex(x, names)
    return inner if not x.src or (x in names and "_" in inner and not inner.endswith("}")) else rf"\left({inner}\right)"
