"""Train in workers that step alone and exchange weights now and then. On this machine's CPU:

    torchrun --nproc-per-node 2 examples/local_steps.py local_sgd
    torchrun --nproc-per-node 2 examples/local_steps.py diloco
    torchrun --nproc-per-node 2 examples/local_steps.py streaming
    torchrun --nproc-per-node 2 examples/local_steps.py easgd

Without torchrun it is one worker. eamsgd is EASGD with Nesterov's momentum, and every_step has an exchange after each
step, for comparison: with SGD that is what DDP computes.
"""

import os
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

import ravine
from ravine.parallel.sync.diloco import DiLoCo
from ravine.parallel.sync.elastic_averaging import ElasticAveraging
from ravine.parallel.sync.local_sgd import LocalSGD

METHODS = {
    "every_step": lambda params: LocalSGD(ravine.SGD(params, lr=0.1, momentum=0.9), sync_every=1),
    "local_sgd": lambda params: LocalSGD(ravine.SGD(params, lr=0.1, momentum=0.9), sync_every=10, warmup=20),
    "diloco": lambda params: DiLoCo(ravine.AdamW(params, lr=3e-3), sync_every=10),
    "streaming": lambda params: DiLoCo(ravine.AdamW(params, lr=3e-3), sync_every=10, fragments=2, overlap=2, mix=0.5),
    "easgd": lambda params: ElasticAveraging(ravine.SGD(params, lr=0.1), sync_every=10),
    "eamsgd": lambda params: ElasticAveraging(ravine.NAG(params, lr=0.01, momentum=0.9), sync_every=10),
}


def main(name: str = "diloco", epochs: int = 20) -> float:
    """The accuracy on the last fifth of the digits; every process finds it."""
    if name not in METHODS:
        raise SystemExit(f"there is no {name}; the methods are {', '.join(METHODS)}")
    torch.set_num_threads(1)  # of each process: more would wait for each other's cores
    started = not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", 1)) > 1
    if started:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    mine = torch.arange(1437)[rank::world]  # each worker has data of its own

    torch.manual_seed(rank)  # other weights and batches on each: the first worker's weights are taken over by all
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    opt = METHODS[name](model.parameters())

    for _ in range(epochs):
        order = mine[torch.randperm(len(mine))]
        for batch in order[: 1437 // world // 32 * 32].split(32):  # all workers make the same number of steps
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            opt.step()
            opt.zero_grad()

    if isinstance(opt, LocalSGD):
        opt.meet()  # the mean, after the last step too
    else:
        opt.eval()  # the anchors, or the center
    with torch.no_grad():
        accuracy = (model(x[1437:]).argmax(1) == y[1437:]).float().mean().item()
    if rank == 0:
        print(
            f"{name} on {world} process{'es' * (world > 1)}: {accuracy:.1%}, {opt.sent_bytes / 1e6:.1f} MB sent by each"
        )
    if started:
        dist.barrier()
        dist.destroy_process_group()
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "diloco")
