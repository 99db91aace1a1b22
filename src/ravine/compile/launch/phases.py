"""A launch whose Matrix phases torch runs, tensor by tensor or as stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ravine.compile.expr import FULL, LEAVES, SCALAR, VECTORS, Expr, is_matrix, walk
from ravine.compile.geometry import extent, moves, real, stack, stacked, unstack
from ravine.compile.interpret import wide
from ravine.compile.launch.base import Bound, Tables, as_numbers
from ravine.compile.launch.matrix import Work, crews, levels, run
from ravine.compile.launch.memory import PLAIN
from ravine.compile.launch.owners import Owners
from ravine.compile.plan import Matrix, Plan
from ravine.compile.storage import half, key, round_stochastically, words

Given = tuple[Tensor, dict[Expr, Tensor], Callable[[Expr], Tensor]]  # a tensor's sizes, what is known, its leaves


FIRST_FACTOR = 1 << 16  # of the draws in a step: no state of elements has one as high


class Launch(Tables):
    """A plan bound to tensors of one device and one set of types."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        super().__init__(plan, bound)
        self.levels = {phase: levels(phase.nodes) for phase in plan.phases if isinstance(phase, Matrix)}
        self.owners = self.found_owners() if self.mixed else None
        owned = () if self.owners is None else self.owners.extents
        self.crews = crews({i: b.extent.whole for i, b in enumerate(bound) if i not in owned}) if self.mixed else []
        self.outcomes: dict[str, str] = {}  # of matrix work: which calls were one, in the last step that had them

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
        """The same for some of the tensors: what later phases need; states are stored."""
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
            b, made = self.bound[i], work.find([*phase.keep, *(x for _, x in phase.stores)])
            states = [b.state[b.keys[k]] for k in self.matrices]
            values = [self.rounded(b, k, made[x], place) for place, (k, x) in enumerate(phase.stores)]
            kept = [b.state[b.keys[k]] for k, _ in phase.stores]
            store(list(zip(kept, values, strict=True)), states)  # in the last phase of a step
            out[i] = {x: unstack(made[x], work.p, view) if x.shape == FULL else made[x] for x in phase.keep}
        return out

    def rounded(self, b: Bound, k: str, made: Tensor, place: int) -> Tensor:
        """What is written into a state that matrix work alone touches: to bf16 by stochastic rounding."""
        if b.state[b.keys[k]].dtype != torch.bfloat16:
            return made
        numbers = self.row_of(b)
        seed, t = (int(numbers[self.plan.numbers.index(x)]) for x in self.plan.chance)
        count = torch.arange(made.numel(), device=made.device)
        return round_stochastically(made, half(words(count, key(seed, t, b.index, FIRST_FACTOR + place)), 0))

    def found_owners(self) -> Owners | None:
        """Who works on tensors of which each process has a part; None where all do, since states of matrices are in
        every process."""
        extents = {i: b.extent for i, b in enumerate(self.bound) if not b.extent.complete}
        if not extents or self.matrices or not Owners.serve(extents.values()):
            return None
        first, view = self.bound[0], next(iter(extents.values())).seen(self.plan.view)
        return Owners(extents, view, first.p.device, first.index)

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
        results = {x: self.sums.dtype if x.shape == SCALAR else self.memory(x) for x in phase.keep}
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
        made = torch.tensor(self.row_of(self.bound[i]), dtype=wide(self.bound[i].p.device), device="cpu")
        return dict(zip(self.plan.numbers, made, strict=True))

    def row_of(self, b: Bound) -> Sequence[float]:
        """The same as plain numbers."""
        width = len(self.plan.numbers)
        return self.numbers[b.row * width : (b.row + 1) * width]

    def reader(self, i: int):
        """Copies of the leaves p, g and states of tensor i, in the type of computation, as matrices; states of matrices
        themselves, which are large, and which `store` writes when nobody reads them any more."""
        b, g = self.bound[i], self.grads[i]

        def read(x: Expr) -> Tensor:
            found = g if x.op == "g" else as_numbers(b, "p" if x.op == "p" else str(x.arg))
            found = real(found).to(self.compute, copy=not is_matrix(x))  # what is written next must not change it
            return found.reshape(self.extent(b, x.shape)) if x.shape in (FULL, *VECTORS) else found

        return read


def store(pairs: Sequence[tuple[Tensor, Tensor]], states: Sequence[Tensor]) -> None:
    """Write each value into its state; where it is the state itself, that is done."""
    changed = [(to, value) for to, value in pairs if value is not to]
    held = [value.clone() if any(shared(value, x) for x in states) else value for _, value in changed]
    for (to, _), value in zip(changed, held, strict=True):
        to.copy_(value)


def shared(x: Tensor, y: Tensor) -> bool:
    """True where the two may lie in the same memory."""
    if type(x) not in PLAIN or type(y) not in PLAIN:
        return True
    return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
