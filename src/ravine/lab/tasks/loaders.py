"""What data() returns, as rows. Loaders are read once: all optimizers meet the same batches in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from ..errors import LabError
from .rehearsal import call, outline
from .rows import Rows, leaves, mapped

if TYPE_CHECKING:
    from .task import Task

PARTS = ("train", "valid", "test")
MOST = 8 * 2**30  # bytes of a part: each worker holds all parts


def parted(task: Task, data: Any) -> list[Rows]:
    """The inputs and targets of two or three parts, of what a task's data() returned: these, or loaders."""
    given = list(data) if isinstance(data, tuple | list) else []
    two = len(given) // 3 * 2
    if len(given) in (3, 6) and all(x is None for x in given[two:]):
        given = given[:two]
    if len(given) not in (4, 6) and not (len(given) in (2, 3) and all(map(_loads, given))):
        raise LabError(f"task '{task.name}': data() must return 6 tensors (x_train, y_train, x_valid, y_valid, x_test, "
                       f"y_test), or the first 4, or 2 or 3 loaders, and returned {outline(data)}")  # fmt: skip
    try:
        if len(given) > 3:
            names = (f"{letter}_{part}" for part in PARTS for letter in "xy")
            return [plain(x, name) for x, name in zip(given, names, strict=False)]
        each = zip(given, PARTS, strict=False)
        return list(chain(*(call(task, f"the {part} loader", gathered, loader, part) for loader, part in each)))
    except LabError as error:
        said = str(error).removeprefix(f"task '{task.name}': ")
        raise LabError(f"task '{task.name}': {said}") from error


def _loads(x: object) -> bool:
    """Whether it gives batches or examples, and is no rows itself."""
    return isinstance(x, Dataset | Iterable) and not isinstance(x, Tensor | tuple | Mapping | str)


def gathered(loader: Any, part: str) -> tuple[Rows, Rows]:
    """The inputs and targets of all batches of a DataLoader or iterable, or of all examples of a Dataset, in order."""
    pairs, size = list[tuple[Rows, Rows]](), 0
    for i, batch in enumerate(_batches(loader), 1):
        pairs.append(_pair(batch, part))
        for name, tensor in _named(pairs[-1]):
            size += tensor.nbytes
            if not tensor.ndim:
                raise LabError(f"the {part} loader: {name} is a single number in batch {i}: a batch has rows, and "
                               "examples by themselves need a DataLoader")  # fmt: skip
        _alike(pairs[0], pairs[-1], part, i)
        if size > MOST:
            raise LabError(f"the {part} loader gives more than {MOST >> 30} GiB, and a task holds its rows in memory: "
                           "take fewer, as with itertools.islice(loader, n)")  # fmt: skip
    if not pairs:
        raise LabError(f"the {part} loader gives no batches")
    return mapped(lambda *each: None if each[0] is None else torch.cat(each), *pairs)


def _batches(loader: Any) -> Iterator[Any]:
    """Of a data set each example is a batch of one."""
    if not isinstance(loader, Dataset):
        yield from loader
        return
    whole: Any = loader
    for one in whole if isinstance(loader, IterableDataset) else (whole[i] for i in range(len(whole))):
        yield default_collate([one])


def _pair(batch: Any, part: str) -> tuple[Rows, Rows]:
    """Inputs and targets. A dict is the model's arguments by name, and has the targets among them, as `labels`."""
    if isinstance(batch, Mapping):
        return plain(batch, "x"), plain(batch.get("labels"), "y")
    if isinstance(batch, Tensor):
        return plain(batch, "x"), None
    if isinstance(batch, tuple | list) and len(batch) in (1, 2):
        return plain(batch[0], "x"), plain(batch[1], "y") if len(batch) == 2 else None
    many = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise LabError(f"the {part} loader gives a {type(batch).__name__}{many}: a batch is (inputs, targets), each a "
                   "tensor or a tuple or dict of tensors; or a dict of the model's arguments; or a tensor")  # fmt: skip


def plain(x: Any, name: str) -> Rows:
    """Rows of what may also be lists and other mappings; tensors without their graph."""
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, Mapping) and x:
        return {str(key): plain(part, f"{name}[{key!r}]") for key, part in x.items()}
    if isinstance(x, tuple | list) and x:
        return tuple(plain(part, f"{name}[{i}]") for i, part in enumerate(x))
    if x is None and name[0] == "y":
        return None
    raise LabError(f"{name} is a {type(x).__name__}: it must be a tensor, or a tuple or dict of tensors")


def _named(pair: tuple[Rows, Rows]) -> Iterator[tuple[str, Tensor]]:
    for letter, rows in zip("xy", pair, strict=True):
        yield from leaves(rows, letter)


def _alike(first: tuple[Rows, Rows], other: tuple[Rows, Rows], part: str, i: int) -> None:
    """Raises LabError where a batch cannot follow the first one."""
    a, b = ({name: tuple(tensor.shape[1:]) for name, tensor in _named(pair)} for pair in (first, other))
    if a.keys() != b.keys():
        raise LabError(f"the {part} loader gives {', '.join(a)} in batch 1 and {', '.join(b)} in batch {i}")
    for name in a:
        if a[name] != b[name]:
            raise LabError(f"the {part} loader gives {name} in rows of shape {a[name]} in batch 1 and {b[name]} in "
                           f"batch {i}: rows must be alike; pad them all to one length")  # fmt: skip
