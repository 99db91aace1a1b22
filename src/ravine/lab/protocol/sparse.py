"""Which optimizers a task's gradients are for: those of an embedding may be sparse, and few rules take such."""

from collections.abc import Iterable

from ..errors import LabError
from ..seeding import seed_all
from ..tasks import Data, Task
from .closure import answered, asks
from .passes import advance, switch
from .routing import made
from .search import Entry
from .spaces import middle


def check(entries: Iterable[Entry], task: Task, data: Data) -> None:
    """One clear error for an optimizer that does not take this task's gradients; each is tried with a step.

    Where all gradients are dense only those for sparse ones alone are. Of ravine's SGD, Adagrad, Adam and AdamW step
    sparse and dense parameters together (`sparse` and `dense` in optimizer.py), SparseAdam only sparse ones; of torch's
    SGD and Adagrad step both.
    """
    seed_all(0)
    model = task.model()
    loss = task.gradients(model, task.drawn(data, data.first(task.batch)))
    sparse = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.is_sparse]
    which = f", which are sparse for {', '.join(sparse)}" if sparse else ", which are dense"
    able = f": {', '.join(task.optimizers)} do" if task.optimizers else ""
    for entry in entries:
        if not sparse and getattr(entry.cls, "dense", True):
            continue
        try:
            opt = made(entry.cls, model, dict(entry.built({"lr": middle(entry.cls)})))
            switch("train", opt)
            if asks(opt):
                answered(opt, lambda: loss)
            else:
                advance(opt, loss)
        except Exception as error:
            raise LabError(
                f"optimizer '{entry.name}' does not take the gradients of task '{task.name}'{which}{able} "
                f"({' '.join(str(error).split())})"
            ) from error
