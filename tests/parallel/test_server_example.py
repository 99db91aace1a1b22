"""The example trains the digits, with each method, as docs/parameter_server.md says."""

import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.ci
@pytest.mark.parametrize("method", ["downpour", "easgd", "diloco"])
def test_workers_learn_the_digits(method, monkeypatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)  # where workers find it, too
    assert importlib.import_module("parameter_server").main(method) > 0.8
    assert "worker 1: loss" in capsys.readouterr().out
