"""The part of a launch that all backends share: find the memory of each array, and run the Matrix phases in torch."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ravine.compile.expr import FULL, LEAVES, SCALAR, VECTORS, Expr, Shape, is_matrix, walk
from ravine.compile.geometry import Extent, extent, gradient, local, moves, real, sizes, stack, stacked, unstack
from ravine.compile.interpret import wide
from ravine.compile.launch.look import Changed, Gradients, Places, Unbacked
from ravine.compile.launch.matrix import Work, crews, levels, run
from ravine.compile.launch.memory import layers, repeats
from ravine.compile.launch.owners import Owners
from ravine.compile.plan import Matrix, Plan, wide_sum
from ravine.compile.storage import CODED, decode, join, table

Given = tuple[Tensor, dict[Expr, Tensor], Callable[[Expr], Tensor]]  # a tensor's sizes, what is known, its leaves
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


class Launch:
    """A plan bound to tensors of one device and one set of types."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        self.plan, self.bound = plan, bound
        self.calls = 0  # kernels run so far
        self.levels = {phase: levels(phase.nodes) for phase in plan.phases if isinstance(phase, Matrix)}
        self.mixed = bool(self.levels)
        self.matrices = [k for k, x in plan.start.items() if is_matrix(x)]
        self.owners = self.found_owners() if self.mixed else None
        owned = () if self.owners is None else self.owners.extents
        self.crews = crews({i: b.extent.whole for i, b in enumerate(bound) if i not in owned}) if self.mixed else []
        self.outcomes: dict[str, str] = {}  # of matrix work: which calls were one, in the last step that had them
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

    # matrix work, in torch

    @torch.no_grad()
    def matrix(self, phase: Matrix) -> None:
        """Matrix operations, and the states that they alone touch."""
        for crew in self.crews:
            given = {i: self.gathered(i, phase) for i in crew}
            for i, found in self.work(phase, given).items():
                b = self.bound[i]
                self.take_made(i, found if b.extent.complete else {x: self.part(b, x, a) for x, a in found.items()})
        if self.owners is not None:
            self.owned(phase, self.owners)

    def work(self, phase: Matrix, given: Mapping[int, Given]) -> dict[int, dict[Expr, Tensor]]:
        """The same for some of the tensors: what its nodes are; states are stored."""
        view, works = self.plan.view, dict[int, Work]()
        for i, (p, known, read) in given.items():
            if moves(view):
                known = {x: stack(a, p, view) if x.shape == FULL else a for x, a in known.items()}
                read = stacked(read, p, view)
            works[i] = Work(p, read, view, self.bound[i].index, known)
        for calls in self.levels[phase]:
            run(calls, list(works.values()), self.outcomes)
        out = dict[int, dict[Expr, Tensor]]()
        for i, work in works.items():
            b, made = self.bound[i], work.find([*phase.nodes, *(x for _, x in phase.stores)])
            for k, x in phase.stores:
                b.state[b.keys[k]].copy_(made[x])
            out[i] = {x: unstack(made[x], work.p, view) if x.shape == FULL else made[x] for x in phase.nodes}
        return out

    def found_owners(self) -> Owners | None:
        """Who works on tensors of which each process has a part; None where all do, since states of matrices are in
        every process."""
        extents = {i: b.extent for i, b in enumerate(self.bound) if not b.extent.complete}
        if not extents or self.matrices or not Owners.serve(extents.values()):
            return None
        return Owners(extents, next(iter(extents.values())).seen(self.plan.view), self.bound[0].p.device)

    def owned(self, phase: Matrix, owners: Owners) -> None:
        """The same for tensors that have owners."""
        known, error = {i: self.known(i, phase.nodes) for i in owners.extents}, None
        some = next(iter(known.values()))
        needed = [x for x in walk(phase.nodes, some) if x.shape in (FULL, *VECTORS)]
        arrays = {x: self.memory(x) if x in some else self.compute for x in needed if x in some or x.op in LEAVES}
        sent = {i: [mine[x] if x in mine else self.reader(i)(x) for x in arrays] for i, mine in known.items()}
        given = dict[int, Given]()
        for i, parts in owners.gather(sent, [(x.shape, d) for x, d in arrays.items()]).items():
            whole = self.bound[i].extent.whole
            p = real(self.bound[i].p).new_empty(1).expand(whole)
            seen = {x: a.reshape(extent(p, x.shape, self.plan.view)) for x, a in zip(arrays, parts, strict=True)}
            rest = {x: a for x, a in known[i].items() if x.shape not in (FULL, *VECTORS)}
            given[i] = (p, rest | {x: a for x, a in seen.items() if x in some}, seen.__getitem__)
        made = dict[int, dict[Expr, Tensor]]()
        try:
            for crew in crews({i: self.bound[i].extent.whole for i in owners.mine}):
                made |= self.work(phase, {i: given[i] for i in crew})
        except Exception as failure:
            error = failure
        if owners.agree(error is not None):
            raise error or RuntimeError("a matrix operation has failed in another process, which says how")
        results = {x: self.sums.dtype if x.shape == SCALAR else self.memory(x) for x in phase.nodes}
        results = {x: d for x, d in results.items() if x.shape in (SCALAR, FULL, *VECTORS)}
        back = {i: [found[x].to(d) for x, d in results.items()] for i, found in made.items()}
        for i, parts in owners.scatter(back, [(x.shape, d) for x, d in results.items()]).items():
            found = {x: a.reshape(self.extent(self.bound[i], x.shape)) for x, a in zip(results, parts, strict=True)}
            self.take_made(i, made.get(i, {}) | found)

    def gathered(self, i: int, phase: Matrix) -> Given:
        """For matrix work on tensor i: a tensor of its sizes, what is known, and a reader of leaves; all of them whole
        where processes have parts."""
        b, known, read = self.bound[i], self.known(i, phase.nodes), self.reader(i)
        if b.extent.complete:
            return real(b.p), known, read
        p = real(b.p).new_empty(1).expand(b.extent.whole)
        needed = walk([*phase.nodes, *(x for _, x in phase.stores)], known)
        known = {x: self.joined(b, x, known[x], p) for x in needed if x in known}
        return p, known, lambda x: self.joined(b, x, read(x), p)

    def joined(self, b: Bound, x: Expr, value: Tensor, p: Tensor) -> Tensor:
        """All of an array beside a parameter of which a part is here, as matrix work has it."""
        if x.shape not in (FULL, *VECTORS):
            return value
        made = b.extent.join(value, x.shape, b.extent.seen(self.plan.view))
        return made.reshape(extent(p, x.shape, self.plan.view))

    def part(self, b: Bound, x: Expr, value: Tensor) -> Tensor:
        """What is here of it."""
        if x.shape not in (FULL, *VECTORS):
            return value
        return b.extent.part(value, x.shape, b.extent.seen(self.plan.view)).reshape(self.extent(b, x.shape))

    def known(self, i: int, wanted: Sequence[Expr] = ()) -> dict[Expr, Tensor]:
        """The results of earlier phases of this step for tensor i, and its numbers of the host."""
        found = {x: array for x, array in self.between[i].items() if x not in wanted}
        found |= {x: self.sums[i, j] for j, x in enumerate(self.plan.sums) if x not in wanted}
        return found | self.made[i] | self.row(i)

    def take_made(self, i: int, made: Mapping[Expr, Tensor]) -> None:
        """Take what a Matrix phase has made for tensor i."""
        for x, value in made.items():
            if x.shape == SCALAR:
                self.sums[i, self.plan.sums.index(x)] = value
        self.keep(i, made)

    def keep(self, i: int, made: Mapping[Expr, Tensor]) -> None:
        """Keep what a Matrix phase has made for tensor i: in memory where kernels read it."""
        for x, value in made.items():
            if x in self.plan.between:
                self.between[i][x].copy_(value)
            else:
                self.made[i][x] = value

    def row(self, i: int) -> dict[Expr, Tensor]:
        """The numbers of the host for tensor i."""
        width, row = len(self.plan.numbers), self.bound[i].row
        numbers = self.numbers[row * width : (row + 1) * width]
        made = torch.tensor(numbers, dtype=wide(self.bound[i].p.device), device="cpu")
        return dict(zip(self.plan.numbers, made, strict=True))

    def reader(self, i: int):
        """Copies of the leaves p, g and states of tensor i, in the type of computation, as matrices."""
        b, g = self.bound[i], self.grads[i]

        def read(x: Expr) -> Tensor:
            found = g if x.op == "g" else as_numbers(b, "p" if x.op == "p" else str(x.arg))
            found = real(found).to(self.compute, copy=True)  # what is written next must not change it
            return found.reshape(self.extent(b, x.shape)) if x.shape in (FULL, *VECTORS) else found

        return read


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
