"""The part of a launch that all backends share: find the memory of each array."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ravine.compile.expr import SCALAR, VECTORS, Expr, Shape, is_matrix
from ravine.compile.geometry import Extent, extent, gradient, local, real, sizes
from ravine.compile.interpret import wide
from ravine.compile.launch.look import Changed, Gradients, Places, Unbacked
from ravine.compile.launch.memory import LARGE, layers, lends, repeats
from ravine.compile.plan import Matrix, Plan, wide_sum
from ravine.compile.storage import CODED, decode, join, table

Kind = tuple[torch.Size, torch.dtype, torch.device]


@dataclass(eq=False, slots=True)
class Bound:
    """One parameter in a launch."""

    p: Tensor
    state: dict[str, Tensor]  # the optimizer's dict of this parameter, which others may look into or replace
    keys: dict[str, str]  # the rule's name of a state -> its key in that dict
    row: int  # of the table of numbers: parameters that share group and step count share a row
    index: int = 0  # its place among all parameters of the optimizer: its noise depends on it
    extent: Extent = field(init=False)  # which part of the whole parameter is here

    def __post_init__(self):
        self.extent = Extent.of(self.p)

    def numbers(self) -> Tensor:
        """The number of each of its elements in the whole parameter."""
        return self.extent.numbers()


class Tables:
    """Where everything lies that a plan bound to tensors of one device and one set of types reads and writes."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        self.plan, self.bound = plan, bound
        self.calls = 0  # kernels run so far
        self.matrices = [k for k, x in plan.start.items() if is_matrix(x)]
        self.mixed = any(isinstance(phase, Matrix) for phase in plan.phases)
        self.keys = [k for k in bound[0].keys if k not in self.matrices]
        self.gradients = bound[0].p.dtype if bound[0].p.grad is None else bound[0].p.grad.dtype
        self.sizes_of = [sizes(real(b.p).shape, b.extent.seen(self.plan.view)) for b in bound]  # of what is here
        self.whole_of = [sizes(b.extent.whole, plan.view) for b in bound]
        self.compute = torch.float64 if bound[0].p.dtype in (torch.float64, torch.complex128) else torch.float32
        self.between = [
            {x: torch.zeros(self.extent(b, x.shape), dtype=self.memory(x), device=b.p.device) for x in plan.between}
            for b in bound
        ]
        device = bound[0].p.device
        between = [x for made in self.between for x in made.values()] if self.mixed and lends(device) else []
        self.lent = {x: n for x in between if (n := x.untyped_storage().nbytes()) >= LARGE}
        self.sums = torch.zeros(len(bound), len(plan.sums), dtype=wide(device), device=device)
        made = {name: x for x, name in plan.between.items()}
        fixed = [
            self.between[i][made[name]] if name in made else self.array(b, name)
            for name in list(self.types)[:-1]
            for i, b in enumerate(bound)
        ]
        self.distributed = any(local(x) is not x for x in fixed)
        first = {b.row: b.state for b in reversed(bound)}
        clocks = [first[row][k] for row in sorted(first) for k in ("step", *plan.hosted)]
        # asked anew at each step: a tensor may move, and a distributed one may take another shard
        self.places = Places([*clocks, *fixed], len(bound), python=self.distributed)
        self.clocks = clocks
        self.live = Gradients(b.p for b in bound)
        self.recognized = False  # all tensors are of the kinds that were bound
        self.ready = False  # the table says where all lies
        self.kinds = [kind_of(x) for x in self.walked(())]
        self.held: list[list[Tensor]] = []  # copies of what does not lie flat
        self.back: list[tuple[Tensor, Tensor]] = []  # (tensor, copy) to write back after the step
        self.grads: Sequence[Tensor] = ()  # of the step under way
        self.numbers: Sequence[float] = ()  # of the host, row after row
        self.made: list[dict[Expr, Tensor]] = []  # for each parameter: results of phases in torch, in this step

    def walked(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The local tensors of a step: numbers of the host, arrays, states of matrices, and gradients."""
        matrices = [b.state[b.keys[k]] for k in self.matrices for b in self.bound]
        return [*map(local, [*self.places.stay, *matrices]), *grads]

    def extent(self, b: Bound, shape: Shape) -> list[int]:
        """The shape that an array of a parameter is computed in: as a matrix, or a batch of them."""
        return extent(real(b.p), shape, b.extent.seen(self.plan.view))

    def array(self, b: Bound, name: str) -> Tensor:
        """The tensor of a parameter that is called so in the tables."""
        return b.p if name == "p" else b.state[b.keys[name]]

    def memory(self, x: Expr) -> torch.dtype:
        """The type of what stays in memory from one step of the plan to a later one."""
        return wide(self.bound[0].p.device) if wide_sum(x) else self.compute

    @cached_property
    def types(self) -> dict[str, str]:
        """The kind of each array, in the order of the tables."""
        b = self.bound[0]
        found = {"p": b.p.dtype, "g": self.gradients}
        found |= {k: b.state[b.keys[k]].dtype for k in self.keys}
        found |= {name: self.memory(x) for x, name in self.plan.between.items()}
        return kinds_of(self.plan, found)

    def place(self, grads: Sequence[Tensor]) -> bool:
        """Find where every array lies now: True if something else than gradients has moved. Raises before anything has
        changed; does little when nothing moved."""
        if self.distributed:
            grads = [gradient(g, b.p) for g, b in zip(grads, self.bound, strict=True)]
        self.grads = grads
        if self.mixed:
            self.made = [{} for _ in self.bound]
        for x, n in self.lent.items():
            x.untyped_storage().resize_(n)
        ready, self.ready = self.ready, False  # until the table is right again: should this fail, it is not trusted
        try:
            found = self.places.look(grads, local)
        except Unbacked as error:
            raise self.unbacked(error.place) from None
        except Changed:
            raise
        except RuntimeError as error:  # a sparse gradient, or another that has no memory
            kinds = {f"{type(x).__name__} ({x.layout})" for x in self.walked(grads)} - {"Tensor (torch.strided)"}
            raise Changed(f"there is no memory to step in, in one of {', '.join(sorted(kinds))}: {error}") from None
        if found > 1 or not self.recognized:
            self.recognize(grads)
            if any(layers(self.walked(())[len(self.clocks) :])):
                raise Changed("parameters or states that were apart share memory now")
        addresses = self.places.addresses[len(self.clocks) :]
        if not ready or found > 1:
            self.held, self.back = [], []
            self.point(self.flatten(grads, addresses))
        elif found:  # only the gradients are elsewhere, as after every zero_grad()
            self.point(addresses)
        self.ready = True
        return found > 1

    def recognize(self, grads: Sequence[Tensor]) -> None:
        """Raise Changed unless every tensor is of the kind that was bound."""
        self.recognized = False
        tensors = self.walked(grads)
        count = len(tensors) - len(grads)
        for i, (x, kind) in enumerate(zip(tensors, self.kinds, strict=False)):
            if kind_of(x) != kind:
                raise Changed(f"{self.name(i)} was {described(kind)} and is {described(kind_of(x))}")
        for b, g in zip(self.bound, tensors[count:], strict=True):
            if local(g) is not g:
                raise Changed(f"the gradient of parameter {b.index} is distributed, and the parameter is not")
            p = local(b.p)
            kind = (p.shape, self.gradients, p.device)
            if kind_of(g) != kind:
                raise Changed(f"the gradient of parameter {b.index} was {described(kind)}, is {described(kind_of(g))}")
        for i, x in enumerate(tensors[:count]):
            if x._is_zerotensor() or repeats(x):  # torch writes to neither
                raise RuntimeError(
                    f"{self.name(i)} has fewer numbers in memory than elements, as after expand(), and cannot be "
                    "written to; clone() it"
                )
        self.recognized = True

    def name(self, place: int) -> str:
        """The name, for errors, of the tensor at this place of `walked()`."""
        arrays, count = [*list(self.types)[:-1], *self.matrices, "g"], len(self.bound)
        which, i = divmod(place - len(self.clocks), count)
        if which < 0:
            return "the step count, or another number of a state,"
        b, name = self.bound[i], arrays[which]
        what = {"p": "", "g": "the gradient of "}.get(name, f"state {b.keys.get(name, name)!r} of ")
        return f"{what}parameter {b.index} of shape {tuple(b.p.shape)}"

    def unbacked(self, place: int) -> RuntimeError:
        """An error about a tensor that is larger than its memory."""
        return RuntimeError(
            f"{self.name(place)} has no memory for all of its elements: its storage was freed or made smaller "
            "(untyped_storage().resize_()); give the memory back before the step"
        )

    @torch.no_grad()
    def flatten(self, grads: Sequence[Tensor], addresses: array[int]) -> array[int]:
        """The addresses, with those of copies for tensors that one index cannot walk through."""
        count = len(self.bound)
        for i, (b, g) in enumerate(zip(self.bound, grads, strict=True)):
            names = [name for name in self.types if name == "p" or name in b.keys]
            tensors = [*(local(self.array(b, name)) for name in names), g]
            short = [self.short(name) for name in (*names, "g")]
            whole = [x for x, is_short in zip(tensors, short, strict=True) if not is_short]
            rest = [x for x, is_short in zip(tensors, short, strict=True) if is_short]
            if lies_flat(whole, any_order=not self.ordered) and all(x.is_contiguous() for x in rest):
                continue
            copies = [flat(x) for x in tensors]
            self.held.append(copies)
            self.back += [(x, copy) for x, copy in zip(tensors[:-1], copies, strict=False) if x is not copy]
            for a, copy in enumerate(copies[:-1]):
                addresses[a * count + i] = copy.data_ptr()
            addresses[i - count] = copies[-1].data_ptr()
        return addresses

    def short(self, name: str) -> bool:
        """True for an array with fewer elements than the parameter."""
        return name.endswith(".scale") or self.plan.shape(name) in VECTORS

    @property
    def ordered(self) -> bool:
        """True if it matters where in its tensor an element lies."""
        return self.plan.ordered or any(kind in CODED for kind in self.types.values())

    def end(self) -> None:
        """All is stored: write copies back, and let go of gradients."""
        self.calls += len(self.plan.kernels)
        if self.held:
            self.give_back()
        for x in self.lent:
            x.untyped_storage().resize_(0)
        self.grads, self.made = (), []

    @torch.no_grad()
    def give_back(self) -> None:
        """Write what was computed on copies into the tensors themselves, and let go of the copies."""
        for x, copy in self.back:
            x.copy_(copy)
        self.forget()

    def forget(self) -> None:
        """Let go of gradients, results and copies, as after a step that is given up; the next step makes them anew."""
        if self.held:
            self.held, self.back, self.ready = [], [], False
        self.grads, self.made = (), []

    def over_all(self, place: int) -> float:
        """One of the sums, over all tensors of this launch."""
        return float(self.sums[:, place].sum())

    def results(self, x: Expr, which: Sequence[int]) -> list[Tensor]:
        """Where the results of a reduction lie, of these tensors: processes add up there what each of them has."""
        if x.shape != SCALAR:
            return [self.between[i][x] for i in which]
        column = self.sums[:, self.plan.sums.index(x)]
        return [column] if len(which) == len(self.bound) else [column[i] for i in which]

    # what a backend fills in

    def point(self, addresses: array[int]) -> None:
        """Take the address of every array of every tensor: all of the first array, then all of the next."""
        raise NotImplementedError

    def count(self, numbers: Sequence[float]) -> None:
        """Take the numbers of the host, row after row."""
        raise NotImplementedError

    def kernel(self, k: int) -> None:
        """Run kernel k over all tensors: a Sweep with the Reduce and Short phases after it."""
        raise NotImplementedError


def kinds_of(plan: Plan, dtypes: Mapping[str, torch.dtype]) -> dict[str, str]:
    """The kind of each array, in table order, from the types of their tensors."""
    plain = {k: str(torch.empty(0, dtype=d).real.dtype).removeprefix("torch.") for k, d in dtypes.items()}
    return table({name: plan.kind(name, plain[name]) for name in plan.arrays})


def as_numbers(b: Bound, name: str) -> Tensor:
    """The values of an array of a parameter, decoded."""
    x, key = (b.p if name == "p" else b.state[b.keys[name]]), b.keys.get
    if scale := key(f"{name}.scale"):
        return decode(local(x), local(b.state[scale]))
    if bits := key(f"{name}.bits"):
        return join(local(x.detach()), local(b.state[bits]))
    return x


def kind_of(x: Tensor) -> Kind:
    """Shape, dtype and device, which may not change while a tensor is bound."""
    return x.shape, x.dtype, x.device


def described(kind: Kind) -> str:
    """The same in words."""
    shape, dtype, device = kind
    return f"{dtype} of shape {tuple(shape)} on {device}"


def recording(device: torch.device) -> bool:
    """True while a CUDA graph is recorded there."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def flat(x: Tensor) -> Tensor:
    """A tensor whose elements lie one after the other in memory: itself, or a copy."""
    return x.clone() if x._is_zerotensor() else x.resolve_conj().resolve_neg().contiguous()


def lies_flat(tensors: Sequence[Tensor], any_order: bool) -> bool:
    """True if one index reaches the same element of each tensor, without gaps."""
    if any(x.is_conj() or x.is_neg() or x._is_zerotensor() for x in tensors):
        return False
    if all(x.is_contiguous() for x in tensors):
        return True
    first = tensors[0]
    return any_order and dense(first) and all(x.stride() == first.stride() or x.dim() == 0 for x in tensors)


def dense(x: Tensor) -> bool:
    """True if the elements fill a stretch of memory, in whatever order of dimensions."""
    expected = 1
    for stride, n in sorted(zip(x.stride(), x.shape, strict=True)):
        if n != 1:
            if stride != expected:
                return False
            expected *= n
    return True
