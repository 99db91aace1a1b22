"""The laws of tests/gpu in Triton's interpreter: processes of their own, since Triton reads that choice once."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import ravine
from ravine.compile.launch.triton import interpreting

LAWS = sorted((Path(__file__).parents[1] / "gpu").glob("test_*.py"))
CASES = [
    pytest.param(file, marks, id=f"{file.stem}-{marks}", marks=mark)
    for file in LAWS
    for marks, mark in (("not slow", pytest.mark.ci), ("slow", pytest.mark.slow))
]
there = pytest.mark.skipif(find_spec("triton.language") is None, reason="triton is made for Linux only")


@there
@pytest.mark.parametrize(("file", "marks"), CASES)
def test_laws_hold_in_the_interpreter(file, marks):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TRITON"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", marks, str(file)],
        env=clean | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    none = marks == "slow" and done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert none or (done.returncode == 0 and " passed" in done.stdout), done.stdout + done.stderr


@pytest.fixture
def step():
    """A step by Triton of a parameter on the CPU."""
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    interpreting.cache_clear()
    yield ravine.SGD([p], backend="triton").step
    interpreting.cache_clear()
    assert p.tolist() == [1, 1]


@there
def test_cpu_tensors_are_refused_without_the_interpreter(step):
    with pytest.raises(RuntimeError, match=r'backend="triton" cannot run on cpu tensors here.*TRITON_INTERPRET=1'):
        step()


def test_without_triton_the_extra_is_named(step, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match=r'pip install "ravine\[gpu\]"'):
        step()
