"""What a legal Program is; an error names the rule and says what to write instead."""

from ravine.compile.expr import COMPARE, FULL, HOST, LEAVES, MATRIX, SCALAR, Expr, walk
from ravine.compile.trace import Program

OPS = (
    LEAVES
    | MATRIX
    | COMPARE
    | {"add", "sub", "mul", "div", "pow", "neg", "sqrt", "abs", "max", "min", "where", "sum", "fill"}
)
POWERS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0)


def check(program: Program) -> Program:
    """The program itself, or a TypeError."""
    for name, x in [*program.outputs.items(), *program.views.items()]:
        where = f"{program.name}: {name}"
        if not isinstance(x, Expr):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's rule may return anything
            raise TypeError(f"{where} is {x!r}, a plain {type(x).__name__}; a rule returns an expression")
        for y in walk([x]):
            check_node(where, y)
        if x.op in COMPARE:
            raise TypeError(f"{where} is a comparison; write where(a > b, 1, 0)")
    for name, x in program.next.items():
        start = program.start[name].shape
        if x.shape != start and x.shape not in (HOST, SCALAR):
            raise TypeError(f"{program.name}: state {name} begins with shape {start} and becomes {x.shape}")
        if start not in (HOST, SCALAR, FULL) and x.shape != start:
            raise TypeError(f"{program.name}: state {name} begins as a matrix {start} and becomes one number")
        if start is HOST and x.shape is not HOST:
            raise TypeError(f"{program.name}: {name} is a number() but depends on a tensor; make it scalar()")
        if start == SCALAR and x.shape == FULL:
            raise TypeError(f"{program.name}: {name} is a scalar() but becomes a whole tensor; use zeros(p)")
    for name, x in {"the new parameter": program.p, **program.views}.items():
        if x.shape != FULL:
            raise TypeError(f"{program.name}: {name} has shape {x.shape}, not the parameter's")
    return program


def check_node(where: str, x: Expr) -> None:
    """Legal op, legal operands."""
    if x.op not in OPS:
        raise TypeError(f"{where}: unknown operation {x.op!r}")
    if x.op == "fill":
        raise TypeError(f"{where}: zeros(), filled(), number() and scalar() make states; they belong into init()")
    if any(s.op in COMPARE for s in x.src[x.op == "where" :]):
        raise TypeError(f"{where}: a comparison is no number; write where(a > b, 1, 0)")
    if x.op == "where" and x.src[0].op not in COMPARE:
        raise TypeError(f"{where}: where() takes a comparison such as a > b, not {x.src[0]!r}")
    if x.op == "pow" and x.shape is not HOST:
        power = x.src[1]
        if power.op != "const" or power.arg not in POWERS:
            raise TypeError(f"{where}: a tensor or a norm can be raised to {POWERS}, not to {power!r}")
    if x.op == "sum" and x.src[0].shape != FULL:
        raise TypeError(f"{where}: total() and norm() take a whole tensor, not shape {x.src[0].shape}")
