"""One trial: an optimizer with its hyperparameters, a seed and a task. What it is, and how it is run."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # pyright: ignore

from ravine.schedules import OneCycle, Scheduler
from ravine.schedules.written import read

from ..seeding import seed_all
from ..tasks import Data, Task
from . import curriculum
from .evaluation import PARTS, Evaluation, bounded, evaluated
from .passes import Passes, switch
from .routing import made

DIVERGED = 10  # times the loss of the seed's own weights: what training loss has no business to reach


@dataclass(frozen=True)
class Trial:
    """All that decides a result; two trials with the same key would give the same numbers."""

    task: str
    optimizer: str
    hyper: tuple[tuple[str, Any], ...]
    seed: int
    epochs: int
    batch: int
    content: str  # hash of what the task does, of the code and of the versions
    after: str = ""  # key of the trial whose last weights this one starts from (--carry-over)
    schedule: str = "constant"  # what lr is multiplied by, as ravine.schedules.written has it
    curriculum: str = "none"  # the order of the rows
    device: str = "cpu"  # or cuda, whichever of them
    precision: str = "float32"  # of the passes; weights and states are float32
    compiled: bool = False

    @cached_property
    def key(self) -> str:
        """The trial's name in the records."""
        return key_of(asdict(self))

    @property
    def lr(self) -> float:
        """The learning rate, as the grid gave it."""
        return dict(self.hyper)["lr"]


def key_of(fields: dict[str, Any]) -> str:
    """The key of the trial that has these fields."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class Result:
    """What a trial measured. The lists have one number for each evaluation; `train` is the mean loss of the batches
    since the one before (the first, before any step, is of one batch), `deviation` their standard deviation."""

    diverged_at: int | None = None
    seconds: float = 0.0  # of training; the clock stands still during evaluation
    step: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)
    test: float | None = None  # loss and metric at the end, on the part that nothing was chosen on
    test_metric: float | None = None
    parts: list[float] = field(default_factory=list)  # the loss over parts of the rows that a verdict is about

    @property
    def final(self) -> float:
        """The validation loss at the end; infinite if it diverged."""
        return math.inf if self.diverged_at is not None else self.valid[-1]


def run(trial: Trial, task: Task, data: Data, optimizer: type, model: nn.Module | None = None,
        tell: Callable[[int], None] = lambda step: None,
        meet: Callable[[torch.optim.Optimizer], object] = lambda opt: None) -> tuple[Result, nn.Module]:  # fmt: skip
    """Trains, from `model` as it is or from the seed's own weights, and returns the measurements and the model; `meet`
    is given the optimizer before its first step."""
    x, y = data.x, data.y
    seed_all(trial.seed)
    fresh = task.model().to(x.device)
    model = fresh if model is None else model
    seed_all(trial.seed)  # dropout too is the same for every optimizer
    order = curriculum.order(trial.curriculum, task, data, trial.epochs, trial.seed)
    opt = made(optimizer, model, dict(trial.hyper))
    meet(opt)
    passes = Passes(model, opt, trial.device, trial.precision, trial.compiled, task.loss)

    result, batches = Result(), -(-len(x) // trial.batch)
    schedule = scheduled(opt, trial.schedule, trial.epochs * batches)
    marks = evaluation_steps(trial.epochs, batches)
    step, losses = 0, list[float]()
    with torch.no_grad():
        start = x[: trial.batch], y[: trial.batch]
        first = task.objective(model, passes.forward(start[0], model), start[1]).item()
        usual = first
        if model is not fresh:
            usual = task.objective(fresh, passes.forward(start[0], fresh), start[1]).item()
    _measure(result, 0, [first], task, passes, data)
    started = time.perf_counter()
    for epoch in range(trial.epochs):
        for rows in order(epoch).to(x.device).split(trial.batch):
            batch = x.index_select(0, rows), y.index_select(0, rows)
            losses.append(_advanced(passes, lambda b=batch: task.objective(model, passes.forward(b[0]), b[1])))
            schedule.step()
            step += 1
            if step in marks or not math.isfinite(losses[-1]):
                result.seconds += time.perf_counter() - started
                _measure(result, step, losses, task, passes, data)
                if _diverged(result, usual):
                    result.diverged_at = step
                    return result, model
                if "plateau" in trial.schedule:
                    schedule.report(result.valid[-1])
                tell(step)
                losses, started = [], time.perf_counter()
    if data.x_test is not None and data.y_test is not None:
        result.test, result.test_metric, result.parts = _evaluated(task, passes, data.x_test, data.y_test, PARTS)
    else:
        result.parts = _evaluated(task, passes, data.x_valid, data.y_valid, PARTS).parts
    switch("eval", opt)  # whoever takes the model on takes the weights that were measured
    return result, model


def scheduled(opt: torch.optim.Optimizer, name: str, total: int) -> Scheduler:
    """The schedule that is written so, for a run of so many steps; one-cycle moves momentum or β₁ too, where there is
    one."""
    schedule, group = read(name, total), opt.param_groups[0]
    if isinstance(schedule, OneCycle) and (group.get("momentum") or "betas" in group):
        return Scheduler(opt, lr=schedule, momentum=schedule.momentum())
    return Scheduler(opt, lr=schedule)


def evaluation_steps(epochs: int, batches: int) -> set[int]:
    """At the end of each epoch, and between them where epochs are few: at least 20 in all, if there are 20 steps."""
    parts = -(-20 // epochs)
    return {round((e + p / parts) * batches) for e in range(epochs) for p in range(1, parts + 1)} - {0}


def _advanced(passes: Passes, objective: Callable[[], Tensor]) -> float:
    """A step; the loss before it, infinite where the method refuses to go on with numbers that are not finite."""
    seen: list[Tensor] = []

    def gradients() -> Tensor:
        seen.append(objective())
        passes.backward(seen[-1])
        return seen[-1]

    try:
        passes.move(gradients)
    except (FloatingPointError, LinAlgError):
        grads = [p.grad.to_dense() for p in passes.params if p.grad is not None]
        if all(x.isfinite().all() for x in (*seen, *passes.params, *grads)):
            raise
        return math.inf
    return seen[0].item()


def _diverged(result: Result, usual: float) -> bool:
    train, valid = result.train[-1], result.valid[-1]
    return not math.isfinite(train + valid) or train > usual + (DIVERGED - 1) * abs(usual)


def _measure(result: Result, step: int, losses: list[float], task: Task, passes: Passes, data: Data) -> None:
    """Adds a point; `losses` are those of the batches since the last one."""
    mean = bounded(sum(losses) / len(losses))
    loss, metric, _ = _evaluated(task, passes, data.x_valid, data.y_valid)
    result.step.append(step)
    result.train.append(mean)
    result.deviation.append(bounded(math.sqrt(sum((x - mean) * (x - mean) for x in losses) / len(losses))))
    result.valid.append(loss)
    result.metric.append(metric)


def _evaluated(task: Task, passes: Passes, x: Tensor, y: Tensor, parts: int = 1) -> Evaluation:
    """Loss and metric over these examples, with model and optimizer in their evaluation form."""
    switch("eval", passes.model, passes.opt)
    found = evaluated(task, lambda rows: passes.forward(rows, passes.model), x, y, parts)
    switch("train", passes.model, passes.opt)
    return found
