"""One trial: an optimizer with its hyperparameters, a seed and a task. What it is, and how it is run."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # pyright: ignore

from ravine.schedules import OneCycle, Scheduler
from ravine.schedules.written import read

from ..seeding import seed_all
from ..tasks import Data, Rows, Task
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
    evaluations: int | None = None  # in place of the task's
    give_up: float | None = None  # after this share of the steps, where the loss is not below its first

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
    metric_parts: list[float] = field(default_factory=list)  # what each such part adds to the metric

    @property
    def final(self) -> float:
        """The validation loss at the end; infinite if it diverged."""
        return math.inf if self.diverged_at is not None else self.valid[-1]


def run(trial: Trial, task: Task, data: Data, optimizer: type, model: nn.Module | None = None,
        tell: Callable[[int], None] = lambda step: None,
        meet: Callable[[torch.optim.Optimizer], object] = lambda opt: None) -> tuple[Result, nn.Module]:  # fmt: skip
    """Trains, from `model` as it is or from the seed's own weights, and returns the measurements and the model; `meet`
    is given the optimizer before its first step."""
    seed_all(trial.seed)
    fresh = task.model().to(data.device)
    model = fresh if model is None else model
    seed_all(trial.seed)  # dropout too is the same for every optimizer
    order = curriculum.order(trial.curriculum, task, data, trial.epochs, trial.seed)
    opt = made(optimizer, model, dict(trial.hyper))
    meet(opt)
    passes = Passes(model, opt, trial.device, trial.precision, trial.compiled, task.loss)

    result, batches = Result(), -(-data.rows // trial.batch)
    schedule = scheduled(opt, trial.schedule, trial.epochs * batches)
    marks = evaluation_steps(trial.epochs, batches, trial.evaluations or task.evaluations)
    doubt = None if trial.give_up is None else doubted(marks, trial.give_up * trial.epochs * batches)
    step, losses = 0, list[float]()

    def before(net: nn.Module) -> float:
        forward, batch = partial(passes.forward, model=net), task.drawn(data, data.first(trial.batch))
        return task.gradients(net, batch, forward, back=lambda loss: None).item()

    with torch.no_grad():
        first = before(model)
        usual = first if model is fresh else before(fresh)
    _measure(result, 0, [first], task, passes, data)
    started = time.perf_counter()
    for epoch in range(trial.epochs):
        for rows in order(epoch).to(data.device).split(trial.batch):
            losses.append(_advanced(passes, partial(passes.gradients, task, task.drawn(data, rows))))
            schedule.step()
            step += 1
            if step in marks or not math.isfinite(losses[-1]):
                result.seconds += time.perf_counter() - started
                _measure(result, step, losses, task, passes, data)
                if _diverged(result, usual) or (step == doubt and result.valid[-1] >= result.valid[0]):
                    result.diverged_at = step
                    return result, model
                if "plateau" in trial.schedule:
                    schedule.report(result.valid[-1])
                tell(step)
                losses, started = [], time.perf_counter()
    last = (data.x_test, data.y_test) if data.tested else (data.x_valid, data.y_valid)
    end = _evaluated(task, passes, *last, PARTS)
    result.parts, result.metric_parts = end.parts, end.metric_parts
    if data.tested:
        result.test, result.test_metric = end.loss, end.metric
    switch("eval", opt)  # whoever takes the model on takes the weights that were measured
    return result, model


def scheduled(opt: torch.optim.Optimizer, name: str, total: int) -> Scheduler:
    """The schedule that is written so, for a run of so many steps; one-cycle moves momentum or β₁ too, where there is
    one."""
    schedule, group = read(name, total), opt.param_groups[0]
    if isinstance(schedule, OneCycle) and (group.get("momentum") or "betas" in group):
        return Scheduler(opt, lr=schedule, momentum=schedule.momentum())
    return Scheduler(opt, lr=schedule)


def evaluation_steps(epochs: int, batches: int, times: int | None = None) -> set[int]:
    """At the end of each epoch, and between them where epochs are few: at least 20 in all, if there are 20 steps. So
    many times, as far apart, where that is said."""
    if times is not None:
        return {round(epochs * batches * (i + 1) / times) for i in range(times)} - {0}
    parts = -(-20 // epochs)
    return {round((e + p / parts) * batches) for e in range(epochs) for p in range(1, parts + 1)} - {0}


def doubted(marks: set[int], least: float) -> int:
    """The first evaluation that is not before this step: there a trial is given up whose validation loss is not below
    its first."""
    return min(step for step in marks if step >= least)


def _advanced(passes: Passes, gradients: Callable[[], Tensor]) -> float:
    """A step; the loss before it, infinite where the method refuses to go on with numbers that are not finite."""
    seen: list[Tensor] = []

    def asked() -> Tensor:
        seen.append(gradients())
        return seen[-1]

    try:
        passes.move(asked)
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
    now = _evaluated(task, passes, data.x_valid, data.y_valid)
    result.step.append(step)
    result.train.append(mean)
    result.deviation.append(bounded(math.sqrt(sum((x - mean) * (x - mean) for x in losses) / len(losses))))
    result.valid.append(now.loss)
    result.metric.append(now.metric)


def _evaluated(task: Task, passes: Passes, x: Rows, y: Rows, parts: int = 1) -> Evaluation:
    """Loss and metric over these examples, with model and optimizer in their evaluation form."""
    switch("eval", passes.model, passes.opt)
    found = evaluated(task, lambda rows: passes.forward(rows, passes.model), x, y, parts)
    switch("train", passes.model, passes.opt)
    return found
