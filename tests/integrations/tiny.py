"""A network and data that are trained in a second, the optimizers and schedules to train with, and the docs' lines."""

import re
from pathlib import Path

import pytest
import torch

import ravine
from ravine.mods import EMA, ClipNorm
from ravine.schedules import Cosine, Linear, Warmup

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
STEPS = 12  # of an epoch, without accumulation

OPTIMIZERS = {
    "AdamW": lambda params: ravine.AdamW(params, lr=0.02),
    "the whole step": lambda params: ravine.AdamW(params, lr=0.02, mods=[ClipNorm(0.1), EMA(0.9)], storage="bf16"),
    "Lookahead": lambda params: ravine.strategies.Lookahead(ravine.AdamW(params, lr=0.02), k=5),
    "Schedule-Free": lambda params: ravine.ScheduleFreeAdamW(params, lr=0.02),
}
SCHEDULES = {
    "torch's": lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, 2 * STEPS),
    "ravine's": lambda opt: ravine.Scheduler(
        opt, lr=Warmup(5) * Cosine(2 * STEPS), weight_decay=Linear(2 * STEPS).between(0.0, 0.1)
    ),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def torchs(params):
    """What OPTIMIZERS["AdamW"] is held to."""
    return torch.optim.AdamW(params, lr=0.02)


def network():
    """Always the same one."""
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def data(batches=STEPS):
    """Eight rows a batch."""
    x = torch.randn(8 * batches, 4, generator=torch.Generator().manual_seed(2))
    return torch.utils.data.TensorDataset(x, x.sin().sum(1, keepdim=True))


def same(one, two):
    """Raise unless two state_dicts, of models or optimizers, are equal bit for bit."""
    assert type(one) is type(two)
    if isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype and torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for k in one:
            same(one[k], two[k])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            same(a, b)
    else:
        assert one == two


def near(one, two, half=False):
    """Raise unless two lists of losses are equal but for rounding, of bfloat16 if half, and fall."""
    assert one == pytest.approx(two, rel=5e-3 if half else 2e-5) and len(one) > 2
    assert one[-1] < one[0]


def lines(heading, monkeypatch, folder):
    """Run the code below a heading of the page, in a folder; returns its names."""
    monkeypatch.chdir(folder)
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), scope)
    return scope
