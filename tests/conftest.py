"""One thread and a cache of their own for all tests; both may be changed by a test and come back after it. And what was
compiled meanwhile."""

import os
import shutil
import tempfile

# before torch and ravine are imported; subprocesses and the workers of xdist inherit it, the user's own is not touched
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["RAVINE_CACHE"] = tempfile.mkdtemp(prefix="ravine-tests-")

import pytest
import torch


def pytest_configure():
    torch.set_num_threads(1)


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["RAVINE_CACHE"], ignore_errors=True)


LONG = {"smoke", "play", "endless"}  # fixtures: a whole comparison, servers


def pytest_collection_modifyitems(items):
    """Browsers and what is LONG are for CI. What takes longest begins first, so that no worker is alone with it in the
    end."""
    for item in items:
        if item.get_closest_marker("browser") or not LONG.isdisjoint(item.fixturenames):
            item.add_marker("ci")
    items.sort(key=lambda item: "test_laws_hold_in_the_interpreter" not in item.nodeid)


@pytest.fixture(autouse=True)
def alone():
    """Each test begins with the same random numbers; what it did with the number of threads ends with it."""
    torch.manual_seed(0)
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def compilations(monkeypatch):
    """Names of the rules compiled so far."""
    from ravine.rule import programs

    made, compile_rule = [], programs.compile_rule

    def counting(rule, *given):
        made.append(rule.__name__)
        return compile_rule(rule, *given)

    monkeypatch.setattr(programs, "compile_rule", counting)
    monkeypatch.setattr(programs, "_programs", {})
    return made
