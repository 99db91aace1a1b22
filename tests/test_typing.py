"""Type checkers take what the constructors take: arguments by place as torch does, and lists for tuples."""

import json
import subprocess
import sys

import pytest

CODE = """
import ravine
import torch
from ravine.mods import EMA, ClipNorm

p = [torch.nn.Parameter(torch.zeros(2))]
ravine.NAG(p, 0.1)
ravine.Adam(p, 0.1, foreach=True, backend="llvm")
ravine.Adadelta(p, 1.0, 0.9, 1e-6, 0.0)
ravine.Adafactor(p, 1e-2, -0.8, (None, 1e-3), 1.0, 0.0)
ravine.Adagrad(p, 1e-2, 0.0, 0.0, 0.0, 1e-10)
ravine.Adam(p, 1e-3, (0.9, 0.99), 1e-8, 0.0, True)
ravine.AdamW(p, 1e-3, (0.9, 0.99), 1e-8, 1e-2, True)
ravine.Adamax(p, 1e-3, (0.9, 0.99), 1e-8, 0.0)
ravine.ASGD(p, 1e-2, 1e-4, 0.75, 1e6, 0.0)
ravine.NAdam(p, 1e-3, (0.9, 0.99), 1e-8, 0.0, 4e-3, True)
ravine.RAdam(p, 1e-3, (0.9, 0.99), 1e-8, 0.0, True)
ravine.RMSprop(p, 1e-2, 0.99, 1e-8, 0.0, 0.9, True)
ravine.Rprop(p, 1e-2, (0.5, 1.2), (1e-6, 50.0))
ravine.SGD(p, 1e-3, 0.9, 0.0, 0.0, True)
ravine.SparseAdam(p, 1e-3, (0.9, 0.99), 1e-8)
ravine.AdamW(p, betas=[0.9, 0.99], mods=[ClipNorm(1.0), EMA(0.999)])
ravine.AggMo(p, betas=[0.0, 0.9])
ravine.schedules.MultiStep([30, 60])


class Mine(ravine.Optimizer):
    momentum: float = 0.9

    def update(self, s, p, g, t):
        return p - self.lr * g


Mine(p, 0.1, momentum=0.5)
opt = ravine.Routed({ravine.Lion: p, Mine: {"params": p, "momentum": 0.5}}, lr=0.1, mods=[ClipNorm(1.0)])
opt.routes()[0].rule.lower()
ravine.functional(Mine, lr=0.1).update({}, p[0], p[0], 1)
ravine.functional("adam").replace(lr=0.1)
Mine(p, beta=0.5)  # wrong
ravine.Routed(p)  # wrong
ravine.Routed({torch.optim.Adam: p})  # wrong
ravine.functional(3)  # wrong
ravine.Adam(p, 1e-3, (0.9, 0.99), 1e-8, 0.0, True, True)  # wrong
ravine.AdamW(p, 1e-3, (0.9, 0.99), 1e-8, 1e-2, True, True)  # wrong
ravine.SGD(p, 1e-3, "0.9")  # wrong
ravine.AdamW(p, decoupled_weight_decay=True)  # wrong
ravine.AdamW(p, learning_rate=0.1)  # wrong
ravine.AdamW(p, mods=[0.5])  # wrong
"""


@pytest.mark.slow
def test_pyright_reads_the_constructors_as_they_are(tmp_path):
    pytest.importorskip("pyright")
    (tmp_path / "use.py").write_text(CODE)
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        str(tmp_path / "use.py"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    found = {x["range"]["start"]["line"] for x in json.loads(done.stdout)["generalDiagnostics"]}
    assert found == {i for i, line in enumerate(CODE.splitlines()) if line.endswith("# wrong")}, done.stdout
