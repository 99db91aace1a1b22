"""Find out what has changed since the last step: addresses and layouts of tensors, which gradients are there, the
contents of dicts and lists. Everything is checked before every step, in a single native call where possible."""

from __future__ import annotations

import _thread
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import is_
from typing import Any

import torch
from torch import Tensor

from ravine.compile.launch.ask import AHEAD, native
from ravine.compile.launch.memory import PLAIN, lacks, low

threads: Callable[[], int] = getattr(_thread, "_count")  # noqa: B009 - of those started in Python, by any module


class Changed(RuntimeError):
    """A tensor has another type, shape or device than when it was bound, or no gradient: it must be bound anew."""


class Unbacked(RuntimeError):
    """Not all elements of the tensor at this place lie in memory."""

    def __init__(self, place: int):
        super().__init__(place)
        self.place = place


class Gradients(Sequence[Any]):
    """The gradients that some parameters have when they are asked for. It keeps none."""

    def __init__(self, params: Iterable[Tensor]):
        self.params: list[Any] = list(params)
        self.names = array("q", bytes(8 * len(self.params)))  # as present() has found them
        self.native = native() if all(type(p) in PLAIN for p in self.params) else None
        if self.native is not None:
            of = self.native.names(self.params)
            self.ask = self.native.bind("gradients", len(self.params), tensors=of, out=self.names)

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, i: Any) -> Any:
        if (g := self.params[i].grad) is None:
            raise Changed(f"a parameter of shape {tuple(self.params[i].shape)} has lost its gradient within the step")
        return g

    def present(self) -> int:
        """The number of parameters that have a gradient."""
        return sum(p.grad is not None for p in self.params) if self.native is None else self.ask()

    def held(self) -> Sequence[Tensor]:
        """Gradients that live to the end of the step: itself, or a list where another thread may let go of one."""
        return self if self.native is not None and threads() == 0 else list(self)


class Places:
    """The addresses and the kinds of some tensors that stay and some that change from step to step."""

    def __init__(self, stay: Sequence[Tensor], change: int, python: bool):
        self.stay, self.count = list(stay), len(stay) + change
        self.native = None if python else native()
        self.addresses, self.kinds = array("q", bytes(8 * self.count)), array("q", bytes(8 * self.count))
        self.lows = array("q", [-1] * self.count)  # an address that is not above belongs to memory that was freed
        if self.native is not None:
            self.names = self.native.names(self.stay, change)
            given = {"tensors": self.names, "addresses": self.addresses, "kinds": self.kinds, "lows": self.lows}
            self.ask = self.native.bind("look", self.count, **given, stay=len(stay))

    def look(self, changing: Sequence[Any], local: Callable[[Any], Tensor]) -> int:
        """Ask anew: 0 if all lie as they lay, 1 if only tensors that change lie elsewhere, else more.

        Raises Changed where a gradient is missing, Unbacked where a tensor is larger than its memory, RuntimeError
        where it can have none.
        """
        found = -1
        if self.native is not None:
            if isinstance(changing, Gradients) and changing.native is not None:
                if changing.present() < len(changing):
                    raise Changed("a gradient was taken away within the step")
                names = changing.names
            else:
                changing = list(changing)  # they live while they are asked
                names = array("q", [id(x) + self.native.slot for x in changing])
            self.names[len(self.stay) : self.count] = names
            if 0 <= (found := self.ask()) <= 1:
                return found
        tensors = [local(x) for x in (*self.stay, *changing)]
        if found < 0:
            found = self.compare(tensors)
        if found > 1:
            for i, x in enumerate(tensors):
                if lacks(x):
                    self.kinds[:] = array("q", bytes(8 * self.count))  # until it is mended, nothing is known
                    raise Unbacked(i)
                self.lows[i] = low(x)
        return found

    def compare(self, tensors: Sequence[Tensor]) -> int:
        """The same, in Python."""
        addresses = array("q", [x.data_ptr() for x in tensors])
        kinds = array("q", map(kind, tensors))
        first = len(self.stay)
        other = addresses[:first] != self.addresses[:first] or kinds != self.kinds
        found = 2 * other | (addresses[first:] != self.addresses[first:])
        self.addresses[:], self.kinds[:] = addresses, kinds
        return found


def kind(x: Tensor) -> int:
    """A number mixed of all that a step relies on in a tensor, but for its address."""
    # whether there is any memory: a freed tensor may keep its address, and one of efficient zeros has none
    flags = x.is_conj(), x.is_neg(), x._is_zerotensor(), x.data_ptr() <= low(x)
    memory = x.untyped_storage().nbytes(), x.storage_offset()
    return hash((x.shape, x.stride(), x.dtype, str(x.device), memory, flags))


class Contents:
    """The contents of some dicts and lists: the values, not the keys."""

    def __init__(self, boxes: Iterable[dict[Any, Any] | list[Any]]):
        self.boxes = list(boxes)
        self.values = [list(held(box)) for box in self.boxes]
        self.native = native()
        asked = [self.bind(name, kind) for name, kind in (("dicts", dict), ("lists", list))] if self.native else []
        self.counts, self.asks = [n for n, _ in asked], [ask for _, ask in asked]

    def bind(self, name: str, kind: type) -> tuple[int, Callable[[], int]]:
        """The number of values in the boxes of this kind, and a function that counts them while they are the same."""
        assert self.native is not None
        known = [(box, values) for box, values in zip(self.boxes, self.values, strict=True) if isinstance(box, kind)]
        boxes = array("q", [id(box) for box, _ in known])
        lengths = array("q", [len(values) for _, values in known])
        values = array("q", [id(x) for _, values in known for x in values])
        boxes += boxes[:1] * AHEAD
        return len(values), self.native.bind(name, len(known), boxes=boxes, lengths=lengths, values=values)

    def same(self) -> bool:
        """True while each of these boxes holds what it held, and nothing more."""
        if self.native is not None:
            return [ask() for ask in self.asks] == self.counts
        now = map(held, self.boxes)
        return all(len(x) == len(y) and all(map(is_, x, y)) for x, y in zip(now, self.values, strict=True))


def held(box: dict[Any, Any] | list[Any]) -> list[Any]:
    """Its values."""
    return list(box.values()) if isinstance(box, dict) else box


def writer(tensors: Sequence[Tensor]) -> Callable[[], object]:
    """A function that tells autograd that these have been written to."""
    made = native()
    if made is None or any(x.is_inference() for x in tensors):
        return partial(torch.autograd.graph.increment_version, tensors)
    return made.bind("written", len(tensors), tensors=made.names(tensors))
