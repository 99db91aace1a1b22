"""Other threads may trace rules, and exchange gradients within a step."""

import threading

import pytest
import torch
from cases import ALL, give
from ordinary import of
from torch import nn

import ravine
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


def test_another_thread_may_exchange_gradients_within_a_step():
    opt = ravine.Adam([nn.Parameter(torch.zeros(200_000)) for _ in range(4)])
    give(of(opt), 0)
    stop = threading.Event()

    def exchange():
        while not stop.is_set():
            for p in of(opt):
                p.grad = torch.ones(200_000)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(60):
            opt.step()
    finally:
        stop.set()
        thread.join()
    for p in of(opt):  # a step of Adam is at most (1 − β₁) / √(1 − β₂) lr long, 3.2
        assert p.isfinite().all() and 0 < p.detach().abs().max() < 60 * 3.2e-3
