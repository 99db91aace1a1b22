"""Any device that torch knows: the graph, node by node, tensor by tensor. The fallback, and the law."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.compile.emit.reference import evaluate, wide
from ravine.compile.expr import FULL, VECTORS, Expr
from ravine.compile.launch.base import Changed, Launch, Steps, real


class Reference(Launch):
    """No table and no kernels: values are computed in the type of computation and rounded once, at the store."""

    def place(self, grads: Sequence[Tensor]) -> None:
        """torch finds the memory; the types decide what is computed in."""
        if any(g.layout is not torch.strided for g in grads):
            raise Changed
        self.recognize(grads)

    def run(self, grads: Sequence[Tensor], numbers: Sequence[float]) -> Steps:
        outputs = self.plan.outputs
        sums: list[dict[Expr, Tensor]] = [{} for _ in self.bound]
        for gather in self.plan.gathers:
            for i in range(len(self.bound)):
                sums[i] |= self.values(i, [x.src[0] for x in gather.everys], grads, numbers, sums[i])
            numbers = yield {str(x.arg): sum((float(made[x.src[0]]) for made in sums), 0.0) for x in gather.everys}
        written = {k: x for k, x in outputs.items() if k == "p" or k in self.bound[0].keys}
        for i, b in enumerate(self.bound):
            made = self.values(i, list(written.values()), grads, numbers, sums[i])
            with torch.no_grad():
                for k, x in written.items():
                    target, shape = real(b.p if k == "p" else b.state[b.keys[k]]), self.plan.shape(k)
                    whole = shape in (FULL, *VECTORS)
                    value = made[x].expand(self.extent(b, shape)) if whole else made[x]
                    target.copy_(value.reshape(target.shape))

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
        made = evaluate(wanted, self.reader(i, grads[i]), real(b.p), known, self.plan.view, b.index)
        return {x: made[x] for x in wanted}
