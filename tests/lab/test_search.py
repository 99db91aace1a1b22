"""Every optimizer gets the same budget, over a space that makes sense for it."""

import math

import pytest
import torch
from torch import nn

import ravine
from ravine.cli.answer import Mistake
from ravine.lab.errors import LabError
from ravine.lab.protocol import search, spaces
from ravine.lab.protocol.search import Entry, edges, points
from ravine.optim import registry

ADAM = Entry("adam", ravine.Adam)


def test_all_of_ours_have_a_row_whose_rates_span_three_decades():
    assert sorted(spaces.SPACES) == sorted(registry())
    for space in spaces.SPACES.values():
        first, ends = next(iter(space.items()))
        assert first in ("lr", spaces.FOLLOWED) and math.isclose(ends[1] / ends[0], 1e3)
        assert all(low < high for low, high in space.values())


@pytest.mark.parametrize("name", spaces.SPACES)
def test_every_corner_can_be_built(name):
    cls = registry()[name]
    for end in (0, 1):
        point = {key: ends[end] for key, ends in spaces.SPACES[name].items()}
        cls([nn.Parameter(torch.zeros(2, 2))], **spaces.arguments(cls, point))


# Settings that were tuned for a GPT-2 of 124M parameters, in the records of steps to a loss that modded-nanogpt keeps
# (its third track). Embeddings had a rate of .7 beside Muon, at a scale of their own; Shampoo's decay of .2 was
# decoupled, which here is a setting: shampoo:decouple=True:weight_decay=0.2.
TUNED = {
    "muon": {"lr": 0.025, "weight_decay": 0.05, "rest_lr": (0.004, 0.015)},  # of the head, of vectors
    "shampoo": {"lr": 0.0015, "1-beta1": 0.1, "1-beta2": 0.05},
    "soap": {"lr": 0.018, "1-beta1": 0.05, "1-beta2": 0.1},
    "kron": {"lr": 0.025, "1-momentum": 0.05, "precond_lr": 1.0},
}


@pytest.mark.parametrize("name", [name for name in TUNED if name in registry()])
def test_a_space_has_the_tuned_settings_of_the_records_inside(name):
    space = spaces.space_of(registry()[name])
    for key, values in TUNED[name].items():
        low, high = space[key]
        for x in values if isinstance(values, tuple) else (values,):
            assert low * 1.2 <= x <= high / 1.2, f"{key} {x} lies not inside [{low}, {high}]"


def test_arguments_are_what_the_constructor_takes():
    assert spaces.arguments(ravine.Adam, {"lr": 0.1, "1-beta1": 0.2}) == {"lr": 0.1, "betas": (0.8, 0.999)}
    both = spaces.arguments(ravine.Adam, {"1-beta1": 0.2, "1-beta2": 0.03})
    assert both == {"betas": (0.8, 0.97)}
    assert spaces.arguments(ravine.Adafactor, {"1-beta1": 0.2}) == {"beta1": 0.8}
    assert spaces.arguments(ravine.RMSprop, {"1-alpha": 1e-3}) == {"alpha": 0.999}


def test_what_contains_another_reaches_it():
    for method, contained in spaces.CONTAINS.items():
        if "sgd" in contained and "1-momentum" in spaces.SPACES[method]:
            assert spaces.SPACES[method]["1-momentum"][1] == 1.0


def test_a_point_is_a_function_of_space_seed_and_number():
    space = spaces.space_of(ravine.Adam)
    few, many = points(ADAM, space, 4), points(ADAM, space, 16)
    assert many[:4] == few and len({p.at for p in many}) == 16
    assert points(ADAM, space, 4, 1) != few
    assert points(ADAM, spaces.widened(space, {"lr": "highest"}), 4) != few


def test_methods_meet_where_their_spaces_are_alike():
    """The same lr at the same number, whatever else is searched of them."""
    one, other = (search.entries([name])[0] for name in ("rmsprop", "adamw"))
    assert one.space["lr"] == other.space["lr"] and len(one.space) != len(other.space)
    ours, theirs = (points(entry, entry.space, 8) for entry in (one, other))
    assert [dict(p.at)["lr"] for p in ours] == [dict(p.at)["lr"] for p in theirs]


def test_of_a_sum_of_gradients_the_rate_is_searched_that_it_comes_to():
    """Momentum follows a constant gradient as far as SGD does at lr/(1-momentum), whose range is that of SGD's lr."""
    (sgd,), (momentum,) = (search.entries([name]) for name in ("sgd", "momentum"))
    assert momentum.space[spaces.FOLLOWED] == sgd.space["lr"]
    for point in points(momentum, momentum.space, 8):
        at, hyper = dict(point.at), dict(point.hyper)
        assert hyper["lr"] == at["lr"] == pytest.approx(at[spaces.FOLLOWED] * at["1-momentum"], rel=5e-3)
        assert hyper["momentum"] == pytest.approx(1 - at["1-momentum"])
    assert spaces.rates(ravine.Momentum) == pytest.approx((1e-3, 1.0))  # at a momentum of 0.9
    assert spaces.rates(ravine.Momentum, [("momentum", 0.99)]) == pytest.approx((1e-4, 0.1))
    (said,) = search.entries(["momentum:momentum=0.5"])
    assert all(dict(p.hyper)["lr"] == pytest.approx(dict(p.at)[spaces.FOLLOWED] / 2, rel=5e-3)
               for p in points(said, said.space, 4))  # fmt: skip
    (average,) = search.entries(["momentum:form=average"])
    assert all(dict(p.hyper)["lr"] == dict(p.at)[spaces.FOLLOWED] for p in points(average, average.space, 4))
    (lr,) = search.entries(["momentum:lr=0.3"])
    assert list(lr.space) == ["1-momentum"] and dict(points(lr, lr.space, 1)[0].at)["lr"] == 0.3


def test_points_fill_the_space_evenly():
    """Sixteen points: one in each sixteenth of every range, on a log scale."""
    space = spaces.space_of(ravine.Adam)
    found = [dict(p.at) for p in points(ADAM, space, 16)]
    for name, (low, high) in space.items():
        at = sorted(math.floor(16 * math.log(p[name] / low) / math.log(high / low) + 1e-9) for p in found)
        assert sum(abs(a - b) for a, b in zip(at, range(16), strict=True)) <= 2  # rounding to 3 digits may cross
    assert all(p.hyper[0][0] == "lr" and "betas" in dict(p.hyper) for p in points(ADAM, space, 4))


def test_edges_are_where_nothing_lower_or_higher_was_tried():
    tried = [{"lr": 0.1, "nu": 1.0}, {"lr": 0.2, "nu": 0.5}, {"lr": 0.3, "nu": 0.7}]
    assert edges(tried[0], tried, tried[0]) == {"lr": "lowest", "nu": "highest"}
    assert edges(tried[1], tried, tried[0]) == {"nu": "lowest"} and edges(tried[1], tried, ["lr"]) == {}
    assert edges(tried[0], tried[:2], tried[0]) == {}


def test_a_space_is_widened_where_asked():
    space = {"lr": (0.1, 1.0), "1-beta1": (0.02, 0.5)}
    assert spaces.widened(space, {"lr": "lowest"}) == {"lr": (0.01, 1.0), "1-beta1": (0.02, 0.5)}
    assert spaces.widened(space, {"1-beta1": "highest"})["1-beta1"] == (0.02, 1.0)


def test_a_stranger_is_tried_around_its_own_default(tmp_path, monkeypatch):
    (tmp_path / "mine_search.py").write_text(
        "import torch\nclass Mine(torch.optim.SGD):\n    def __init__(self, params, lr=0.5): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    (found,) = search.entries(["mine_search:Mine"])
    low, high = spaces.space_of(found.cls)["lr"]
    assert math.sqrt(low * high) == pytest.approx(0.5) and high / low == pytest.approx(1e3)
    assert found.defaults == (("lr", 0.5),)


def test_one_name_twice_is_told_apart_and_torch_s_own_gets_the_same_space():
    found = search.entries(["sgd", "torch.optim:SGD", "ravine:Adam"])
    assert [entry.label for entry in found] == ["sgd", "torch.optim:SGD", "Adam"]
    assert spaces.space_of(found[1].cls) == spaces.SPACES["sgd"] and found[1].ours == "sgd"
    with pytest.raises(Mistake, match=r"must be a class derived from .* or a function or partial that makes one"):
        search.entries(["torch:zeros"])


def test_classic_is_the_article_s():
    assert [(e.name, dict(e.hyper)) for e in search.classic(None)] == [
        ("sgd", {"lr": 0.01}),
        ("nadam", {"lr": 0.001, "eps": 1e-7}),
        ("rmsprop", {"lr": 0.001, "alpha": 0.9, "eps": 1e-7}),
    ]
    with pytest.raises(LabError, match="classic preset 'adam': did you mean nadam"):
        search.classic(["adam"])


def test_names_are_those_of_all_commands_and_have_one_form():
    found = search.entries(["Adam", "nesterov", "adam:eps=1e-4", "sgd-nesterov", "adam-eps", "heavy-ball"])
    assert [e.name for e in found] == [
        *("adam", "nag", "adam:eps=0.0001", "sgd:momentum=0.9:nesterov=True", "adameps", "momentum"),
    ]
    assert [e.label for e in found] == ["adam", "NAG", found[2].name, found[3].name, "AdamEps", "Momentum"]
    assert [search.optimizer_class(e.name) for e in found] == [e.cls for e in found]  # as a worker reads it
    with pytest.raises(LabError, match="Adam,ADAM: adam is named twice"):
        search.entries(["Adam", "ADAM"])
    assert [e.name for e in search.classic(["SGD", "RMS-prop"])] == ["sgd", "rmsprop"]


def test_what_settings_say_is_not_searched():
    (free,) = search.entries(["adam"])
    (lr,), (betas,), (eps,) = (search.entries([f"adam:{x}"]) for x in ("lr=0.1", "betas=(0.9,0.99)", "eps=1e-4"))
    assert list(free.space) == ["lr", "1-beta1", "1-beta2"] == list(eps.space)
    assert list(lr.space) == ["1-beta1", "1-beta2"] and list(betas.space) == ["lr"]
    for entry in (lr, betas, eps):
        for point in points(entry, entry.space, 4):
            assert dict(point.hyper).items() >= dict(entry.hyper).items()
            assert (
                entry.cls([nn.Parameter(torch.zeros(1))], **dict(point.hyper)).defaults.items()
                >= {**dict(point.hyper)}.items()
            )
            assert "lr" in dict(point.at)  # which is told of every point, searched or not
    (whole,) = search.entries(["sgd:lr=0.5"])
    assert [(p.at, p.hyper) for p in points(whole, whole.space, 4)] == [((("lr", 0.5),), (("lr", 0.5),))] * 4
    assert dict(lr.defaults) == {"lr": 0.1} and dict(eps.defaults) == {"lr": 1e-3, "eps": 1e-4}
    assert edges({"lr": 0.5}, [{"lr": 0.5}] * 4, ["lr"]) == {}
