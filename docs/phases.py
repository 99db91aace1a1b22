"""The picture of docs/architecture.md: a step of LAMB with ClipNorm, phase by phase, drawn from its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import torch

import ravine
from ravine.compile.expr import BATCH, COL, ROW, Expr, walk
from ravine.compile.path import split
from ravine.compile.plan import Host, Kernel, Matrix, Phase, Plan, Reduce, Short, Sweep
from ravine.mods import ClipNorm
from ravine.visuals.palette import COLOURS

WIDTH, LINE, GAP = 440, 19, 12  # pixels: as wide as a phone, so that the text stays readable there
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#333}.name{font-weight:600}.note{fill:#666}"
    f".box{{fill:none;stroke:#bbb}}.host{{stroke:{COLOURS[0]}}}.sweep{{stroke:{COLOURS[2]}}}"
    f".exchange{{stroke:{COLOURS[1]};stroke-width:2.5}}.call{{fill:none;stroke:#999;stroke-dasharray:4 4}}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.note{fill:#999}.box{stroke:#666}.call{stroke:#777}"
    f".host{{stroke:{COLOURS[5]}}}.sweep{{stroke:#3CC9A0}}.exchange{{stroke:#FF9248}}}}"
)
OF = {ROW: "row", COL: "column", BATCH: "matrix"}


@dataclass(frozen=True)
class Box:
    """A phase as it is drawn: its name, and what it does in a line or two."""

    kind: str
    name: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return LINE * (1 + len(self.lines)) + 14


def picture() -> str:
    """The plan of a method that has sums over tensors, worn with one over all tensors."""
    opt = ravine.LAMB([torch.nn.Parameter(torch.ones(2, 2))], mods=[ClipNorm(1.0)])
    return drawn(calls(opt.compiled(opt.param_groups[0]).plan))


def calls(plan: Plan) -> list[list[Box]]:
    """The phases in order; those that a backend runs in one call stand together."""
    kernels, found = iter(plan.kernels), list[list[Box]]()
    for phase in plan.phases:
        follows = isinstance(phase, Short) or (isinstance(phase, Reduce) and not phase.all)
        found += [] if follows else [[]]
        found[-1].append(box(plan, phase, kernels))
    return found


def box(plan: Plan, phase: Phase, kernels: Iterator[Kernel]) -> Box:
    """A phase in words."""
    match phase:
        case Host(stage):
            numbers = plan.stages[stage]
            return Box("host", "Host", (f"{len(numbers)} numbers, float64", f"from {', '.join(sources(numbers))}"))
        case Sweep(sums):
            kernel = next(kernels)
            writes = ", ".join(plan.writes(kernel))
            left = f"writes {writes}" if writes else f"leaves partial sums: {len(sums)}"
            return Box("sweep", "Sweep", (f"reads {', '.join(plan.reads(kernel))}", left))
        case Reduce(sums) if phase.all:
            return Box("exchange", "Reduce over all tensors", (f"sums: {len(sums)}", "the exchange: batches meet here"))
        case Reduce(sums):
            of = dict.fromkeys(OF.get(x.shape, "tensor") for x in sums)
            return Box("reduce", "Reduce", (f"sums of each {' and '.join(of)}: {len(sums)}",))
        case Short(scalars, vectors):
            return Box("short", "Short", (f"writes {', '.join(k for k, _ in (*scalars, *vectors))}",))
        case Matrix(nodes, stores):
            return Box("matrix", "Matrix", (f"operations: {len(nodes)}; states: {len(stores)}",))


def sources(numbers: Sequence[Expr]) -> list[str]:
    """The names of what the host's numbers are computed from."""
    found = list[str]()
    for x in walk(numbers, {x for x in walk(numbers) if x.op == "every"}):
        if x.op == "hyper":
            key, steps = split(str(x.arg))
            found += [next((str(step) for step in reversed(steps) if isinstance(step, str)), key)]
        elif x.op in ("t", "loss", "state", "every"):
            found += ["the sums" if x.op == "every" else str(x.arg)]
    return list(dict.fromkeys(found))


def drawn(found: Sequence[Sequence[Box]]) -> str:
    """The boxes under each other, with a frame around those of a call."""
    y, parts = 8, list[str]()
    for call in found:
        top, framed = y, call[0].kind == "sweep"
        if framed:
            parts.append(f'<text class="note" x="18" y="{top + LINE}">one call for all tensors</text>')
            y += LINE + GAP - 4
        for x in call:
            parts += one(x, y)
            y += x.height + GAP
        if framed:
            parts.append(f'<rect class="call" x="8" y="{top}" width="{WIDTH - 16}" height="{y - 4 - top}" rx="8"/>')
            y += GAP - 4
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def one(x: Box, y: int) -> list[str]:
    """A box with its text."""
    texts = [(x.name, ' class="name"'), *((line, "") for line in x.lines)]
    return [
        f'<rect class="box {x.kind}" x="18" y="{y}" width="{WIDTH - 36}" height="{x.height}" rx="5"/>',
        *(
            f'<text x="30" y="{y + LINE + 2 + LINE * i}"{mark}>{escape(text)}</text>'
            for i, (text, mark) in enumerate(texts)
        ),
    ]
