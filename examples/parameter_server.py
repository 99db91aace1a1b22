"""Train the digits with workers that do not wait for each other, through a parameter server:

    python examples/parameter_server.py downpour
    python examples/parameter_server.py easgd
    python examples/parameter_server.py diloco ray      (with the extra `ray`, on a cluster)

downpour: workers send gradients, AdaGrad on the server makes the steps. easgd: each worker trains a copy, tied by a
spring to a center. diloco: each makes 20 local steps and sends how far it came.
"""

import sys
from functools import partial
from typing import Any, Literal

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import ravine
from ravine.parallel import (
    AsyncDiLoCo,
    AsyncElasticAveraging,
    DelayedNesterov,
    Downpour,
    ElasticCenter,
    Finite,
    ParameterServer,
)

WORKERS = 2
METHODS: dict[str, tuple[Any, dict[str, Any], Any, float]] = {  # the worker, its settings, the server's rule, lr
    "downpour": (Downpour, {"n_push": 1, "n_fetch": 1}, "adagrad:lr=0.05", 0.1),
    "easgd": (AsyncElasticAveraging, {"sync_every": 10}, partial(ElasticCenter, alpha=0.9 / WORKERS), 0.1),
    "diloco": (AsyncDiLoCo, {"sync_every": 20}, partial(DelayedNesterov, every=WORKERS), 0.1),
}


def build() -> torch.nn.Module:
    """The model, as the server begins with it; workers read the server's parameters into theirs."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels; the last fifth is held out."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def train(worker: Any, method: str, steps: int) -> float:
    """What each worker does, in a process of its own, with its share of the data; returns its last loss."""
    (x, y), model = digits(), build()
    mine = torch.arange(worker.rank, 1437, worker.workers)
    cls, settings, _, lr = METHODS[method]
    opt = cls(worker.server, ravine.SGD(model.parameters(), lr=lr), **settings)
    generator, loss = torch.Generator().manual_seed(worker.number), torch.zeros(())
    for _ in range(steps):
        batch = mine[torch.randint(len(mine), (32,), generator=generator)]
        loss = cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        opt.step()
        opt.zero_grad()
    opt.close()
    return loss.item()


def main(method: str = "downpour", engine: Literal["local", "ray"] = "local", steps: int = 400) -> float:
    """The accuracy on the last fifth of the digits."""
    model, (x, y) = build(), digits()
    with ParameterServer(model, METHODS[method][2], shards=2, admit=[Finite()], engine=engine) as server:
        print(server.placement)
        for outcome in server.run(train, workers=WORKERS, args=(method, steps)):
            print(f"worker {outcome.rank}: " + (outcome.error or f"loss {outcome.value:.3f}"))
        server.copy_to(model)
        metrics = server.metrics()
    print(f"{metrics['accepted']} pushes, of staleness {metrics['staleness'][0]}")
    with torch.no_grad():
        accuracy = (model(x[1437:]).argmax(1) == y[1437:]).float().mean().item()
    print(f"{method}: {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1], "ray" if "ray" in sys.argv else "local")
