"""Every op of a rule is computed and written wherever `check` lets it stand; what a table leaves out has a reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import ravine.words as words
from ravine.compile import interpret
from ravine.compile.check import OPS
from ravine.compile.emit import host, latex, llvm, text, triton
from ravine.compile.emit.llvm import body as llvm_body
from ravine.compile.emit.triton import body as triton_body
from ravine.compile.expr import LEAVES, MATRIX, REDUCE, SCALAR, Expr, node
from ravine.compile.plan import Matrix
from ravine.optimizer import Optimizer
from ravine.words import col_total, every, matrix_total, number, row_total, total

BEGIN = {"fill"}  # init() alone has it: how a state begins
DEVICE = {  # of the tables of processors
    **dict.fromkeys(LEAVES, "read from memory, or written as a constant"),
    **dict.fromkeys(MATRIX, "torch runs it, between two kernels"),
    **dict.fromkeys(REDUCE, "ends a kernel: a loop adds up what is made before it"),
    "fill": "the launch makes the states",
    "every": "the sums of all tensors are added up between two kernels",
    "turn": "whether torch runs something",
    "normal": "a function of the place of an element, called by Body.noise",
}
LEFT_OUT = {
    "reference": (
        interpret.OPS,
        dict.fromkeys([*LEAVES, *REDUCE, "call", "part", "turn", "fill", "normal"], "evaluate() has a case of its own")
        | {"every": "the launch adds it up and gives it"},
    ),
    "host": (
        host.OPS,
        dict.fromkeys([*LEAVES, "every"], "given, or a constant")
        | dict.fromkeys([*MATRIX, *REDUCE, "normal", "turn"], "of tensors")
        | {"fill": "the launch makes the states"},
    ),
    "llvm": (
        llvm_body.OPS,
        DEVICE
        | dict.fromkeys(["exp", "log", "floor"], "check() leaves it to numbers of the host")
        | {"pow": "simplify() writes it as products and roots, and else it is the host's"},
    ),
    "triton": (triton_body.OPS, DEVICE),
    "triton in float32": (triton_body.FLOAT32, DEVICE),
    **{
        name: (table.forms, dict.fromkeys(LEAVES, "Notation.leaf() names it") | {"fill": "equations are of a step"})
        for name, table in (("latex", latex.LATEX), ("text", text.TEXT))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_table_has_every_op_but_those_with_a_reason(name):
    table, reasons = LEFT_OUT[name]
    assert OPS - table.keys() == set(reasons)


def test_every_op_that_a_rule_can_make_is_known():
    """Words and operators make ops by name; measures and modifiers with them."""
    made = {
        call.args[0].value
        for file in Path(words.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("node", "leaf")
        if isinstance(call.args[0], ast.Constant)
    }
    assert made == OPS


PLACES = {  # where in a rule an op may be asked for, and a positive number there
    "host": lambda s, g, t, lr: s.n + lr * t,
    "every": lambda s, g, t, lr: every(total(g**2)),
    "tensor": lambda s, g, t, lr: total(g**2),
    "matrix": lambda s, g, t, lr: matrix_total(g**2),
    "row": lambda s, g, t, lr: row_total(g**2),
    "column": lambda s, g, t, lr: col_total(g**2),
    "element": lambda s, g, t, lr: g**2,
}
UNARY = ("neg", "sqrt", "cbrt", "abs", "exp", "log", "floor")
BINARY = ("add", "sub", "mul", "div", "max", "min")


def uses(op: str, x: Expr, p: Expr) -> Expr:
    """A value that `op` makes of x."""
    match op:
        case "gt" | "ge":
            return words.where(node(op, x, 0.5), x, 2.0)
        case "where":
            return words.where(x > 0.5, 2.0, x)
        case "pow":
            return x**3
        case "sum" | "amax":
            return node(op, x, shape=SCALAR)
        case "every":
            return every(total(x))
        case "normal":
            return words.normal(p, x, x)
        case "matmul":
            return x @ p.T @ p
        case "transpose":
            return x.T.T
        case "call":
            return words.matrix_op(torch.neg)(x)
        case "part":
            return words.matrix_op("r c -> r c, r c")(lambda x: (-x, x))(x)[1]
        case "turn":
            return words.matrix_op(torch.neg)(x, due=words.turn(2, 3, stagger=True), old=x)
        case _ if op in UNARY:
            return node(op, x)
        case _ if op in BINARY:
            return node(op, node(op, 3.0, x), x + 0.5)
    raise AssertionError(f"no rule here uses {op}")


def rule(op: str, place: str) -> type[Optimizer]:
    """One that needs this op of a value of this place."""

    class Uses(Optimizer):
        lr: float = 0.1

        def init(self, s, p):
            s.n = number(1.0)

        def update(self, s, p, g, t):
            s.n = s.n + 1
            return p - self.lr * uses(op, PLACES[place](s, g, t, self.lr), p)

    return Uses


def legal(op: str) -> Iterator[type[Optimizer]]:
    """The rules with this op that `check` lets through."""
    for place in PLACES:
        try:
            step(rule(op, place), "reference")
        except TypeError:
            continue
        yield rule(op, place)


def step(cls: type[Optimizer], backend: str) -> torch.Tensor:
    """The weights after two steps."""
    p = torch.nn.Parameter(torch.linspace(-1, 2, 12, dtype=torch.float64).view(3, 4))
    opt = cls([p], backend=backend)
    for _ in range(2):
        p.grad = torch.linspace(0.1, 1, 12, dtype=torch.float64).view(3, 4)
        opt.step()
    return p.detach()


every_op = pytest.mark.parametrize("op", sorted(OPS - LEAVES - BEGIN))


@every_op
def test_what_check_lets_through_every_backend_writes(op):
    rules = list(legal(op))
    assert rules
    for cls in rules:
        opt = cls([torch.nn.Parameter(torch.zeros(3, 4))])
        program, plan = (of := opt.compiled(opt.param_groups[0])).program, of.plan
        recorded = not any(isinstance(x, Matrix) for x in plan.phases)
        for kind in ("float64", "float32"):
            kinds = dict.fromkeys(plan.arrays, kind)
            assert llvm.emit(plan, kinds)
            compile(triton.emit(plan, kinds, recorded=recorded), "<triton>", "exec")
        assert latex.equations(program) and text.equations(program) and host.emit(plan.numbers)


@pytest.mark.ci
@every_op
def test_llvm_computes_what_the_reference_computes(op):
    close = 1e-6 if op == "normal" else 1e-12  # noise is made in float32
    for cls in legal(op):
        torch.testing.assert_close(step(cls, "llvm"), step(cls, "reference"), rtol=close, atol=close)
