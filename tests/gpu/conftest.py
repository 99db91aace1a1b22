"""The laws of Triton's kernels: on a GPU, and with TRITON_INTERPRET=1 in Triton's interpreter on the CPU.

tests/triton runs this folder in the interpreter; scripts/gpu runs it on a GPU.
"""

import os

import numpy
import pytest
import torch


@pytest.fixture
def device():
    """Where Triton's kernels can run here."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        with numpy.errstate(all="ignore"):  # the interpreter is made of numpy, which warns of NaN
            yield "cpu"
    elif torch.cuda.is_available():
        yield "cuda"
    else:
        pytest.skip("no CUDA device here; tests/triton runs these laws in Triton's interpreter")


@pytest.fixture
def gpu(device):
    """For what the interpreter has not: streams, devices."""
    if device == "cpu":
        pytest.skip("the interpreter has no streams")
    return device
