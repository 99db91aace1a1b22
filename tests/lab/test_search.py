"""Every optimizer gets the same budget, over rates that make sense for it."""

import itertools
import math

import pytest
import torch

from ravine.lab import search
from ravine.lab.errors import LabError
from ravine.optim import registry


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_grid_is_logarithmic(n):
    rates = search.grid(1e-4, 1e-1, n)
    assert (rates[0], rates[-1], len(rates)) == (1e-4, 1e-1, n)
    assert all(math.isclose(b / a, 1e3 ** (1 / (n - 1)), rel_tol=1e-2) for a, b in itertools.pairwise(rates))


def test_one_rate_is_the_middle():
    assert search.grid(1e-3, 1e-1, 1) == (0.01,)


def test_all_of_ours_have_a_row_three_decades_wide():
    assert sorted(search.LR_RANGE) == sorted(name for name, cls in registry().items() if cls.dense)
    assert all(math.isclose(high / low, 1e3) for low, high in search.LR_RANGE.values())


def test_what_takes_sparse_gradients_alone_is_refused():
    with pytest.raises(LabError, match="'sparseadam' takes sparse gradients alone"):
        search.entries(["sparseadam"], 1)


def test_equal_budgets_and_a_stranger(tmp_path, monkeypatch):
    (tmp_path / "mine_search.py").write_text(
        "import torch\nclass Mine(torch.optim.SGD):\n    def __init__(self, params, lr=0.5): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    found = search.entries([*search.DEFAULT, "mine_search:Mine"], 5)
    assert {len(entry.lrs) for entry in found} == {5}
    assert found[-1].lrs[2] == 0.5 and issubclass(found[-1].cls, torch.optim.SGD)


def test_one_name_twice_is_told_apart_and_torch_s_own_gets_the_same_rates():
    found = search.entries(["sgd", "torch.optim:SGD", "ravine:Adam", "torch.optim:LBFGS"], 3)
    assert [entry.label for entry in found] == ["sgd", "torch.optim:SGD", "Adam", "LBFGS"]
    assert found[0].lrs == found[1].lrs == search.grid(*search.LR_RANGE["sgd"], 3)
    assert found[2].lrs == search.grid(*search.LR_RANGE["adam"], 3)
    assert found[3].lrs[1] == 1.0  # the default of LBFGS


def test_classic_is_the_article_s():
    assert [(e.name, e.lrs, dict(e.hyper)) for e in search.classic(None)] == [
        ("sgd", (0.01,), {}),
        ("nadam", (0.001,), {"eps": 1e-7}),
        ("rmsprop", (0.001,), {"alpha": 0.9, "eps": 1e-7}),
    ]
    with pytest.raises(LabError, match="classic preset 'adam': did you mean nadam"):
        search.classic(["adam"])
