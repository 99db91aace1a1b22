"""Train a model that is split over two processes; each has an optimizer for the parameters that it holds:

    torchrun --nproc-per-node 2 examples/model_parallel.py muon
    python examples/model_parallel.py muon    # the whole model in one process, with the same losses

Each process prints its part of the model, and what it sends to the other and receives. The pipeline is torch's.
"""

import os
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.pipelining import ScheduleGPipe, SplitPoint, pipeline

import ravine
from ravine.parallel.placement.devices import place_model


class Block(nn.Module):
    """A layer that adds to what it is given."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


def optimizer(name: str, model: nn.Module, part: nn.Module) -> ravine.Optimizer:
    """For a part of the model. Which weights are matrices inside the model is asked of the whole: a part does not know
    that its last layer is not the head."""
    mine = dict(part.named_parameters())
    cls = ravine.optim.registry()[name]
    if not cls.matrices:
        return ravine.create(name, mine.items(), lr=1e-2)
    inside, rest = ([(n, mine[n]) for n, _ in pairs if n in mine] for pairs in ravine.groups.split(model))
    return ravine.Routed({cls: {"params": inside, "lr": 0.02}, ravine.AdamW: {"params": rest, "lr": 1e-2}})


def main(name: str = "muon", epochs: int = 5, micro: int = 4, size: int = 128) -> list[float]:
    """The mean loss of each epoch; every process finds it."""
    torch.set_num_threads(1)  # of each process: more would wait for each other's cores
    torch.manual_seed(0)  # the same weights and batches everywhere
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16), torch.tensor(labels)
    model = nn.Sequential(nn.Linear(64, 32), Block(32), Block(32), Block(32), nn.Linear(32, 10)).double()
    cross_entropy = nn.functional.cross_entropy

    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    schedule, part = None, model
    if world > 1:
        placed = place_model(model, x[:size], world, whole=[Block])
        for i in range(world):  # one after the other
            if i == rank:
                print(f"process {rank}:\n{placed.subgraph(rank)}\n", flush=True)
            dist.barrier()
        at = {module: SplitPoint.BEGINNING for module in placed.cuts}
        stage = pipeline(model, (x[: size // micro],), split_spec=at).build_stage(rank, torch.device("cpu"))
        schedule, part = ScheduleGPipe(stage, micro, loss_fn=cross_entropy), stage.submod
    opt = optimizer(name, model, part)

    curve: list[float] = []
    for _ in range(epochs):
        total, batches = torch.zeros((), dtype=x.dtype), torch.randperm(len(x)).split(size)[:-1]
        for batch in batches:
            opt.zero_grad()
            if schedule is None:
                loss = cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                total += loss.detach()
            else:
                losses: list[Tensor] = []  # of the micro-batches, at the last process
                schedule.step(*[x[batch]] * (rank == 0), target=y[batch] if rank == world - 1 else None, losses=losses)
                total += torch.stack(losses).mean().detach() if losses else 0
            opt.step()
        if world > 1:
            dist.broadcast(total, world - 1)
        curve.append(total.item() / len(batches))
    if rank == 0:
        print(f"{name}, {world} process{'es' * (world > 1)}: loss {curve[0]:.4f} to {curve[-1]:.4f}")
    return curve


if __name__ == "__main__":
    if "RANK" in os.environ:  # torchrun sets it
        dist.init_process_group("gloo")
    main(sys.argv[1] if len(sys.argv) > 1 else "muon")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
