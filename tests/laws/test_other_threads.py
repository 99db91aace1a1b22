"""Other threads may trace, too."""

import pytest
import torch
from cases import ALL
from torch import nn

from ravine.rule import programs


@pytest.mark.ci
def test_threads_may_trace_at_once():
    from concurrent.futures import ThreadPoolExecutor

    def train(seed: int) -> None:
        for cls in ALL.values():
            p = nn.Parameter(torch.ones(4))
            p.grad = torch.ones(4)
            cls([p], maximize=bool(seed % 2)).step()

    programs._programs.clear()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, range(6)))
