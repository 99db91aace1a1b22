"""Any device that torch knows: the graph, node by node, tensor by tensor. The fallback, and the law."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.expr import FULL, SCALAR, VECTORS, Expr
from ravine.compile.geometry import gradient, local, real
from ravine.compile.interpret import evaluate
from ravine.compile.launch.base import Bound, Changed
from ravine.compile.launch.memory import PLAIN, lacks
from ravine.compile.launch.phases import Launch
from ravine.compile.plan import Plan
from ravine.compile.storage import CODED, EXTRA, drawn, encode, half, key, round_stochastically, split, words


def number(x: Tensor) -> float:
    """A number of one element; of a tensor without memory, as estimates of memory use, any will do."""
    return 0.0 if x.is_meta or isinstance(x, FakeTensor) else float(x)


class Reference(Launch):
    """No table and no kernels: values are computed in the type of computation and rounded once, at the store."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        super().__init__(plan, bound)
        self.drawn = drawn(self.types)

    def place(self, grads: Sequence[Tensor]) -> bool:
        """torch finds the memory; the types decide what is computed in."""
        if any(g.layout is not torch.strided for g in grads):
            raise Changed("a gradient is not strided")
        self.grads = [gradient(g, b.p) for g, b in zip(grads, self.bound, strict=True)]
        self.made = [{} for _ in self.bound]
        self.recognize(self.grads)
        for i, x in enumerate(self.walked(self.grads)):
            if type(x) in PLAIN and lacks(x):
                raise self.unbacked(i)
        return True

    def count(self, numbers: Sequence[float]) -> None:
        self.numbers = numbers

    @torch.no_grad()
    def kernel(self, k: int) -> None:
        kernel = self.plan.kernels[k]
        outputs = dict((*kernel.stores, *kernel.scalars, *kernel.vectors))
        for i, b in enumerate(self.bound):
            wanted = [*kernel.summed, *kernel.sums, *kernel.short, *kernel.keep, *outputs.values()]
            known, at, whole = self.made[i] | self.row(i), (b.index, b.numbers), self.whole_of[i]
            made = evaluate(wanted, self.reader(i), real(b.p), known, b.extent.seen(self.plan.view), *at, whole)
            for x in (*kernel.sums, *kernel.short):
                if x in self.plan.sums:
                    place = self.sums[i, self.plan.sums.index(x)]
                    made[x] = place.copy_(made[x])
            self.keep(i, {x: made[x] for x in (*kernel.sums, *kernel.short, *kernel.keep)})
            for name, x in outputs.items():
                target = real(self.array(b, name))
                shape = self.plan.shape(name)
                value = made[x].expand(self.extent(b, shape)) if shape in (FULL, *VECTORS) else made[x]
                self.store(b, name, target, value.reshape(target.shape))

    def stay(self, i: int) -> dict[Expr, Tensor]:
        return {}

    def keep(self, i: int, made: Mapping[Expr, Tensor]) -> None:
        self.made[i] |= made

    def results(self, x: Expr, which: Sequence[int]) -> list[Tensor]:
        return super().results(x, which) if x.shape == SCALAR else [self.made[i][x] for i in which]

    def over_all(self, place: int) -> float:
        return sum((number(x) for x in self.sums[:, place]), 0.0)

    def store(self, b: Bound, name: str, target: Tensor, value: Tensor) -> None:
        """Write an array, whatever its kind."""
        kind, random = self.types.get(name), None  # a matrix has none
        if name in self.drawn:
            width, (draw, which) = len(self.plan.numbers), self.drawn[name]
            seed, t = (int(self.numbers[b.row * width + self.plan.numbers.index(x)]) for x in self.plan.chance)
            random = half(words(b.numbers(), key(seed, t, b.index, draw)), which)
        if kind in CODED:
            codes, scale = encode(value, kind, random)
            target.copy_(codes.view(target.shape))
            local(b.state[b.keys[f"{name}.scale"]]).copy_(scale)
        elif kind in EXTRA:
            upper, bits = split(value, kind, random)
            target.copy_(upper)
            local(b.state[b.keys[f"{name}.bits"]]).copy_(bits)
        else:
            target.copy_(value if random is None else round_stochastically(value, random))
