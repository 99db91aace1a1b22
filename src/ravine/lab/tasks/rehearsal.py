"""A task before any training: what is wrong with it is said here, in one line that names it."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import LabError
from ..seeding import seed_all
from ..threads import one_thread
from .rows import Rows, called, count, leaves, measured, take

if TYPE_CHECKING:
    from .task import Data, Task

ROWS = 1000  # of the validation part that are looked at
T = TypeVar("T")


def rehearse(task: Task, data: Data) -> str:
    """One batch forward and backward, and of each part of the data the rows that are most likely to fail: those that
    hold NaN or infinity, and the smallest and largest numbers where these are integers, such as classes and words.

    The hash of data, loss and gradients names what the task does, so that results of another never mix with its.
    """
    seed_all(0)
    model = _fresh(task)
    with one_thread():
        first = _first(task, model, data)
        rest = [_part(task, model, data, *part) for part in parts(data)]
    if _trained(model) & _trained(_fresh(task)):
        raise LabError(f"task '{task.name}': model() must return a new model each time: two of them share weights, so "
                       "each trial would go on where the last one ended")  # fmt: skip
    how = [getattr(task, name) for name in ("accumulate", "evaluation_batch", "evaluations")]
    digest = hashlib.sha256(repr((first, rest, *([how] if how != [1, 1000, None] else []))).encode())
    tensors = [tensor for rows in data for _, tensor in leaves(rows)]
    for tensor in (*tensors, *(p.grad for p in model.parameters() if p.grad is not None)):
        tensor = tensor.to_dense() if tensor.is_sparse else tensor
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def call(task: Task, what: str, function: Callable[..., T], *args: Any) -> T:
    """Runs the person's code; an error in it is about that code, and told so. That numbers of two shapes are spread
    over one another, of which torch only warns, is an error."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Using a target size", UserWarning)
            return function(*args)
    except LabError:
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split()):.1000}"
        raise LabError(f"task '{task.name}': {what} fails: {message}") from error


def parts(data: Data) -> Iterator[tuple[str, Rows, Rows]]:
    """Each with its name."""
    yield "train", data.x, data.y
    yield "valid", data.x_valid, data.y_valid
    if data.tested:
        yield "test", data.x_test, data.y_test


def outline(thing: object) -> str:
    """What was returned in place of something else."""
    inside = f" of {', '.join(type(t).__name__ for t in thing)}" if isinstance(thing, tuple | list) else ""
    shape = f" of shape {tuple(thing.shape)}" if isinstance(thing, Tensor) else ""
    return f"a {type(thing).__name__}{inside}{shape}"


def _fresh(task: Task) -> nn.Module:
    model = call(task, "model()", task.model)
    if not isinstance(model, nn.Module):
        raise LabError(f"task '{task.name}': model() must return a torch.nn.Module, and returned {outline(model)}")
    return model


def _trained(model: nn.Module) -> set[int]:
    """Its weights; those that are frozen may be shared."""
    return {id(p) for p in model.parameters() if p.requires_grad}


def _first(task: Task, model: nn.Module, data: Data) -> float:
    """The loss of the first batch, with its gradients in the model."""
    about, rows = f"task '{task.name}': the loss of the first batch", data.first(task.batch)

    def back(loss: Any) -> None:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise LabError(f"task '{task.name}': the loss must be one number, a mean over the rows, and is "
                           f"{outline(loss)}")  # fmt: skip
        if not math.isfinite(loss.item()):
            raise LabError(f"{about} is {loss.item()} before any step, {_fault(data)}")
        if loss.item() == 0:
            raise LabError(
                f"{about} is 0 before any step: there is nothing to learn, and no scale to tell divergence by"
            )
        if not loss.requires_grad:
            raise LabError(f"{about} has no gradient: no weight of the model has a part in it")
        loss.backward()

    what = f"the first batch, {_shapes(take(data.x, rows), take(data.y, rows))},"
    found = call(task, what, lambda: task.gradients(model, task.drawn(data, rows), back=back)).item()
    grads = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
    if not all(grad.isfinite().all() for grad in grads):
        raise LabError(f"{about} is {found:.4g}, and its gradient is not finite before any step: a fault of the model "
                       "or the loss, whatever the learning rate")  # fmt: skip
    if not any(grad.any() for grad in grads):
        raise LabError(
            f"{about} has no gradient: it is 0 for all weights of the model, so that nothing would be learnt"
        )
    return found


def _part(task: Task, model: nn.Module, data: Data, name: str, x: Rows, y: Rows) -> tuple[float, float | None]:
    """Loss and metric of some rows of a part, in the evaluation form."""
    tensors = [tensor for rows in (x, y) for _, tensor in leaves(rows)]
    odd = [row for look in (lambda t: _holes(t)[:1], _ends) for tensor in tensors for row in look(tensor)]
    few = min(ROWS if name == "valid" else task.batch, task.evaluation_batch)
    rows = torch.tensor(list(dict.fromkeys([*odd, *range(min(few, count(x)))])))
    about = f"the {name} part, {_shapes(x, y)},"
    model.eval()

    def judged() -> tuple[float, float | None]:
        with torch.no_grad():
            output, target = called(model, take(x, rows)), take(y, rows)
            loss = float(measured(task.loss, output, target))
            wanted = task.metric if name == "valid" else None
            return loss, float(measured(wanted, output, target)) if wanted else None

    loss, metric = call(task, about, judged)
    if not math.isfinite(loss) and name != "test":  # of that the verdict says what it can
        raise LabError(f"task '{task.name}': the loss of {about} is {loss} before any step, {_fault(data)}")
    return loss, metric


def _fault(data: Data) -> str:
    """Where to look, when a loss is no number."""
    for part, x, y in parts(data):
        for name, tensor in (*leaves(x, f"x_{part}"), *leaves(y, f"y_{part}")):
            if n := len(_holes(tensor)):
                return f"a fault of the data: {name} holds NaN or infinity in {n} of {len(tensor)} rows"
    return "a fault of the data, the model or the loss, whatever the learning rate"


def _holes(x: Tensor) -> list[int]:
    """The rows that hold a number which is not finite."""
    if not (x.is_floating_point() or x.is_complex()):
        return []
    return (~x.isfinite()).flatten(1).any(1).nonzero().flatten().tolist() if x.ndim > 1 else _holes(x[:, None])


def _ends(x: Tensor) -> list[int]:
    """The rows of the smallest and of the largest integer: what an index out of its range would be."""
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool or not x.numel():
        return []
    width = x[0].numel()
    return [int(x.argmin()) // width, int(x.argmax()) // width]


def _shapes(x: Rows, y: Rows) -> str:
    both = (", ".join(f"{k} {tuple(t.shape)} {t.dtype}" for k, t in leaves(z, c)) for z, c in ((x, "x"), (y, "y")))
    return " and ".join(filter(None, both))
