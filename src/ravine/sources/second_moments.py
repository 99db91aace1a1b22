"""Second moments of what linear layers are given, and of the gradients of what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ravine.loop.hook import Hook
from ravine.rule.processes import average
from ravine.rule.source import Source


class Seen:
    """Sums over the rows that a layer has seen since the last step."""

    def __init__(self, layer: nn.Linear):
        like = {"device": layer.weight.device, "dtype": torch.promote_types(layer.weight.dtype, torch.float32)}
        self.rows = 0
        self.inputs = torch.zeros(layer.in_features, layer.in_features, **like)
        self.outputs = torch.zeros(layer.out_features, layer.out_features, **like)


class SecondMoments(Source):
    """Of each `nn.Linear` y = W x + c of a model: the second moments of x and of δ = ∂loss/∂y, for a mean over rows.

        A = E[x xᵀ]    (c, c), the input "a"          B = E[δ δᵀ]    (r, r), the input "b"

    They are the factors of K-FAC: for W (r, c), B ⊗ A stands for the Fisher matrix, and its step is B⁻¹ g A⁻¹. A bias
    is a column that meets x = 1: its A is [[1]], and its B the layer's.

        >>> import torch, ravine
        >>> from ravine.sources import SecondMoments
        >>> from ravine.words import eye, cols, matrix_op
        >>> inverse = matrix_op(torch.linalg.inv)
        >>> class Whitened(ravine.Optimizer):
        ...     inputs = {"a": "c c"}
        ...     def update(self, s, p, g, t, a):
        ...         return p - self.lr * (g @ inverse(a + 0.1 * eye(cols(p))))
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = Whitened(model.parameters(), lr=0.1, sources=[SecondMoments(model)])
        >>> model(torch.randn(8, 3)).square().mean().backward()
        >>> opt.step()

    Rows are all dimensions of x but the last, of all passes since the last step that backward has reached. The
    gradients are those of the targets (the empirical Fisher matrix, which Kunstner et al. 2019 compare with the true
    one): for the true one let backward run once more from targets that the model draws.

    Give parameters of other layers to an optimizer of their own: nobody gives their moments, and the step says so.

    inputs, outputs: the names of the two.
    every: how many steps pass from one measurement to the next; between them the hooks do nothing.
    mean: the loss is a mean over rows, and δ of one row is 1/rows of its gradient. False: it is their sum.
    group: the processes that train one model: moments are averaged over them. False: each by itself.

    Martens & Grosse 2015    https://arxiv.org/abs/1503.05671
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inputs: str = "a",
        outputs: str = "b",
        every: int = 1,
        mean: bool = True,
        group: Any = None,
    ):
        super().__init__(every)
        layers = [x for x in model.modules() if isinstance(x, nn.Linear)]
        if not layers:
            raise ValueError(f"SecondMoments: {type(model).__name__} has no nn.Linear, and moments are of these")
        self.gives, self.mean, self.group = (inputs, outputs), mean, group
        self.seen: dict[Tensor, Seen] = {}  # by the weight and the bias of a layer
        self.handles: list[RemovableHandle] = [x.register_forward_hook(Hook(self.forward)) for x in layers]

    def forward(self, layer: nn.Linear, args: tuple[Tensor, ...], y: Tensor) -> None:
        """A layer is called: wait for its gradient, where the next step takes new moments."""
        if y.requires_grad and self.due:
            x = args[0].detach()
            y.register_hook(lambda delta: self.add(layer, x, delta))

    @torch.no_grad()
    def add(self, layer: nn.Linear, x: Tensor, delta: Tensor) -> None:
        """The rows of a pass."""
        seen = self.seen.setdefault(layer.weight, Seen(layer))
        if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  # Linear(bias=False)
            self.seen[layer.bias] = seen
        x, delta = (a.reshape(-1, a.shape[-1]).to(seen.inputs.dtype) for a in (x, delta.detach()))
        seen.rows += len(x)
        seen.inputs.addmm_(x.T, x)
        seen.outputs.addmm_(delta.T, delta)

    @torch.no_grad()
    def give(self, wanted: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Mapping[Tensor, Tensor]]:
        """{"a": {p: A}, "b": {p: B}} of the layers that backward has reached."""
        inputs, outputs = self.gives
        kept = {id(x): x for listed in wanted.values() for p in listed if (x := self.seen.get(p)) and x.rows}
        self.seen = {p: x for p, x in self.seen.items() if id(x) in kept}
        for x in kept.values():
            x.inputs /= x.rows
            x.outputs *= x.rows if self.mean else 1 / x.rows
        average("SecondMoments", (a for x in kept.values() for a in (x.inputs, x.outputs)), self.group)
        seen, self.seen = self.seen, {}
        return {
            inputs: {p: of_input(p, seen[p]) for p in wanted.get(inputs, ()) if p in seen},
            outputs: {p: seen[p].outputs for p in wanted.get(outputs, ()) if p in seen},
        }

    def remove(self) -> None:
        """Take the hooks away from the model."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.seen.clear()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: it watches no model."""
        return super().__getstate__() | {"handles": [], "seen": {}}


def of_input(p: Tensor, seen: Seen) -> Tensor:
    """A: of a bias that of 1."""
    return seen.inputs if p.dim() == 2 else seen.inputs.new_ones(1, 1)
