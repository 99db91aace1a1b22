"""Check that a Program is legal; an error names the rule and says what to write instead."""

from ravine.compile.call import Call
from ravine.compile.expr import (
    COMPARE,
    EVERY,
    FULL,
    HOST,
    LEAVES,
    MATRIX,
    REDUCE,
    SCALAR,
    VECTORS,
    Expr,
    is_matrix,
    walk,
)
from ravine.compile.trace import Program

OPS = (
    LEAVES
    | MATRIX
    | COMPARE
    | REDUCE
    | {"add", "sub", "mul", "div", "pow", "neg", "sqrt", "cbrt", "abs", "max", "min", "where", "fill"}
    | {"normal", "every", "exp", "log", "floor"}
)
OVER = {  # what a sum or maximum of this shape is made over
    SCALAR: (FULL, *VECTORS),
    VECTORS[0]: (FULL, *VECTORS[1:]),
    VECTORS[1]: (FULL,),
    VECTORS[2]: (FULL,),
}
POWERS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0)


def check(program: Program) -> Program:
    """The program itself, or a TypeError."""
    weights = {"the new parameter": program.p} | ({} if program.shown is None else {"to_eval()": program.shown})
    for name, x in {**program.outputs, **weights}.items():
        where = f"{program.name}: {name}"
        if not isinstance(x, Expr):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's rule may return anything
            raise TypeError(f"{where} is {x!r}, a plain {type(x).__name__}; a rule returns an expression")
        for y in walk([x]):
            check_node(where, y)
        if x.op in COMPARE:
            raise TypeError(f"{where} is a comparison; write where(a > b, 1, 0)")
    for name, x in program.next.items():
        check_state(f"{program.name}: state {name}", program.start[name].shape, x)
    for name, x in weights.items():
        if x.shape != FULL:
            raise TypeError(f"{program.name}: {name} has shape {x.shape}, not the parameter's")
    return program


def check_state(where: str, start: tuple[str, ...] | None, x: Expr) -> None:
    """A state must be able to hold what it becomes."""
    if start is HOST:
        if not x.on_host:
            raise TypeError(f"{where} is a number() but depends on a tensor; make it scalar()")
    elif start == SCALAR:
        if x.shape == FULL:
            raise TypeError(f"{where} is a scalar() but becomes a whole tensor; use zeros(p)")
        if x.shape in VECTORS:
            raise TypeError(f"{where} is a scalar() but becomes one number for each {x.shape}; use per_row or per_col")
    elif start in (FULL, *VECTORS):
        if x.shape != start and x.shape not in (HOST, EVERY, SCALAR):
            raise TypeError(f"{where} begins with shape {start} and becomes {x.shape}")
    elif x.shape != start:
        if x.shape in (HOST, EVERY, SCALAR):
            raise TypeError(f"{where} begins as a matrix {start} and becomes one number")
        raise TypeError(f"{where} begins with shape {start} and becomes {x.shape}")


def operands(x: Expr) -> tuple[Expr, ...]:
    """Those of a node that are no condition."""
    if isinstance(x.arg, Call) and x.arg.asked:
        return x.src[:-1]
    return x.src[x.op == "where" :]


def check_node(where: str, x: Expr) -> None:
    """Legal op, legal operands."""
    if x.op not in OPS:
        raise TypeError(f"{where}: unknown operation {x.op!r}")
    if x.op == "fill":
        raise TypeError(f"{where}: zeros(), filled(), number() and scalar() make states; they belong into init()")
    if any(s.op in COMPARE for s in operands(x)):
        raise TypeError(f"{where}: a comparison is no number; write where(a > b, 1, 0)")
    if x.op == "where" and x.src[0].op not in COMPARE:
        raise TypeError(f"{where}: where() takes a comparison such as a > b, not {x.src[0]!r}")
    if x.op == "pow" and not x.on_host:
        power = x.src[1]
        if power.op != "const" or power.arg not in POWERS:
            raise TypeError(f"{where}: a tensor or a norm can be raised to {POWERS}, not to {power!r}")
    if x.op == "where" and x.src[0].op == "turn":
        raise TypeError(f"{where}: turn(…, stagger=True) is for due= of a matrix_op; in where() leave stagger out")
    if x.op in REDUCE and not is_matrix(x.src[0]) and x.src[0].shape not in OVER.get(x.shape or SCALAR, ()):
        raise TypeError(f"{where}: a sum or norm takes a whole tensor, not shape {x.src[0].shape}")
    if x.op in ("exp", "log", "floor") and not x.on_host:
        raise TypeError(f"{where}: {x.op}() takes a number of the host, made of t and hyperparameters, not a tensor's")
    if x.op == "every" and not (x.src[0].op == "sum" and x.src[0].shape == SCALAR):
        raise TypeError(f"{where}: every() takes a total(…) of each tensor, not {x.src[0]!r}")
    if x.op == "normal" and not ((x.shape == FULL or is_matrix(x)) and all(s.shape is HOST for s in x.src)):
        raise TypeError(f"{where}: normal(p, seed, t) takes the parameter, or two sizes, and two numbers of the host")
