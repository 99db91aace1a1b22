"""Nothing is downloaded, and nothing that one test says to a framework reaches the next."""

import os
import sys

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def apart():
    """Accelerate keeps what it is told in the process, and Trainer in the environment too."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].state.AcceleratorState._reset_state(reset_partial_state=True)
