"""The walk on which authors' code and ravine's rules are compared, and what a comparison is.

Every file in `methods/` lists its Cases. A case is live, made by a package among the test extras, or recorded:
numbers that `record.py` wrote down while it ran the authors' own code at a named commit.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
SHAPES = ((6, 4), (5,), (3, 2, 2, 3))  # matrices, vectors and convolutions, since many methods tell them apart
SEEN = (1, 2, 3, 5, 8, 13, 21, 34, 50)  # the steps after which parameters are compared


@dataclass(frozen=True)
class Case:
    """One method beside its authors' implementation."""

    method: str  # the class in ravine
    source: str  # "lion-pytorch 0.2.5", or "owner/repository@commit path/in/it.py"
    hyper: dict[str, Any] = field(default_factory=dict)  # ravine's
    make: Callable[[list[torch.nn.Parameter]], Any] | None = None  # theirs, over parameters: a live case
    recorded: str = ""  # or the name of a file in recorded/
    shapes: tuple[tuple[int, ...], ...] = SHAPES
    dtype: torch.dtype = torch.float64
    tolerance: float = 1e-10  # of the largest of 1 and the number; say why where it is more
    note: str = ""  # what differs, and why
    loss: bool = False  # step() is given the loss: opt.step(loss=…) here; theirs through `step`
    curvature: float | None = None  # step() is given h, so many times the square of the gradient
    step: Callable[[Any, float], Any] | None = None  # how theirs is stepped, given (optimizer, loss); default .step()
    evaluate: bool = False  # compare the weights after eval(), too
    sparse: bool = False  # gradients are sparse: some rows have none
    from_zero: bool = False  # all weights begin at 0

    @property
    def id(self) -> str:
        """A name for test reports."""
        return f"{self.method}-{self.recorded or self.source.split()[0]}-{'-'.join(self.hyper)}"


def start(shapes=SHAPES, dtype=torch.float64, height=1.5) -> list[torch.nn.Parameter]:
    """The parameters at the beginning: numbers between -1.5 and 1.5 that any language can make again."""
    return [torch.nn.Parameter(wave(shape, 0.7 + 0.37 * k, height).to(dtype)) for k, shape in enumerate(shapes)]


def wave(shape: tuple[int, ...], frequency: float, height: float, phase: float = 0.0) -> torch.Tensor:
    count = math.prod(shape)
    values = [height * math.sin(frequency * (i + 1) + phase) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def slope(p: torch.Tensor, k: int, t: int) -> torch.Tensor:
    """The gradient of tensor k at step t = 0, 1 …: of a bowl, with a push that changes at every step."""
    push = wave(tuple(p.shape), 1.1 + 0.23 * k, 0.6, phase=2.3 * t)
    return ((0.2 + 0.1 * k) * p.detach().double() + push).to(p.dtype)


def loss(params) -> float:
    """A number that goes with the slopes: what methods that ask for the loss are given."""
    return sum((0.1 + 0.05 * k) * p.detach().double().square().sum().item() + 1.0 for k, p in enumerate(params))


def path(params, step: Callable[[float], Any], seen=SEEN, views: Any = None, sparse=False) -> list[list[list[float]]]:
    """Where each parameter is after each of the steps `seen`; `step` is called with the loss at every step.

    `views`, if given, is the optimizer: after its eval() the parameters count too, and train() goes back.
    """
    out = []

    def look():
        out.append([p.detach().double().flatten().tolist() for p in params])

    for t in range(max(seen)):
        for k, p in enumerate(params):
            g = slope(p, k, t)
            p.grad = some_rows(g, t) if sparse else g
        step(loss(params))
        if t + 1 in seen:
            look()
            if views is not None:
                views.eval()
                look()
                views.train()
                look()
    return out


def some_rows(g: torch.Tensor, t: int) -> torch.Tensor:
    """Two of three rows of g, and others at the next step, as a sparse tensor."""
    rows = torch.tensor([i for i in range(len(g)) if (i + t) % 3])
    return torch.sparse_coo_tensor(rows[None], g[rows], g.shape, check_invariants=False).coalesce()


def apart(a, b) -> float:
    """The largest difference of two paths, in units of the largest of 1 and the number; NaN if any number is."""
    gaps = [
        abs(x - y) / max(1.0, abs(y))
        for p, q in zip(a, b, strict=True)
        for r, s in zip(p, q, strict=True)
        for x, y in zip(r, s, strict=True)
    ]
    return math.nan if any(math.isnan(g) for g in gaps) else max(gaps)


def theirs(case: Case) -> list[list[list[float]]]:
    """The authors' path, walked once a process."""
    if id(case) not in WALKED:
        WALKED[id(case)] = (case, _theirs(case))
    return WALKED[id(case)][1]


WALKED: dict[int, tuple[Case, Any]] = {}


def _theirs(case: Case) -> list[list[list[float]]]:
    if case.recorded:
        return json.loads((HERE / "recorded" / f"{case.recorded}.json").read_text())["path"]
    params = start(case.shapes, case.dtype, 0.0 if case.from_zero else 1.5)
    opt = case.make(params)
    views = opt if case.evaluate else None
    return path(params, lambda at: case.step(opt, at) if case.step else opt.step(), views=views, sparse=case.sparse)


def ours(case: Case, backend: str = "reference", cls: Any = None, seen=SEEN, **other) -> list[list[list[float]]]:
    """ravine's path; `cls` in the place of the method's class, `other` hyperparameters before the case's."""
    import ravine

    params = start(case.shapes, case.dtype, 0.0 if case.from_zero else 1.5)
    opt = (cls or getattr(ravine, case.method))(params, backend=backend, **case.hyper | other)
    views = opt if case.evaluate else None

    def step(at):
        h = {} if case.curvature is None else {"h": {p: case.curvature * p.grad**2 for p in params}}
        opt.step(**h, **({"loss": at} if case.loss else {}))

    return path(params, step, seen, views, case.sparse)


def cases() -> list[Case]:
    """All of them."""
    found = []
    for file in sorted((HERE / "methods").glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"authors_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.CASES
    return found
