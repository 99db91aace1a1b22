"""Parameters that lie in shards on several processes move as torch's own optimizer moves them, released too (FSDP2),
and as in one process, bit for bit, under every placement (placed.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import ci, slow

RANK = """
import os, sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import ravine

rank, world, store, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
mesh = init_device_mesh("cpu", (world,))

def train(cls, release=False):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    fully_shard(model, mesh=mesh)
    opt = cls(model.parameters(), lr=0.05)
    if release:
        ravine.release(model, opt)
    for step in range(4):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        opt.zero_grad()
        model(x).square().mean().backward()
        assert all((p.grad is None) == release for p in model.parameters())
        opt.step()
    assert all(type(x).__name__ == "DTensor" for x in opt.state[next(model.parameters())].values() if x.dim())
    return [p.full_tensor() for p in model.parameters()]

def stored(storage, sharded):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Tanh(), torch.nn.Linear(256, 3))
    if sharded:
        fully_shard(model, mesh=mesh)
    opt = ravine.AdamW(model.parameters(), lr=0.05, storage=storage, seed=4)
    for step in range(4):
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(step))
        opt.zero_grad()
        model(x).square().mean().backward()
        opt.step()
    whole = lambda x: x.full_tensor() if hasattr(x, "full_tensor") else x
    first = opt.state[next(model.parameters())]
    assert (first["exp_avg"].dtype == torch.int8) == (storage == "int8")
    again = ravine.AdamW(model.parameters(), lr=0.05, storage=storage)
    again.load_state_dict(opt.state_dict())
    assert all(torch.equal(whole(x), whole(again.state[next(model.parameters())][k])) for k, x in first.items())
    return [whole(x) for p in model.parameters() for x in (p.detach(), *opt.state[p].values())]

if name in ("int8", "bf16"):
    for a, b in zip(stored(name, False), stored(name, True), strict=True):
        assert torch.equal(a, b), (a.shape, a.dtype)
    print("equal")
    dist.barrier()
    dist.destroy_process_group()
    sys.exit()
cls = ravine.optim.registry()[name]
for a, b in zip(train(cls), train(cls.twin), strict=True):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
for a, b in zip(train(cls), train(cls, release=True), strict=True):
    assert torch.equal(a, b)
print("equal")
dist.barrier()
dist.destroy_process_group()
"""


def ranks(script: Path, world: int, folder: Path, *more: str) -> list[str]:
    """What each process prints."""
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "TRITON_INTERPRET": "1"}
    command = [sys.executable, str(script)]
    made = [
        subprocess.Popen([*command, str(r), str(world), str(folder / "store"), *more], env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for r in range(world)
    ]  # fmt: skip
    out = [process.communicate(timeout=600) for process in made]
    assert all(stdout for stdout, _ in out), out
    return [stdout.strip() for stdout, _ in out]


distributed = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")


@distributed
@pytest.mark.ci
@pytest.mark.parametrize("name", ["int8", "adamw", "bf16"])
def test_shards_move_as_in_torch(name: str, tmp_path: Path):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    assert ranks(script, 2, tmp_path, name) == ["equal"] * 2


@distributed
@pytest.mark.parametrize("world", [*ci(2), *slow(4)])
def test_shards_move_as_the_whole(world: int, tmp_path: Path):
    assert ranks(Path(__file__).with_name("placed.py"), world, tmp_path) == ["equal"] * world
