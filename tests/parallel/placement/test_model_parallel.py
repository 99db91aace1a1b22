"""The example that splits a model over two processes finds the losses of one process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).parents[3] / "examples" / "model_parallel.py"
LOAD = f"""
import importlib.util, sys
import torch.distributed as dist
spec = importlib.util.spec_from_file_location("model_parallel", {str(EXAMPLE)!r})
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=int(sys.argv[1]), world_size=2)
for name in ("adamw", "muon"):
    print(*[x.hex() for x in example.main(name, epochs=2)], flush=True)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.ci
def test_two_processes_find_the_losses_of_one(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("model_parallel", EXAMPLE)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    alone = [example.main(name, epochs=2) for name in ("adamw", "muon")]
    assert all(curve[1] < curve[0] for curve in alone)

    env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(i), str(tmp_path / "store")], env=env, text=True, stdout=-1, stderr=-1
        )
        for i in range(2)
    ]
    try:
        done = [rank.communicate(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert all(rank.returncode == 0 for rank in ranks), [err[-2000:] for _, err in done]
    for i, (out, _) in enumerate(done):
        curves = [[float.fromhex(x) for x in line.split()] for line in out.splitlines() if line.startswith("0x")]
        torch.testing.assert_close(curves, alone, rtol=1e-11, atol=1e-11)
        assert f"process {i}:" in out and "1: add" in out and "32,768" in out  # 128 × 32 of float64, each way
