"""Any device that torch knows: the graph, node by node, tensor by tensor. The fallback, and the law."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.expr import FULL, VECTORS, Expr
from ravine.compile.interpret import evaluate, wide
from ravine.compile.launch.base import Bound, Changed, Launch, Steps, local, real
from ravine.compile.launch.memory import PLAIN, lacks
from ravine.compile.plan import Plan
from ravine.compile.storage import CODED, EXTRA, drawn, encode, half, key, round_by_chance, split, words


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
        self.recognize(grads)
        for i, x in enumerate(self.walked(grads)):
            if type(x) in PLAIN and lacks(x):
                raise self.unbacked(i)
        return True

    def run(self, grads: Sequence[Tensor], numbers: Sequence[float]) -> Steps:
        outputs = self.plan.outputs
        sums: list[dict[Expr, Tensor]] = [{} for _ in self.bound]
        for gather in self.plan.gathers:
            for i in range(len(self.bound)):
                sums[i] |= self.values(i, [x.src[0] for x in gather.everys], grads, numbers, sums[i])
                for x in gather.everys:
                    self.sums[i, self.plan.sums.index(x.src[0])] = sums[i][x.src[0]]
            numbers = yield {str(x.arg): sum((number(made[x.src[0]]) for made in sums), 0.0) for x in gather.everys}
        written = {k: x for k, x in outputs.items() if k == "p" or k in self.bound[0].keys}
        for i, b in enumerate(self.bound):
            seen = self.plan.measures.values()
            made = self.values(i, [*written.values(), *seen], grads, numbers, sums[i])
            with torch.no_grad():
                for x in seen:
                    self.sums[i, self.plan.sums.index(x)] = made[x]
                for k, x in written.items():
                    target, shape = real(self.array(b, k)), self.plan.shape(k)
                    whole = shape in (FULL, *VECTORS)
                    value = made[x].expand(self.extent(b, shape)) if whole else made[x]
                    self.store(b, k, target, value.reshape(target.shape), numbers)

    def store(self, b: Bound, name: str, target: Tensor, value: Tensor, numbers: Sequence[float]) -> None:
        """Write an array, whatever its kind."""
        kind, chance = self.types.get(name), None  # a matrix has none
        if name in self.drawn:
            width, (draw, which) = len(self.plan.numbers), self.drawn[name]
            seed, t = (int(numbers[b.row * width + self.plan.numbers.index(x)]) for x in self.plan.chance)
            chance = half(words(b.elements(), key(seed, t, b.index, draw)), which)
        if kind in CODED:
            codes, scale = encode(value, kind, chance)
            target.copy_(codes.view(target.shape))
            local(b.state[b.keys[f"{name}.scale"]]).copy_(scale)
        elif kind in EXTRA:
            upper, bits = split(value, kind, chance)
            target.copy_(upper)
            local(b.state[b.keys[f"{name}.bits"]]).copy_(bits)
        else:
            target.copy_(value if chance is None else round_by_chance(value, chance))

    @torch.no_grad()
    def values(
        self, i: int, wanted: list[Expr], grads: Sequence[Tensor], numbers: Sequence[float], sums: dict[Expr, Tensor]
    ) -> dict[Expr, Tensor]:
        """The values of some expressions for tensor i."""
        b, width = self.bound[i], len(self.plan.numbers)
        row = numbers[b.row * width : (b.row + 1) * width]
        number = wide(b.p.device)
        known = {
            x: torch.tensor(n, dtype=number, device="cpu") for x, n in zip(self.plan.numbers, row, strict=True)
        } | sums
        made = evaluate(wanted, self.reader(i, grads[i]), real(b.p), known, self.plan.view, (b.index, b.offset))
        return {x: made[x] for x in wanted}
