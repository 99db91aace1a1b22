"""What is trained in a simulation: where it begins, the gradient that a worker finds, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ravine.saved import finite, whole

Tensors = Sequence[Tensor]


@runtime_checkable
class Problem(Protocol):
    """What is trained. `gradient` is a function of its arguments: the same ones give the same gradient again."""

    @property
    def initial(self) -> Tensors:
        """Where it begins."""
        ...

    def gradient(self, parameters: Tensors, worker: int, step: int) -> Tensors:
        """What a worker's step finds there: tensors of the same shapes, new ones."""
        ...

    def loss(self, parameters: Tensors) -> float:
        """How good they are, without noise."""
        ...


def mixed(seed: int, worker: int, step: int) -> int:
    """A number of 32 bits for (seed, worker, step), by the finalizer of splitmix64."""
    z = (seed * 0x9E3779B97F4A7C15 + worker * 0xD1B54A32D192ED03 + step * 0x8CB92BA72F3D8DD7 + 1) & (2**64 - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (z ^ (z >> 31)) & (2**32 - 1)


TABLE = 2**20


class Noise:
    """Normal numbers that depend on (seed, worker, step) alone: a window of one table, at a place found from the three.

    The table has mean 0 and variance 1 exactly. Two windows seldom overlap, and where they do, other elements meet.
    """

    def __init__(self, seed: int, d: int, dtype: torch.dtype):
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(TABLE, generator=generator, dtype=torch.float64)
        table = (table - table.mean()) / table.std(correction=0)
        self.seed, self.d, self.table = seed, d, torch.cat([table, table[:d]]).to(dtype).numpy()

    def __call__(self, worker: int, step: int) -> Any:
        """d of them."""
        at = mixed(self.seed, worker, step) % TABLE
        return self.table[at : at + self.d]


class Quadratic:
    """Nesterov's quadratic of lower bounds, with noise: every coordinate hangs on its neighbours.

        f(x) = ½ xᵀA x − bᵀx,   A = ¼ tridiag(−1, 2, −1),   b = ¼ (1, 0, …, 0)
        g = A x − b + σ N(0, I)                                                     σ: noise

    The loss is f − min f; x begins at (√d, 0, …, 0), and ‖A‖ < 1. σ² d is the variance of a gradient. Analyses of
    asynchronous methods measure time to an accuracy on it.

    Nesterov 2018, Lectures on Convex Optimization, section 2.1.2
    """

    def __init__(self, d: int = 1000, noise: float = 0.01, seed: int = 0, dtype: torch.dtype = torch.float32):
        self.d, self.noise = (
            whole("Quadratic: d", d, 1, where=""),
            finite("Quadratic: noise", noise, 0.0, 1e9, where=""),
        )
        self.dtype = dtype
        self.random = Noise(seed, d, dtype) if self.noise else None
        self.least = -d / (d + 1) / 8  # at x = A⁻¹ b, the straight line from d/(d + 1) to 1/(d + 1), f is −b·x/2

    @property
    def initial(self) -> Tensors:
        x = torch.zeros(self.d, dtype=self.dtype)
        x[0] = self.d**0.5
        return [x]

    def gradient(self, parameters: Tensors, worker: int, step: int) -> Tensors:
        x = parameters[0].detach().numpy()  # numpy costs a third of torch here
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
            g = x + x
            g[1:] -= x[:-1]
            g[:-1] -= x[1:]
        g *= 0.25
        g[0] -= 0.25
        if self.random is not None:
            g += self.noise * self.random(worker, step)
        return [torch.from_numpy(g)]

    def loss(self, parameters: Tensors) -> float:
        x = parameters[0].detach().double()
        spring = x[0] ** 2 + x[-1] ** 2 + (x[1:] - x[:-1]).square().sum()
        return float(spring / 8 - x[0] / 4) - self.least


class SparseLogistic:
    """Logistic regression on sparse examples whose features are as rare as words: one example a step.

        f(x) = mean of log(1 + exp(−y aᵀx)) over all examples

    Feature k of `features` appears with a probability that falls as 1/k; each example has `nonzeros` ones, and a label
    that a hidden x gives, flipped for one in ten. A worker's step has its example from (seed, worker, step).
    """

    def __init__(self, examples: int = 2000, features: int = 1000, nonzeros: int = 10, seed: int = 0,
                 dtype: torch.dtype = torch.float32):  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        rarity = 1 / torch.arange(1, features + 1, dtype=torch.float64)
        rows = rarity.expand(examples, -1)
        self.index = torch.multinomial(rows, nonzeros, generator=generator)
        hidden = torch.randn(features, generator=generator, dtype=torch.float64) * 2
        margin = hidden[self.index].sum(1) / nonzeros**0.5
        flips = torch.rand(examples, generator=generator) < 0.1
        self.labels = torch.where(flips, -margin.sign(), margin.sign()).to(dtype)
        self.examples, self.features, self.seed, self.dtype = examples, features, seed, dtype

    @property
    def initial(self) -> Tensors:
        return [torch.zeros(self.features, dtype=self.dtype)]

    def gradient(self, parameters: Tensors, worker: int, step: int) -> Tensors:
        i = mixed(self.seed, worker, step) % self.examples
        at, y = self.index[i], self.labels[i]
        g = torch.zeros_like(parameters[0])
        g[at] = -y * torch.sigmoid(-y * parameters[0][at].sum())
        return [g]

    def loss(self, parameters: Tensors) -> float:
        margins = parameters[0].detach()[self.index].sum(1).double() * self.labels
        return float(torch.nn.functional.softplus(-margins).mean())


class Training:
    """A model of your own: batch(worker, step) is what it is given, and loss(output, batch) is its loss.

    model: where it begins; it is used for all workers in turn, and must keep nothing but its parameters (no running
        averages). batch: returns (input, target), by worker and step. whole: (input, target) for the loss that is
        reported.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Callable[[int, int], tuple[Any, Any]],
        whole: tuple[Any, Any],
        loss: Callable[[Any, Any], Tensor] = nn.functional.cross_entropy,
    ):
        self.model, self.batch, self.whole, self.measure = model, batch, whole, loss
        self.params = list(model.parameters())
        self._initial = [p.detach().clone() for p in self.params]

    @property
    def initial(self) -> Tensors:
        return [x.clone() for x in self._initial]

    def put(self, parameters: Tensors) -> None:
        """Write parameters into the model."""
        with torch.no_grad():
            for p, x in zip(self.params, parameters, strict=True):
                p.copy_(x)

    def gradient(self, parameters: Tensors, worker: int, step: int) -> Tensors:
        self.put(parameters)
        given, target = self.batch(worker, step)
        with torch.enable_grad():
            return torch.autograd.grad(self.measure(self.model(given), target), self.params)

    def loss(self, parameters: Tensors) -> float:
        self.put(parameters)
        with torch.no_grad():
            return float(self.measure(self.model(self.whole[0]), self.whole[1]))


def digits(batch: int = 32, hidden: int = 32, seed: int = 0) -> Training:
    """A small network on scikit-learn's 1,797 digits of 8×8 pixels (extra `lab`); the loss is that of 1,500 of them."""
    from sklearn.datasets import load_digits  # an extra: imported when used

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:1500]
    x, y = x[shuffled], y[shuffled]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10))
    chooser = torch.Generator()

    def drawn(worker: int, step: int) -> tuple[Tensor, Tensor]:
        chooser.manual_seed(mixed(seed, worker, step))
        at = torch.randint(len(x), (batch,), generator=chooser)
        return x[at], y[at]

    return Training(model, drawn, (x, y))
