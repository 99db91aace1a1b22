"""Where parameters live: equal shares, torch's own rule, tied names, and what bad input says."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from ravine.parallel.placement.place import place


class LM(nn.Module):
    """A language model with a tied head."""

    def __init__(self, words: int, width: int, layers: int):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, device="meta")
        self.body = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight


@pytest.mark.parametrize("shards", [2, 3, 4, 5, 8])
@pytest.mark.parametrize(("words", "width", "layers"), [(5000, 64, 4), (1000, 128, 12), (50257, 768, 12)])
def test_the_shares_of_a_transformer_are_nearly_equal(words: int, width: int, layers: int, shards: int):
    with torch.device("meta"):
        model = LM(words, width, layers)
    placed = place(model.named_parameters(), shards, split=True)
    assert max(placed.bytes.values()) <= 1.1 * min(placed.bytes.values())
    assert sum(placed.bytes.values()) == sum(p.numel() * p.dtype.itemsize for p in model.parameters())


def test_what_is_split_is_there_once_and_in_order():
    p = torch.randn(10, 3)
    pieces = place([("p", p), ("q", torch.zeros(2))], 3, split=True).pieces
    assert torch.equal(torch.cat([x.of(p) for x in pieces if x.name == "p"]), p)
    assert [x.whole for x in pieces] == [False, False, False, True]


@pytest.fixture
def four() -> Iterator[None]:
    """The first of four processes, the others of which are not there."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own import
def test_greedy_is_the_rule_of_zero_redundancy_optimizer(four: None):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    with torch.device("meta"):
        model = LM(700, 64, 5)
    model = model.to_empty(device="cpu")
    zero = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1)
    names = {p: name for name, p in model.named_parameters()}
    theirs = [{names[p] for group in groups for p in group["params"]} for groups in zero._partition_parameters()]
    ours = place(model.named_parameters(), 4)
    assert [{x.name for x in ours.at(i)} for i in range(4)] == theirs


def test_greedy_counts_bytes_and_zero_redundancy_optimizer_elements():
    half, full = torch.zeros(6, dtype=torch.bfloat16), torch.zeros(4)
    placed = place([("half", half), ("full", full)], ["a", "b"])
    assert placed.at("a")[0].name == "full"  # 16 bytes before 12


def test_a_tied_parameter_is_placed_once_and_has_all_its_names():
    model = LM(5, 4, 1)
    placed = place(model.named_parameters(remove_duplicate=False), 2)
    tied = {x.name: x.tied for x in placed if x.tied}
    assert tied == {"embed.weight": ("head.weight",)}
    assert "embed.weight = head.weight" in str(placed)
    assert sum(placed.bytes.values()) == sum(p.numel() * 4 for p in model.parameters())


def test_round_robin_takes_turns_and_a_dict_says_where():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    assert [x.place for x in place(model.named_parameters(), ["a", "b", "c"], "round_robin")] == ["a", "b", "c", "a"]
    told = place(model.named_parameters(), ["a", "b", "c"], {"": "a", "1": "b", "1.bias": "c"})
    assert [x.place for x in told] == ["a", "a", "b", "c"]


X = torch.zeros(2)


@pytest.mark.parametrize(
    ("named", "places", "how", "error", "words"),
    [
        ([("p", X)], 0, "greedy", ValueError, "one at least"),
        ([("p", X)], [], "greedy", ValueError, "one at least"),
        ([("p", X)], True, "greedy", TypeError, "whole number"),
        ([("p", X)], "cpu", "greedy", TypeError, "a list of devices"),
        ([("p", X)], 1.5, "greedy", TypeError, "a list of devices"),
        ([("p", X)], ["a", "a"], "greedy", ValueError, "'a' twice"),
        ([("p", X)], 2, "best", ValueError, "'greedy', 'round_robin' or a dict"),
        ([("p", X)], 2, {"q": 0}, ValueError, "nothing is called so; there are p"),
        ([("p", X), ("q", X + 1)], 2, {"q": 0}, ValueError, "no place for 'p'"),
        ([("p", X)], 2, {"p": 2}, ValueError, "the places are 0, 1"),
        ([("p", X), ("p", X + 1)], 2, "greedy", ValueError, "two parameters are called 'p'"),
        ([("p", 1.0)], 2, "greedy", TypeError, "pairs"),
        ([X], 2, "greedy", TypeError, "pairs"),
        ([("p", nn.UninitializedParameter())], 2, "greedy", ValueError, "run the model once"),
    ],
)
def test_bad_input_gets_one_clear_error(named: list[Any], places: Any, how: Any, error: type, words: str):
    with pytest.raises(error, match=words):
        place(named, places, how)


def test_equal_tensors_are_not_tied():
    same: list[Tensor] = [torch.zeros(2), torch.zeros(2)]
    assert [x.tied for x in place([("p", same[0]), ("q", same[1])], 2)] == [(), ()]
