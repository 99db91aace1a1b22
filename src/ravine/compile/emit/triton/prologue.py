"""The host's part of a step, on the device: its numbers, sums over all tensors, and the clocks after the step.

A plan's numbers are computed in float64 by one program for each row of their table. Before the table stands one number
more: whether the step is made at all. The last kernel and what follows it look there first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ravine.compile.emit.host import needed
from ravine.compile.emit.triton.body import Body
from ravine.compile.expr import COMPARE, EVERY, Expr, walk
from ravine.compile.plan import Plan
from ravine.compile.watch import GUARD

FRONT = 2  # places before the table for it; two, so that the table begins at a multiple of 16 bytes
MADE = f"numbers - {FRONT}"  # where it stands whether the step is made
GIVEN = ("hyper", "input")  # leaves whose values come from outside
NUMBER = "tl.load(clocks + {}).to(tl.pointer_type(tl.float64))"  # where a clock's step lies, and its other numbers
STEP = NUMBER.format(0)

# Of a negative number only whole powers exist.
POWER = """
@triton.jit
def power(a, b):
    size = tl.where(b == 0, 1.0, tl.exp(b * tl.log(tl.abs(a))))
    whole = tl.floor(b) == b
    odd = tl.floor(b * 0.5) * 2 != b
    return tl.where(a < 0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)
"""


def given(plan: Plan) -> list[str]:
    """The hyperparameters and inputs that the numbers are made from, in the order of the table of what is given.
    Before them stands the infinity that a GradScaler has found, or 0."""
    leaves = [x for x in needed(plan.numbers) if x.op in GIVEN]
    return list(dict.fromkeys(str(x.arg) for x in leaves))


def emit(plan: Plan) -> str:
    """The source of `stage0`, `stage1` …, of `gather0`, `gather1` … for each sum, and of `close`."""
    stages = [stage(plan, i, numbers) for i, numbers in enumerate(plan.stages)]
    sums = [x for phase in plan.gathers for x in phase.sums]
    return "\n".join([POWER, *stages, *(gather(plan, x) for x in sums), close(plan)])


def stage(plan: Plan, i: int, numbers: Sequence[Expr]) -> str:
    """The numbers of one stage, and whether the step is made, as far as it is known by now."""
    b, known = Body(plan, {"p": "float64"}), [x for phase in plan.gathers[:i] for x in phase.sums]
    places, carried = given(plan), list(plan.hosted)
    b.lines += ["row = tl.program_id(0)", f"given += {1 + len(places)} * row", f"clocks += {1 + len(carried)} * row"]
    made = b.put("tl.load(given) == 0")
    for x in known:
        b.double[x] = b.put(f"tl.load({total(plan, x)})")
        if x.arg == GUARD:
            made = b.put(f"{made} & ({b.double[x]} - {b.double[x]} == 0)")
    b.lines.append(f"tl.store({MADE}, {made}.to(tl.float64))")
    for x in walk(numbers, set(known)):
        if x.op == "const" or x in b.double:
            continue
        if x.op in GIVEN:
            b.double[x] = b.put(f"tl.load(given + {1 + places.index(str(x.arg))})")
        elif x.op == "t":
            b.double[x] = b.put(f"tl.load({STEP}) + 1")
        elif x.op == "state":
            b.double[x] = b.put(f"tl.load({NUMBER.format(1 + carried.index(str(x.arg)))})")
        else:
            b.double[x] = b.operation(x, wide=True)
    for x in numbers:
        value = f"{b.value(x, wide=True)}.to(tl.float64)" if x.op in COMPARE else b.value(x, wide=True)
        b.lines.append(f"tl.store(numbers + {len(plan.numbers)} * row + {plan.numbers.index(x)}, {value})")
    return b.function(f"stage{i}(clocks, given, totals, numbers)")


def gather(plan: Plan, x: Expr) -> str:
    """Adds the sums of all tensors of a launch to the sum over all, in order."""
    assert x.shape == EVERY
    place = plan.sums.index(x.src[0])
    return f"""
@triton.jit
def gather{place}(sums, totals, tensors, BLOCK: tl.constexpr):
    held = tl.zeros((BLOCK,), tl.float64)
    first = 0
    while first < tensors:
        k = first + tl.arange(0, BLOCK)
        held += tl.load(sums + {len(plan.sums)} * k + {place}, k < tensors, 0.0)
        first += BLOCK
    total = {total(plan, x)}
    tl.store(total, tl.load(total) + tl.sum(held, 0))
"""


def total(plan: Plan, x: Expr) -> str:
    """The address of a sum over all tensors, which launches share."""
    return f"tl.load(totals + {plan.everys.index(str(x.arg))}).to(tl.pointer_type(tl.float64))"


def close(plan: Plan) -> str:
    """The clocks move on, row after row, where the step was made."""
    lines = [f"tl.store({STEP}, tl.load({STEP}) + 1)"]
    lines += [
        f"tl.store({NUMBER.format(i)}, tl.load(numbers + {plan.numbers.index(x)}))"
        for i, x in enumerate(plan.hosted.values(), 1)
    ]
    moves = [f"clocks += {1 + len(plan.hosted)}", f"numbers += {len(plan.numbers)}", "row += 1"]
    body = "".join(f"            {line}\n" for line in [*lines, *moves])
    return f"""
@triton.jit
def close(clocks, numbers, rows):
    if tl.load({MADE}) != 0:
        row = 0
        while row < rows:
{body}"""


def gated(text: str) -> str:
    """A kernel, and what follows it, that do nothing where the step is not made."""
    gate = f"    if tl.load({MADE}) == 0:\n        return\n"
    return re.sub(r"(\ndef (?:kernel|finish)\w*\(.*\):\n)", rf"\1{gate}", text)
