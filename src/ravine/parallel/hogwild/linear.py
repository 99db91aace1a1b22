"""Linear models on sparse samples."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.parallel.hogwild.problem import LARGEST, SparseProblem, index, real, target
from ravine.rule.hyper import integer, value_of
from ravine.saved import told


class SparseLinear(SparseProblem):
    """Logistic regression, a support vector machine or least squares on sparse rows, with one step per sample.

        f(w) = 1/n Σᵢ ℓ(xᵢ·w, yᵢ)

        logistic    ℓ(z, y) = log(1 + e^(−y z))        y = ±1
        hinge       ℓ(z, y) = max(0, 1 − y z)          y = ±1
        squared     ℓ(z, y) = ½ (z − y)²

        >>> import torch, ravine
        >>> from ravine.parallel import SparseLinear
        >>> x = torch.tensor([[1.0, 0, 0, 2], [0, 1, 0, 0], [0, 0, 3, 1]]).to_sparse()
        >>> w = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
        >>> problem = SparseLinear(x, [1, -1, 1], ravine.Adagrad([w], lr=0.5))
        >>> before = problem.loss()
        >>> problem.fit(epochs=20, threads=2)
        >>> problem.loss() < before / 4
        True

    For each sample the loop computes the score z = xᵢ·w and the slope s = ∂ℓ/∂z. Then, for each coordinate v of the
    sample, it makes a step of the optimizer's own rule with g = s xᵢᵥ. Loop and rule are compiled together, so a sample
    costs no call of Python. All other coordinates keep their bits: weight_decay and momentum act only where a sample
    has a coordinate, as with sparse gradients everywhere in ravine. Any rule works that looks at one element at a time
    (SGD, Adagrad, Adam, RMSprop, Lion …).

    Several workers can make steps at the same time without locks (Hogwild!): see `fit`.

    data: the samples as rows: a CSR matrix of SciPy, a torch tensor (sparse or dense) or (row starts, columns, values).
        It is copied. If a row has a column twice, the values are added. There is no intercept: give a column of ones,
        which then all samples touch.
    targets: a number for each sample.
    optimizer: one of ravine's over one parameter, the weights, with an element for each column.
    loss: "logistic", "hinge" or "squared".
    shuffle, seed: with shuffle=True, a new order in each epoch, which depends on the seed alone; else that of the rows.

    Raises ValueError for columns beyond the weights, targets that do not fit the loss, numbers that are not finite, and
    rules that look at more than one element.

    Niu, Recht, Ré & Wright 2011, section 3    https://arxiv.org/abs/1106.5730
    """

    papers = ("niu2011hogwild",)
    problem = "linear"
    weights = 1

    def __init__(
        self,
        data: Any,
        targets: Any,
        optimizer: Optimizer,
        *,
        loss: Literal["logistic", "hinge", "squared"] = "logistic",
        shuffle: bool = True,
        seed: int = 0,
    ):
        p = only(type(self).__name__, optimizer)
        starts, columns, values, width = rows(data, p.dtype)
        if width is not None and width != p.numel():
            raise ValueError(
                f"SparseLinear: the samples have {width} columns and the weights {p.numel()} elements; they must be as "
                "many"
            )
        index("SparseLinear", "columns", columns, p.numel())
        if p.numel() > LARGEST:
            raise ValueError(f"SparseLinear: the weights have {p.numel()} elements; there may be {LARGEST}")
        starts, columns, values = merged(starts, columns, values, p.numel())
        made = {
            "first": starts,
            "second": columns.to(torch.int32),
            "values": values,
            "targets": target("SparseLinear", targets, len(starts) - 1, loss),
        }
        super().__init__(
            made, optimizer, loss, value_of("SparseLinear: shuffle", bool, shuffle), integer("SparseLinear: seed", seed)
        )
        self.width = p.numel()
        self.ready()

    def check(self, p: Tensor) -> None:
        super().check(p)
        if p.numel() != self.width or p.dtype != self.data["values"].dtype:
            raise ValueError(
                f"SparseLinear: the weights are {told(p)}, and were made for {self.width} elements of "
                f"{self.data['values'].dtype}"
            )

    @torch.no_grad()
    def scores(self) -> Tensor:
        starts, columns = self.data["first"], self.data["second"].long()
        row = torch.arange(len(self), device="cpu").repeat_interleave(starts.diff())
        terms = self.data["values"].double() * self.params[0].detach().double().flatten()[columns]
        return torch.zeros(len(self), dtype=torch.float64, device="cpu").index_add_(0, row, terms)


def only(who: str, optimizer: Any) -> Tensor:
    """The one parameter of an optimizer of ravine."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{who}: the optimizer is {told(optimizer)}; it must be one of ravine's")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if len(params) != 1:
        raise ValueError(f"{who}: the optimizer has {len(params)} parameters; it must have one, the weights")
    return params[0]


def rows(data: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, int | None]:
    """Row starts, columns and values of samples in any form, and how many columns there are, where that is said."""
    who, width = "SparseLinear", None
    if hasattr(data, "tocsr"):
        data, width = data.tocsr(), int(data.shape[1])
        starts, columns, values = data.indptr, data.indices, data.data
    elif isinstance(data, Tensor):
        if data.dim() != 2 or data.layout not in (torch.strided, torch.sparse_coo, torch.sparse_csr):
            raise ValueError(f"{who}: data is {told(data)}; it must have two dimensions, dense or COO or CSR")
        width = data.shape[1]
        if data.layout is torch.sparse_csr:
            starts, columns, values = data.crow_indices(), data.col_indices(), data.values()
        else:
            row, columns, values = pairs(data.detach())
            starts = torch.bincount(row, minlength=data.shape[0]).cumsum(0)
            starts = torch.cat([starts.new_zeros(1), starts])
    elif isinstance(data, tuple) and len(data) == 3:  # pyright: ignore[reportUnknownArgumentType]
        starts, columns, values = data
    else:
        raise TypeError(
            f"{who}: data is {told(data)}; give a CSR matrix of SciPy, a tensor, or (starts, columns, values)"
        )
    starts, columns, values = (
        index(who, "row starts", starts),
        index(who, "columns", columns),
        real(who, "values", values, dtype),
    )
    if len(columns) != len(values):
        raise ValueError(f"{who}: there are {len(columns)} columns for {len(values)} values; they must be as many")
    if not len(starts) or starts[0] != 0 or starts[-1] != len(values) or bool((starts.diff() < 0).any()):
        raise ValueError(f"{who}: row starts must go from 0 to the number of values, {len(values)}, and never down")
    return starts.clone(), columns, values, width


def pairs(data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of a dense matrix or one in COO form, row by row."""
    if data.layout is torch.strided:
        row, column = data.nonzero().unbind(1)
        return row, column, data[row, column]
    if data.sparse_dim() != 2:
        raise ValueError(f"SparseLinear: data has {data.sparse_dim()} sparse dimensions; it must have two")
    (row, column), values = data._indices(), data._values()
    row = index("SparseLinear", "rows", row, data.shape[0])
    at = row.argsort(stable=True)
    return row[at], column[at], values[at]


def merged(starts: Tensor, columns: Tensor, values: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the columns of each row in order, and each once."""
    row = torch.arange(len(starts) - 1, device="cpu").repeat_interleave(starts.diff())
    key = row * width + columns
    if bool((key.diff() > 0).all()):
        return starts, columns, values
    key, at = key.sort(stable=True)
    key, place = key.unique_consecutive(return_inverse=True)
    values = torch.zeros(len(key), dtype=values.dtype, device="cpu").index_add_(0, place, values[at])
    count = torch.bincount(key // width, minlength=len(starts) - 1)
    return torch.cat([starts.new_zeros(1), count.cumsum(0)]), key % width, values
