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
    x, y = data.x[: task.batch], data.y[: task.batch]
    with one_thread():
        first = call(task, f"the first batch, {_shapes(x, y)},", _first, task, model, x, y, data)
        rest = [_part(task, model, data, *part) for part in parts(data)]
    if {id(p) for p in model.parameters()} & {id(p) for p in _fresh(task).parameters()}:
        raise LabError(f"task '{task.name}': model() must return a new model each time: two of them share weights, so "
                       "each trial would go on where the last one ended")  # fmt: skip
    digest = hashlib.sha256(repr((first, rest)).encode())
    for tensor in (*data, *(p.grad for p in model.parameters())):
        if tensor is None:
            continue
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


def parts(data: Data) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each with its name."""
    yield "train", data.x, data.y
    yield "valid", data.x_valid, data.y_valid
    if data.x_test is not None and data.y_test is not None:
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


def _first(task: Task, model: nn.Module, x: Tensor, y: Tensor, data: Data) -> float:
    """The loss of a batch, with its gradients in the model."""
    loss: Any = task.objective(model, model(x), y)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise LabError(f"task '{task.name}': the loss must be one number, a mean over the rows, and is {outline(loss)}")
    found, about = loss.item(), f"task '{task.name}': the loss of the first batch"
    if not math.isfinite(found):
        raise LabError(f"{about} is {found} before any step, {_fault(data)}")
    if found == 0:
        raise LabError(f"{about} is 0 before any step: there is nothing to learn, and no scale to tell divergence by")
    if not loss.requires_grad:
        raise LabError(f"{about} has no gradient: no weight of the model has a part in it")
    loss.backward()
    grads = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
    if not all(grad.isfinite().all() for grad in grads):
        raise LabError(f"{about} is {found:.4g}, and its gradient is not finite before any step: a fault of the model "
                       "or the loss, whatever the learning rate")  # fmt: skip
    if not any(grad.any() for grad in grads):
        raise LabError(
            f"{about} has no gradient: it is 0 for all weights of the model, so that nothing would be learnt"
        )
    return found


def _part(task: Task, model: nn.Module, data: Data, name: str, x: Tensor, y: Tensor) -> tuple[float, float | None]:
    """Loss and metric of some rows of a part, in the evaluation form."""
    odd = [*_holes(x)[:1], *_holes(y)[:1], *_ends(x), *_ends(y)]
    few = ROWS if name == "valid" else task.batch
    rows = torch.tensor(list(dict.fromkeys([*odd, *range(min(few, len(x)))])))
    about = f"the {name} part, {_shapes(x, y)},"
    model.eval()

    def measured() -> tuple[float, float | None]:
        with torch.no_grad():
            output = model(x[rows])
            loss = float(task.loss(output, y[rows]))
            return loss, float(task.metric(output, y[rows])) if task.metric and name == "valid" else None

    loss, metric = call(task, about, measured)
    if not math.isfinite(loss) and name != "test":  # of that the verdict says what it can
        raise LabError(f"task '{task.name}': the loss of {about} is {loss} before any step, {_fault(data)}")
    return loss, metric


def _fault(data: Data) -> str:
    """Where to look, when a loss is no number."""
    for name, *pair in parts(data):
        for letter, tensor in zip("xy", pair, strict=True):
            if n := len(_holes(tensor)):
                return f"a fault of the data: {letter}_{name} holds NaN or infinity in {n} of {len(tensor)} rows"
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


def _shapes(x: Tensor, y: Tensor) -> str:
    return f"x {tuple(x.shape)} {x.dtype} and y {tuple(y.shape)} {y.dtype}"
