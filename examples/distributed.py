"""Train on several processes: the same optimizer, the same numbers as on one. On this machine's CPU:

    torchrun --nproc-per-node 2 examples/distributed.py lamb fsdp
    torchrun --nproc-per-node 2 examples/distributed.py prodigy zero

ddp: every process has all weights. fsdp: each has a shard of every weight (fully_shard). zero: all weights, and the
states of some.
"""

import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

import ravine


def main(name: str = "lamb", how: str = "fsdp", epochs: int = 10) -> float:
    """The accuracy on the last fifth of the digits; every process finds it."""
    torch.set_num_threads(1)  # of each process: more would wait for each other's cores
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, held_out = slice(0, 1437), slice(1437, None)

    torch.manual_seed(0)  # the same weights and batches everywhere
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    if how == "fsdp":
        fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    else:
        model = DistributedDataParallel(model)
    cls, lr = ravine.optim.registry()[name], 1.0 if name == "prodigy" else 1e-2
    if how == "zero":
        opt = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=cls, lr=lr)
    else:
        opt = cls(model.parameters(), lr=lr)

    for _ in range(epochs):
        for batch in torch.randperm(1437).split(32 * world):
            mine = batch.chunk(world)[rank] if len(batch) >= world else batch
            loss = torch.nn.functional.cross_entropy(model(x[train][mine]), y[train][mine])
            loss.backward()
            opt.step()
            opt.zero_grad()

    with torch.no_grad():
        accuracy = (model(x[held_out]).argmax(1) == y[held_out]).float().mean().item()
    if rank == 0:
        print(f"{name} with {how} on {world} processes: {accuracy:.1%}")
    del model, opt
    dist.barrier()
    dist.destroy_process_group()
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
