"""Inputs on several processes: what a source has measured is averaged, arrays of distributed parameters are cut."""

import os
import subprocess
import sys

import pytest
import torch

RANK = """
import sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
import ravine

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))

class Scaled(ravine.Optimizer):
    inputs = {"h": "r c", "row": "r", "col": "c"}
    def update(self, s, p, g, t, loss, h, row, col):
        return p - self.lr * loss * row * g * h * col

put = lambda x: distribute_tensor(x, mesh, [Shard(0)], src_data_rank=None)
draw = lambda *shape: torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) + 0.5
p, q = torch.nn.Parameter(put(draw(5, 3))), torch.nn.Parameter(draw(5, 3))
p.grad, q.grad = put(draw(5, 3)), draw(5, 3)
loss = 1.0 + rank
for x, h in ((p, put(draw(5, 3))), (q, draw(5, 3))):
    opt = Scaled([x], lr=0.1, process_group=dist.group.WORLD)
    opt.step(loss=loss, h={x: h}, row={x: draw(5, 1)}, col={x: draw(1, 3)})
    opt.step(loss=loss, h={x: draw(5, 3) * 2}, row={x: draw(5, 1) * 2})
assert torch.equal(p.full_tensor(), q), (p.full_tensor(), q)

from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from ravine.sources import GaussNewtonBartlett, Hutchinson, KroneckerFactors

x, y = draw(8, 3), torch.arange(8) % 2
for cls, make in ((ravine.AdaHessian, Hutchinson), (ravine.SophiaG, GaussNewtonBartlett)):
    ends = []
    for part in (slice(0, 8), slice(4 * rank, 4 * rank + 4)):  # all in one process, and a half in each
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        several = part.stop - part.start == 4
        net = DistributedDataParallel(model) if several else model
        source = make(every=2, group=dist.group.WORLD if several else False)
        opt = cls(model.parameters(), lr=0.1, sources=[source])
        for step in range(3):
            opt.zero_grad()
            logits = net(x[part])
            loss = cross_entropy(logits, y[part])
            if cls is ravine.SophiaG:
                source.drawn = lambda logits, part=part: (1 - y)[part]  # the same in both, to compare
                source.backward(logits)
                loss.backward()
            else:
                source.backward(loss)
            opt.step()
        ends.append([*(p.detach() for p in model.parameters()), *(opt.state[p]["h"] for p in model.parameters())])
    torch.testing.assert_close(*ends)
for ekfac in (False, True):
    ends = []
    for part in (slice(0, 8), slice(4 * rank, 4 * rank + 4)):
        torch.manual_seed(0)
        first, last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
        model = torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.LayerNorm(4), last).double()
        several = part.stop - part.start == 4
        net = DistributedDataParallel(model) if several else model
        source = KroneckerFactors(model, fisher="exact", group=dist.group.WORLD if several else False)
        opt = ravine.create("kfac", model, lr=0.1, ekfac=ekfac, interval=2, norm_constraint=0.1, sources=[source])
        for step in range(5):
            opt.zero_grad()
            logits = net(x[part].double())
            source.backward(logits)
            cross_entropy(logits, y[part]).backward()
            opt.step()
        layer = opt.state[model[0].weight]
        ends.append([*(p.detach() for p in model.parameters()), layer["input_factor"], layer["output_factor"]])
    torch.testing.assert_close(*ends)
from ravine.sources.targets import chance
mine = chance(0, 0, 0, dist.group.WORLD, torch.device("cpu")).initial_seed()
seeds = [None, None]
dist.all_gather_object(seeds, mine)
assert seeds[0] != seeds[1]  # each draws targets of its own rows
model = torch.nn.Linear(3, 2)
alone = GaussNewtonBartlett()
opt = ravine.SophiaG(model.parameters(), sources=[alone])
alone.backward(model(x))
model(x).sum().backward()
try:
    opt.step()
except RuntimeError as error:
    assert "GaussNewtonBartlett: 2 processes run" in str(error) and "group=" in str(error), error
else:
    raise AssertionError("nobody asked")
print("equal")
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.ci
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
def test_inputs_on_two_processes_are_those_of_one(tmp_path):
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", RANK]
    ran = [
        subprocess.Popen([*command, str(r), str(tmp_path / "store")], env=env, stdout=-1, stderr=-1, text=True)
        for r in range(2)
    ]
    out = [process.communicate(timeout=120) for process in ran]
    assert [said.strip() for said, _ in out] == ["equal", "equal"], out
