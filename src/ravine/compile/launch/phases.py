"""A launch whose Matrix phases torch runs, tensor by tensor or as stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from ravine.compile.expr import FULL, LEAVES, SCALAR, VECTORS, Expr, is_matrix, walk
from ravine.compile.geometry import extent, moves, real, stack, stacked, unstack
from ravine.compile.interpret import OPS, VIEWS, Interpreter, Values, make, wide
from ravine.compile.launch.base import Bound, Tables, as_numbers
from ravine.compile.launch.matrix import Work, crews, levels, run
from ravine.compile.launch.memory import PLAIN
from ravine.compile.launch.owners import Owners
from ravine.compile.plan import Matrix, Plan
from ravine.compile.storage import half, key, round_stochastically, words

FIRST_FACTOR = 1 << 16  # of the draws in a step: no state of elements has one as high


class Launch(Tables):
    """A plan bound to tensors of one device and one set of types."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        super().__init__(plan, bound)
        self.levels = {phase: levels(phase.nodes) for phase in plan.phases if isinstance(phase, Matrix)}
        self.owners = self.found_owners() if self.mixed else None
        owned = () if self.owners is None else self.owners.extents
        self.crews = crews({i: b.extent.whole for i, b in enumerate(bound) if i not in owned}) if self.mixed else []
        self.works = {phase: dict[int, Work]() for phase in self.levels}  # of each tensor, found in the first step
        stay = [self.stay(i) for i in range(len(bound))] if self.mixed else []
        self.standing = {phase: [without(found, phase.nodes) for found in stay] for phase in self.levels}
        self.host: tuple[Sequence[float], list[dict[Expr, Tensor]]] = (), []  # its numbers, and for each row as tensors
        self.outcomes: dict[str, str] = {}  # of matrix work: which calls were one, in the last step that had them

    @torch.no_grad()
    def matrix(self, phase: Matrix) -> None:
        """Matrix operations, and the states that they alone touch."""
        for crew in self.crews:
            works = {i: self.work_of(i, phase) for i in crew}
            given = {i: self.gathered(i, phase, work) for i, work in works.items()}
            for i, made in self.work(phase, works, given).items():
                b = self.bound[i]
                self.take_made(i, made if b.extent.complete else {x: self.part(b, x, a) for x, a in made.items()})
        if self.owners is not None:
            self.owned(phase, self.owners)

    def work_of(self, i: int, phase: Matrix, known: Iterable[Expr] = ()) -> Work:
        """The work on tensor i, of which this is known besides."""
        works, b = self.works[phase], self.bound[i]
        if i not in works:
            read, view = self.reader(i), self.plan.view
            p = real(b.p).new_empty(()).expand(b.extent.whole)  # its sizes and type, and none of its memory
            if not b.extent.complete:
                read = self.joining(b, read, p)
            making = Interpreter(stacked(read, p, view) if moves(view) else read, p, view, b.index)
            wanted = [*phase.keep, *(x for _, x in phase.stores)]
            works[i] = Work(making, self.levels[phase], wanted, {*self.known(i, phase), *known})
        return works[i]

    def work(
        self, phase: Matrix, works: Mapping[int, Work], known: Mapping[int, Mapping[Expr, Tensor]]
    ) -> dict[int, dict[Expr, Tensor]]:
        """The same for some of the tensors, of which this is known: what later phases need; states are stored."""
        view, values = self.plan.view, {i: dict(each) for i, each in known.items()}
        if moves(view):
            for i, work in works.items():
                given = values[i]
                given |= {x: stack(given[x], work.making.p, view) for x in work.begin if x.shape == FULL}
        for level in range(len(self.levels[phase])):
            run([(call, values[i]) for i, work in works.items() for call in work.levels[level]], self.outcomes)
        out = dict[int, dict[Expr, Tensor]]()
        for i, work in works.items():
            p, made = work.making.p, make(work.last, values[i])
            if phase.stores:  # in the last phase of a step
                self.store_matrices(self.bound[i], phase.stores, made)
            out[i] = {x: unstack(made[x], p, view) if x.shape == FULL else made[x] for x in phase.keep}
        return out

    def store_matrices(self, b: Bound, stores: Sequence[tuple[str, Expr]], made: Values) -> None:
        """Write what was made into the states that matrix work alone touches; what is the state itself stays."""
        pairs = list[tuple[Tensor, Tensor]]()
        for place, (k, x) in enumerate(stores):
            to, value = b.state[b.keys[k]], self.rounded(b, k, made[x], place)
            if value is not to:
                new = x.op in OPS and x.op not in VIEWS
                pairs.append((to, value if new else apart(value, (b.state[b.keys[k]] for k in self.matrices))))
        for to, value in pairs:
            to.copy_(value)

    def rounded(self, b: Bound, k: str, made: Tensor, place: int) -> Tensor:
        """What is written into a state that matrix work alone touches: to bf16 by stochastic rounding where
        storage="bf16" asks for it, and else to the nearest, as into a state that was loaded so."""
        if b.state[b.keys[k]].dtype != torch.bfloat16 or not self.plan.chance:
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
        known, error = {i: self.known(i, phase) for i in owners.extents}, None
        some = next(iter(known.values()))
        needed = [x for x in walk(phase.nodes, some) if x.shape in (FULL, *VECTORS)]
        arrays = {x: self.memory(x) if x in some else self.compute for x in needed if x in some or x.op in LEAVES}
        sent = {i: [mine[x] if x in mine else self.reader(i)(x) for x in arrays] for i, mine in known.items()}
        given = dict[int, dict[Expr, Tensor]]()
        for i, parts in owners.gather(sent, [(x.shape, d) for x, d in arrays.items()]).items():
            whole = self.bound[i].extent.whole
            p = real(self.bound[i].p).new_empty(1).expand(whole)
            seen = {x: a.reshape(extent(p, x.shape, self.plan.view)) for x, a in zip(arrays, parts, strict=True)}
            rest = {x: a for x, a in known[i].items() if x.shape not in (FULL, *VECTORS)}
            given[i] = rest | seen
        made = dict[int, dict[Expr, Tensor]]()
        try:
            for crew in crews({i: self.bound[i].extent.whole for i in owners.mine}):
                made |= self.work(phase, {i: self.work_of(i, phase, given[i]) for i in crew}, given)
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

    def gathered(self, i: int, phase: Matrix, work: Work) -> Mapping[Expr, Tensor]:
        """What is known for matrix work on tensor i: whole arrays where processes have parts."""
        b, known = self.bound[i], self.known(i, phase)
        if b.extent.complete:
            return known
        return {x: self.joined(b, x, known[x], work.making.p) for x in work.begin}

    def joining(self, b: Bound, read: Callable[[Expr], Tensor], p: Tensor) -> Callable[[Expr], Tensor]:
        """A reader of whole leaves of a parameter of which a part is here."""
        return lambda x: self.joined(b, x, read(x), p)

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

    def known(self, i: int, phase: Matrix) -> dict[Expr, Tensor]:
        """The results of earlier phases of this step for tensor i, and its numbers of the host."""
        return {**self.standing[phase][i], **self.made[i], **self.row(i)}

    def stay(self, i: int) -> dict[Expr, Tensor]:
        """Where results of phases lie at all steps: of tensor i."""
        return {**self.between[i], **{x: self.sums[i, j] for j, x in enumerate(self.plan.sums)}}

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
        if self.host[0] is not self.numbers:
            names, device = self.plan.numbers, self.bound[0].p.device
            table = torch.tensor(self.numbers, dtype=wide(device), device="cpu").unbind()
            rows = range(0, max(1, len(table)), max(1, len(names)))
            self.host = self.numbers, [dict(zip(names, table[j : j + len(names)], strict=True)) for j in rows]
        return self.host[1][self.bound[i].row if self.plan.numbers else 0]

    def row_of(self, b: Bound) -> Sequence[float]:
        """The same as plain numbers."""
        width = len(self.plan.numbers)
        return self.numbers[b.row * width : (b.row + 1) * width]

    def reader(self, i: int):
        """Copies of the leaves p, g and states of tensor i, in the type of computation, as matrices; states of matrices
        themselves, which are large, and which `store` writes when nobody reads them any more."""
        b, coded = self.bound[i], any(k.endswith((".scale", ".bits")) for k in self.bound[i].keys)

        @cache
        def way(x: Expr) -> tuple[str, bool, list[int] | None]:
            """The array of a leaf, whether it is copied, and the shape that it is seen in."""
            shape = self.extent(b, x.shape) if x.shape in (FULL, *VECTORS) else None
            return x.op if x.op in ("p", "g") else str(x.arg), not is_matrix(x), shape

        def read(x: Expr) -> Tensor:
            name, copied, shape = way(x)
            found = self.grads[i] if name == "g" else as_numbers(b, name) if coded else self.array(b, name)
            found = real(found).to(self.compute, copy=copied)  # what is written next must not change it
            return found if shape is None else found.reshape(shape)

        return read


def apart(x: Tensor, others: Iterable[Tensor]) -> Tensor:
    """A tensor, or a copy where it may lie in the memory of one of these."""
    if type(x) not in PLAIN:
        return x.clone()
    begin = x.untyped_storage().data_ptr()
    return x.clone() if any(type(y) not in PLAIN or y.untyped_storage().data_ptr() == begin for y in others) else x


def without(known: Mapping[Expr, Tensor], some: Sequence[Expr]) -> dict[Expr, Tensor]:
    """All of it but these."""
    return {x: a for x, a in known.items() if x not in some}
