"""Any device that torch knows: the graph, node by node, tensor by tensor. The fallback, and the law."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.compile.emit.reference import evaluate, wide
from ravine.compile.expr import FULL
from ravine.compile.launch.base import Launch, real


class Reference(Launch):
    """No table and no kernels: values are computed in the type of computation and rounded once, at the store."""

    def place(self, grads: Sequence[Tensor]) -> None:
        """torch finds the memory; the types decide what is computed in."""
        self.recognize(grads)

    @torch.no_grad()
    def run(self, grads: Sequence[Tensor], numbers: Sequence[float]) -> None:
        width, outputs = len(self.plan.numbers), self.plan.outputs
        number = wide(self.bound[0].p.device)
        written = {k: x for k, x in outputs.items() if k == "p" or k in self.bound[0].keys}
        for i, b in enumerate(self.bound):
            row = numbers[b.row * width : (b.row + 1) * width]
            known = {x: torch.tensor(n, dtype=number) for x, n in zip(self.plan.numbers, row, strict=True)}
            made = evaluate(written.values(), self.reader(i, grads[i]), real(b.p), known)
            for k, x in written.items():
                target = real(b.p if k == "p" else b.state[b.keys[k]])
                whole = k == "p" or self.plan.start[k].shape == FULL
                target.copy_((made[x].expand(self.shapes[i]) if whole else made[x]).reshape(target.shape))
