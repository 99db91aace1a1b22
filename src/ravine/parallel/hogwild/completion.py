"""Matrix completion: two factors whose product agrees with the entries that are known."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.parallel.hogwild.problem import LARGEST, SparseProblem, index, target
from ravine.rule.hyper import integer, value_of
from ravine.saved import told


class MatrixCompletion(SparseProblem):
    """Finds factors L and R with L Rᵀ near the known entries of a matrix, with one step per entry.

        f(L, R) = 1/n Σ ℓ(Lᵤ·Rᵥ, zᵤᵥ)        over the known entries (u, v);  ℓ(z, y) = ½ (z − y)²

        for an entry:  s = Lᵤ·Rᵥ − zᵤᵥ;   Lᵤ steps with g = s Rᵥ, and Rᵥ with g = s Lᵤ

        >>> import torch, ravine
        >>> from ravine.parallel import MatrixCompletion
        >>> left, right = (torch.nn.Parameter(0.1 + torch.rand(n, 2)) for n in (4, 3))
        >>> opt = ravine.SGD([left, right], lr=0.1)
        >>> problem = MatrixCompletion([0, 1, 2, 3, 0], [0, 1, 2, 0, 2], [1.0, 2.0, 0.5, 1.0, 1.5], opt)
        >>> problem.fit(epochs=200)
        >>> problem.loss() < 1e-3
        True

    Each entry changes two rows and nothing else; the loop is compiled with the optimizer's own rule, as for
    `SparseLinear`. weight_decay=λ adds λ Lᵤ and λ Rᵥ to the gradients of an entry, so a row decays once for each of its
    entries.

    rows, columns: where each known entry is; whole numbers. An entry that comes twice counts twice.
    values: the entries.
    optimizer: one of ravine's over two parameters in one group: L of (all rows, rank) and R of (all columns, rank). Do
        not begin with zeros: their gradients are zero.
    loss: "squared"; or "logistic" or "hinge" for entries that are ±1.
    shuffle, seed: as for `SparseLinear`.

    Niu, Recht, Ré & Wright 2011, section 3    https://arxiv.org/abs/1106.5730
    """

    papers = ("niu2011hogwild",)
    problem = "factors"
    weights = 2

    def __init__(
        self,
        rows: Any,
        columns: Any,
        values: Any,
        optimizer: Optimizer,
        *,
        loss: Literal["logistic", "hinge", "squared"] = "squared",
        shuffle: bool = True,
        seed: int = 0,
    ):
        left, right = pair(optimizer)
        made = {
            "first": index("MatrixCompletion", "rows", rows, left.shape[0]).to(torch.int32),
            "second": index("MatrixCompletion", "columns", columns, right.shape[0]).to(torch.int32),
        }
        counts = [len(x) for x in made.values()]
        if counts[0] != counts[1]:
            raise ValueError(f"MatrixCompletion: there are {counts[0]} rows and {counts[1]} columns; give one of each")
        made["targets"] = target("MatrixCompletion", values, counts[0], loss)
        super().__init__(
            made,
            optimizer,
            loss,
            value_of("MatrixCompletion: shuffle", bool, shuffle),
            integer("MatrixCompletion: seed", seed),
        )
        self.shapes, self.dtype = [left.shape, right.shape], left.dtype
        self.ready()

    def check(self, p: Tensor) -> None:
        super().check(p)
        if [x.shape for x in self.params] != self.shapes or p.dtype != self.dtype:
            raise ValueError(
                f"MatrixCompletion: a factor is {told(p)}; they were made as {self.shapes} of {self.dtype}"
            )

    @torch.no_grad()
    def scores(self) -> Tensor:
        left, right = (p.detach().double() for p in self.params)
        return (left[self.data["first"].long()] * right[self.data["second"].long()]).sum(1)


def pair(optimizer: Any) -> tuple[Tensor, Tensor]:
    """The two factors."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"MatrixCompletion: the optimizer is {told(optimizer)}; it must be one of ravine's")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if len(params) != 2 or any(p.dim() != 2 for p in params) or params[0].shape[1] != params[1].shape[1]:
        shapes = [tuple(p.shape) for p in params]
        raise ValueError(
            f"MatrixCompletion: the optimizer has parameters of shapes {shapes}; it must have two, (rows, rank) and "
            "(columns, rank)"
        )
    if max(p.shape[0] for p in params) > LARGEST:
        raise ValueError(f"MatrixCompletion: a factor has more than {LARGEST} rows")
    if params[0].dtype != params[1].dtype:
        raise ValueError(f"MatrixCompletion: the factors are {params[0].dtype} and {params[1].dtype}; give one type")
    return params[0], params[1]
