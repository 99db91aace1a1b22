"""Train in replicas that may die and come back, with torchft: pip install torchft. On this machine, in three terminals:

    torchft_lighthouse --bind 127.0.0.1:29510 --min_replicas 1 --join_timeout_ms 1000
    TORCHFT_LIGHTHOUSE=http://127.0.0.1:29510 python examples/fault_tolerant.py 0 diloco
    TORCHFT_LIGHTHOUSE=http://127.0.0.1:29510 python examples/fault_tolerant.py 1 diloco

Kill one of the replicas: the other loses a round at most. Start it again: it takes over the other's weights and states
and goes on with it. torchft finds out who is there before each exchange; DiLoCo does the rest.
"""

import os
import sys
import time
from datetime import timedelta

import torch
from sklearn.datasets import load_digits
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torchft import Manager, ProcessGroupGloo

import ravine
from ravine.parallel.sync.diloco import DiLoCo
from ravine.parallel.sync.local_sgd import LocalSGD


def main(replica: int, name: str = "diloco", rounds: int = 40, sync_every: int = 5, pause: float = 0.05) -> float:
    """The accuracy on the last fifth of the digits."""
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    torch.manual_seed(0)  # the same weights everywhere; a replica that comes later is healed
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # of this replica alone

    def load(state: dict) -> None:
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])

    manager = Manager(
        pg=ProcessGroupGloo(timeout=timedelta(seconds=30)),
        min_replica_size=1,
        use_async_quorum=False,  # who comes late is healed before it takes part
        load_state_dict=load,
        state_dict=lambda: {"model": model.state_dict(), "opt": opt.state_dict()},
        replica_id=f"replica_{replica}",
        store_addr="127.0.0.1",
        store_port=store.port,
        hostname="127.0.0.1",
        rank=0,
        world_size=1,
        timeout=timedelta(seconds=60),
    )
    inner = ravine.AdamW(model.parameters(), lr=3e-3)
    if name == "diloco":
        opt = DiLoCo(inner, sync_every=sync_every, process_group=manager)
    else:
        opt = LocalSGD(inner, sync_every=sync_every, process_group=manager)

    seen = torch.Generator().manual_seed(replica + os.getpid())
    while manager.current_step() < rounds:
        batch = torch.randint(1437, (32,), generator=seen)
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        before = manager.current_step()
        opt.step()
        opt.zero_grad()
        if opt.count % sync_every == 0:
            total = sum(p.double().sum() for p in model.parameters())
            kept = "kept" if manager.current_step() > before else "left out"
            print(f"round {manager.current_step()} of {manager.num_participants()}: {kept}, {total:.12f}", flush=True)
        time.sleep(pause)  # as if it were a larger model

    with torch.no_grad():
        accuracy = (model(x[1437:]).argmax(1) == y[1437:]).float().mean().item()
    print(f"replica {replica}: {accuracy:.1%}", flush=True)
    manager.shutdown(wait=False)
    return accuracy


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3], rounds=int((sys.argv[3:] or [40])[0]))
    os._exit(0)  # gloo's threads may still wait for a replica that has died
