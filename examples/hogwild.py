"""Train on all cores without locks: python examples/hogwild.py [processes]

First the words of an embedding: processes run the loop that they would run alone, on one model in shared memory. Then
the same problem as `SparseLinear`, where the loop over samples is compiled with the optimizer's rule in it.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import ravine
from ravine.parallel.hogwild import SparseLinear, hogwild

WORDS, EACH, SENTENCES = 5000, 8, 4000


def sentences() -> tuple[Tensor, Tensor]:
    """Sentences of eight words, and whether the sum of what each word is worth is positive."""
    made = torch.Generator().manual_seed(0)
    x = torch.randint(0, WORDS, (SENTENCES, EACH), generator=made)
    worth = torch.randn(WORDS, generator=made)
    return x, worth[x].sum(1).sign()


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean of log(1 + e^(−y z))."""
    return softplus(-y * model(x)[:, 0]).mean()


def work(rank: int, epoch: int, model: nn.Module, optimizer: ravine.Optimizer, processes: int) -> None:
    """One epoch of one process: its share of the batches, and an ordinary loop."""
    x, y = sentences()
    order = torch.randperm(SENTENCES, generator=torch.Generator().manual_seed(epoch))
    for batch in order.view(-1, 16)[rank::processes]:
        optimizer.zero_grad()
        loss_of(model, x[batch], y[batch]).backward()  # a sparse gradient: the words of this batch
        optimizer.step()


def main(processes: int = 2) -> tuple[float, float]:
    """The losses of the two."""
    x, y = sentences()
    model = nn.EmbeddingBag(WORDS, 1, mode="sum", sparse=True)
    nn.init.zeros_(model.weight)
    optimizer = ravine.Adagrad(model.parameters(), lr=0.3)
    hogwild(work, model, optimizer, processes=processes, epochs=5, backoff=0.9, args=(processes,), timeout=300)
    with torch.no_grad():
        first = float(loss_of(model, x, y))
    steps = int(optimizer.state[model.weight]["step"])
    print(f"{processes} processes of Python: loss {first:.3f} after {steps} steps of all together")

    weights = nn.Parameter(torch.zeros(WORDS))
    starts = torch.arange(0, SENTENCES * EACH + 1, EACH)
    samples = (starts, x.flatten(), torch.ones(x.numel()))
    problem = SparseLinear(samples, y, ravine.Adagrad([weights], lr=0.3))
    problem.fit(5, backoff=0.9, threads=processes)
    fast = SENTENCES / min(problem.seconds)
    print(f"the compiled loop: loss {problem.loss():.3f} after {5 * SENTENCES} steps, {fast:,.0f} samples a second")
    return first, problem.loss()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
