"""The example trains; it is a short script."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "hogwild.py"


@pytest.mark.ci
def test_the_example_trains_in_two_processes():
    done = subprocess.run([sys.executable, EXAMPLE, "2"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("2 processes of Python: loss 0.1") and second.startswith("the compiled loop: loss 0.1")
    assert len(EXAMPLE.read_text().splitlines()) <= 100
