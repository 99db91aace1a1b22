"""A model over devices: what is sent is what torch's own pipeline and closed forms say, and stretches are the best."""

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.pipelining import SplitPoint, pipeline
from torch.utils.flop_counter import FlopCounterMode

from ravine.parallel.placement.devices import ModelPlacement, place_model


class Block(nn.Module):
    """A residual connection around two layers."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class LM(nn.Module):
    """Tokens, positions, a transformer, and a head that is the embedding."""

    def __init__(self, words: int = 50, width: int = 16, layers: int = 4):
        super().__init__()
        self.embed, self.positions = nn.Embedding(words, width), nn.Parameter(torch.zeros(8, width))
        block = nn.TransformerEncoderLayer(width, 2, 4 * width, batch_first=True)
        self.body = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x) + self.positions))


TOKENS = torch.zeros(2, 8, dtype=torch.long)


def short(placed: ModelPlacement) -> list[tuple[str, Any, Any, tuple[int, ...], int, int]]:
    return [(x.tensor, x.source, x.target, x.shape, x.bytes, x.back) for x in placed.pairs]


def test_a_chain_sends_one_activation_over_a_cut():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8)).double()
    placed = place_model(model, torch.ones(4, 8).double(), ["a", "b"], {"0": "a", "1": "a", "2": "b"})
    assert short(placed) == [("1: relu", "a", "b", (4, 6), 4 * 6 * 8, 4 * 6 * 8)]
    assert placed.sent == {("a", "b"): 192, ("b", "a"): 192}
    assert placed.bytes == {"a": 54 * 8, "b": 56 * 8}
    assert placed.at("a") == ["0", "1"] and placed.parameters("b") == ["2.weight", "2.bias"]


def test_a_cut_through_a_residual_connection_sends_both_paths():
    placed = place_model(Block(4), torch.ones(2, 4), ["a", "b"], {"up": "a", "down": "b"})
    # relu and the input: x was fed to `a`, and the sum is where `down` is; no gradient of an input is wanted
    assert short(placed) == [("relu", "a", "b", (2, 12), 96, 96), ("input 0", "a", "b", (2, 4), 32, 0)]


def test_a_tensor_goes_once_to_a_device_that_reads_it_often():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.left, self.right = (nn.Linear(3, 3) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.left(x) + self.right(x)

    one = place_model(Wide(), torch.ones(2, 3), ["a", "b"], {"": "b", "first": "a"})
    assert short(one) == [("first: addmm", "a", "b", (2, 3), 24, 24)]
    two = place_model(Wide(), torch.ones(2, 3), 3, {"first": 0, "left": 1, "right": 2})
    assert [x[:3] for x in short(two)] == [("first: addmm", 0, 1), ("first: addmm", 0, 2), ("left: addmm", 1, 2)]


def test_a_tied_parameter_is_placed_once_and_sent_to_who_else_reads_it():
    placed = place_model(LM(), TOKENS, ["a", "b"], whole=[nn.TransformerEncoderLayer])
    tied = [x for x in placed.pairs if x.tensor == "embed.weight = head.weight"]
    assert [(x.source, x.target, x.shape, x.back) for x in tied] == [("a", "b", (50, 16), 3200)]
    assert placed.parameters("a")[:2] == ["positions", "embed.weight"]
    assert "head.weight" not in placed.parameters("b")
    with pytest.raises(ValueError, match=r"embed\.weight = head\.weight is read on two devices"):
        _ = placed.cuts
    assert sum(placed.bytes.values()) == sum(p.numel() * 4 for p in LM().parameters())


def test_what_is_frozen_sends_no_gradient_back():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].requires_grad_(False)
    assert short(place_model(model, torch.ones(1, 3), 2)) == [("0: addmm", 0, 1, (1, 3), 12, 0)]


def test_a_module_that_runs_twice_is_on_one_device():
    again = nn.Linear(3, 3)
    model = nn.Sequential(again, nn.Linear(3, 3), again)
    placed = place_model(model, torch.ones(1, 3), ["a", "b"], "round_robin")
    assert placed.at("a") == ["0"] and [(x.source, x.target) for x in placed.pairs] == [("a", "b"), ("b", "a")]


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch.export
@pytest.mark.parametrize("cut", ["1", "1.down", "2.up", "3"])
def test_torch_pipelining_sends_the_same_tensors(cut: str):
    model, x = nn.Sequential(nn.Linear(6, 4), Block(4), Block(4), nn.Linear(4, 2)), torch.randn(5, 6)
    names = place_model(model, x, 1).at(0)
    at = {name: int(i >= names.index(cut if cut in names else f"{cut}.up")) for i, name in enumerate(names)}
    placed = place_model(model, x, 2, at)
    if cut in names:
        assert placed.cuts == [cut]
    sent = pipeline(model, (x,), split_spec={cut: SplitPoint.BEGINNING}).split_gm.submod_pp_0(x)
    sent = sent if isinstance(sent, tuple | list) else (sent,)
    assert sorted(x.shape for x in placed.pairs) == sorted(tuple(x.shape) for x in sent)


@pytest.mark.parametrize("whole", [(), (nn.TransformerEncoderLayer,)])
def test_flops_are_those_of_torch(whole: tuple[type[nn.Module], ...]):
    model, counter = LM(), FlopCounterMode(display=False)
    with counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(TOKENS)
    placed = place_model(model, TOKENS, 3, cost="flops", whole=whole)
    assert sum(placed.flops.values()) == counter.get_total_flops()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slack", [0.0, 0.25])
def test_no_stretches_are_better(seed: int, slack: float):
    draw = torch.Generator().manual_seed(seed)
    widths = torch.randint(1, 9, (8,), generator=draw).tolist()
    costs = torch.rand(7, generator=draw, dtype=torch.float64).tolist()
    model = nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(widths)])
    cost = {str(i): x for i, x in enumerate(costs)}
    found: dict[tuple[int, ...], tuple[float, int]] = {}  # cuts: the largest stretch, the widths over the cuts
    for cuts in combinations(range(1, 7), 2):
        found[cuts] = max(sum(costs[a:b]) for a, b in pairwise((0, *cuts, 7))), sum(widths[i] for i in cuts)
    least = min(largest for largest, _ in found.values())
    best = min((over, largest) for largest, over in found.values() if largest <= least * (1 + slack) + 1e-12)
    placed = place_model(model, torch.ones(1, widths[0]), 3, cost=cost, slack=slack)
    largest, over = found[tuple(int(x) for x in placed.cuts)]
    assert (over, largest) == pytest.approx(best, abs=1e-12)
    assert sum(x.bytes for x in placed.pairs) == 4 * over


def test_greedy_takes_the_costliest_first_and_what_costs_nothing_stays_behind():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 4))
    assert place_model(model, torch.ones(1, 2), 2, "greedy").chosen == (1, 1, 1, 1, 0)
    assert place_model(model, torch.ones(1, 2), 2, "round_robin").chosen == (0, 0, 1, 1, 0)
    with pytest.raises(ValueError, match="how='sequential'"):
        _ = place_model(model, torch.ones(1, 2), 2, "round_robin").cuts


def test_nothing_of_the_model_or_the_random_state_changes():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {k: x.clone() for k, x in model.state_dict().items()}
    state = torch.get_rng_state()
    place_model(model, torch.ones(6, 4), 2)
    with pytest.raises(ValueError, match="does not run"):
        place_model(model, torch.ones(6, 5), 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, before[k]) for k, x in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(type(p) is nn.Parameter for p in model.parameters())


def test_a_model_without_memory_is_placed_and_arguments_go_by_name():
    with torch.device("meta"):
        model, tokens = LM(50257, 64, 2), torch.zeros(2, 8, dtype=torch.long)
    meta = place_model(model, {"x": tokens}, 2)
    real = place_model(LM(50257, 64, 2), (tokens.new_zeros((2, 8), device="cpu"),), 2)
    assert str(meta) == str(real)


def test_a_parameter_that_nothing_reads_is_beside_its_neighbours():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].spare = nn.Parameter(torch.zeros(3))
    assert place_model(model, torch.ones(1, 2), 2).parameters(1) == ["1.weight", "1.bias", "1.spare"]


def test_the_table_has_every_module_and_every_pair():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    placed = place_model(model, torch.ones(2, 3), ["cpu", "meta"])
    assert str(placed).split("\n\n")[1].splitlines()[1].split() == [
        *("cpu", "→", "meta", "0:", "addmm", "2×4", "float32", "32", "32")
    ]
    assert [line.split()[1] for line in placed.subgraph("meta").split("\n\n")[0].splitlines()] == ["module", "1", "in"]
    assert "nothing is sent" in str(place_model(model, torch.ones(2, 3), 1))


class Asks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


PAIR = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
GIVEN = {"model": PAIR, "example": torch.ones(1, 3), "places": 2}
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": 3}, TypeError, "must be an nn.Module"),
    ({"example": torch.ones(1, 4)}, ValueError, "does not run on this example"),
    ({"model": nn.Sequential(nn.Linear(3, 3), Asks())}, ValueError, "asks for the numbers"),
    ({"model": nn.LazyLinear(3)}, ValueError, "run the model once"),
    ({"places": 3}, ValueError, "3 devices, and 2 modules"),
    ({"places": "cpu"}, TypeError, "a list of devices"),
    ({"how": "best"}, ValueError, "'sequential', 'greedy'"),
    ({"how": {"0": 0}}, ValueError, "no place for '1'"),
    ({"how": {"": 0, "7": 1}}, ValueError, "nothing is called so; there are 0, 1"),
    ({"how": {"": 5}}, ValueError, "the places are 0, 1"),
    ({"cost": "time"}, ValueError, "'bytes', 'flops' or a dict"),
    ({"cost": {"9": 1.0}}, ValueError, "no module that runs"),
    ({"cost": {"0": float("nan")}}, ValueError, "cost of '0' is nan"),
    ({"slack": -1.0}, ValueError, "slack is -1.0"),
    ({"whole": [3]}, TypeError, "classes of modules"),
    ({"whole": nn.Linear}, TypeError, "classes of modules"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD)
def test_bad_input_gets_one_clear_error(change: dict[str, Any], error: type[Exception], words: str):
    made: Callable[..., ModelPlacement] = place_model
    with pytest.raises(error, match=words):
        made(**(GIVEN | change))
    with pytest.raises(ValueError, match="the places are 0, 1"):
        place_model(PAIR, torch.ones(1, 3), 2).subgraph("cpu")
