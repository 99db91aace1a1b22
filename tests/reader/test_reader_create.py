"""An optimizer by its name: as people type it, for a model or for parameters, with torch's defaults or the paper's."""

import re

import pytest
import torch
from torch import nn

import ravine
from ravine.catalog.errors import CatalogError
from ravine.catalog.literature import PAPER
from ravine.catalog.methods import defaults
from ravine.catalog.names import ABSENT, ALIASES, ELSEWHERE, find, find_or_own
from ravine.optim import registry
from ravine.typed import plain


@pytest.mark.parametrize("name", registry())
def test_every_method_by_its_name_and_for_a_model(name):
    model = nn.Linear(2, 2)
    opt = ravine.create(name, model)
    if (cls := registry()[name]).matrices:
        biases = cls.__name__ if cls.layers else "AdamW"
        assert [(x.name, x.rule) for x in opt.routes()] == [("weight", cls.__name__), ("bias", biases)]
        opt = ravine.create(name, model.parameters())
    else:
        assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert type(opt) is cls
    again = ravine.create(f" {type(opt).__name__.upper()}-", model.parameters())
    assert type(again) is type(opt) and again.defaults == opt.defaults


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_names_a_method_and_no_method_is_hidden(alias):
    of, hyper = ALIASES[alias]
    cls = registry()[of]
    opt = ravine.create(alias, nn.Linear(2, 1).parameters())
    assert type(opt) is cls and all(opt.defaults[k] == x for k, x in hyper.items())
    assert plain(alias) not in registry()


@pytest.mark.parametrize(
    ("typed", "cls", "hyper"),
    [
        ("amsgrad", "AMSGrad", {}),
        ("AMS-Grad", "AMSGrad", {}),
        ("nesterov", "NAG", {}),
        ("adam-eps", "AdamEps", {"eps": 1e-4}),
        ("Adam_Eps", "AdamEps", {"eps": 1e-4}),
        ("sgd-momentum", "SGD", {"momentum": 0.9}),
        ("rms-prop", "RMSprop", {}),
        ("nadam", "NAdam", {}),
        ("schedule-free-adamw", "ScheduleFreeAdamW", {}),
        ("Schedule_Free AdamW", "ScheduleFreeAdamW", {}),
        ("adam-2k", "Adam2k", {}),
    ],
)
def test_as_users_type_it(typed, cls, hyper):
    opt = ravine.create(typed, nn.Linear(2, 1))
    assert type(opt).__name__ == cls
    assert all(opt.defaults[k] == x for k, x in hyper.items())


LITERATURE = [  # what the issue asks for, written again
    ("momentum", {"momentum": 0.9}),
    ("nesterov", {"momentum": 0.9}),
    ("adagrad", {"lr": 0.01, "eps": 1e-8}),
    ("rmsprop", {"lr": 0.001, "alpha": 0.9}),
    ("adamax", {"lr": 0.002, "betas": (0.9, 0.999)}),
    ("adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    ("adam", {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}),
    ("radam", {"threshold": 4.0, "fallback": "momentum"}),
    ("rprop", {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)}),
]


@pytest.mark.parametrize(("name", "expected"), LITERATURE, ids=[name for name, _ in LITERATURE])
def test_the_papers_defaults(name, expected):
    opt = ravine.create(name, nn.Linear(2, 1), defaults="paper")
    assert {k: opt.defaults[k] for k in expected} == expected
    as_torch = ravine.create(name, nn.Linear(2, 1), defaults="torch")
    assert as_torch.defaults == type(opt)(nn.Linear(2, 1).parameters()).defaults


def test_the_table_knows_every_method_of_torch_and_only_what_methods_take():
    assert {name for name, cls in registry().items() if cls.twin} <= PAPER.keys() <= registry().keys()
    for name, (values, source) in PAPER.items():
        cls = registry()[name]
        assert values.keys() <= defaults(cls).keys() and source
        opt = ravine.create(name, nn.Linear(2, 1).parameters(), defaults="paper")
        assert all(opt.defaults[k] == x and type(opt.defaults[k]) is type(x) for k, x in values.items())
    assert any(dict(values).items() - defaults(registry()[name]).items() for name, (values, _) in PAPER.items())


def test_what_is_given_goes_before_the_name_and_that_before_the_paper():
    model = nn.Linear(2, 1)
    assert ravine.create("sgd-momentum", model, momentum=0.5).defaults["momentum"] == 0.5
    assert ravine.create("rmsprop", model, 0.5, defaults="paper", alpha=0.8).defaults["alpha"] == 0.8
    assert ravine.create("rmsprop", model, 0.5, defaults="paper").defaults["lr"] == 0.5
    assert ravine.create("rmsprop", model, lr=torch.tensor(0.5)).defaults["lr"] == 0.5
    assert ravine.create("centered-rmsprop", model, defaults="paper").defaults["centered"] is True


def test_a_method_for_matrices_is_one_optimizer_with_adamw():
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "conv": nn.Conv1d(4, 4, 3), "norm": nn.LayerNorm(4)})
    model["head"] = nn.Linear(4, 5)
    mods = [ravine.mods.ClipNorm(1.0)]
    opt = ravine.create("muon:momentum=0.9", model, 0.02, rest={"lr": 3e-4}, mods=mods, nonfinite="skip", ns_steps=4)
    assert isinstance(opt, ravine.Routed) and len(opt.param_groups) == 2
    first, second = opt.param_groups
    assert (first["rule"], first["param_names"]) == ("Muon", ["conv.weight"])
    assert (first["lr"], first["momentum"], first["ns_steps"]) == (0.02, 0.9, 4)
    assert (second["rule"], second["lr"]) == ("AdamW", 3e-4) and second["mods"] == first["mods"]
    assert opt.param_groups[1]["nonfinite"] == "skip" and "head: " not in str(opt)
    whys = {x.name: x.why for x in opt.routes()}
    assert whys["embed.weight"] == "embedding" and whys["head.weight"] == "head" and whys["conv.bias"] == "bias"
    paper = ravine.create("muon", model, defaults="paper").param_groups
    assert paper[0]["lr"] == 0.02 and paper[1]["lr"] == 1e-3
    assert len(ravine.create("muon", nn.Linear(2, 2, bias=False)).param_groups) == 1


def test_a_method_for_matrices_says_what_it_cannot_take():
    with pytest.raises(ValueError, match="Linear has no matrix inside it for Muon"):
        ravine.create("muon", nn.Linear(2, 1))
    with pytest.raises(TypeError, match=r"rest is for AdamW .* Adam takes all parameters itself"):
        ravine.create("adam", nn.Linear(2, 1), rest={})
    with pytest.raises(TypeError, match="parameters, not a model, are given"):
        ravine.create("muon", nn.Linear(2, 2).parameters(), rest={"lr": 0.1})


def test_groups_and_pairs_go_through():
    model = nn.Linear(2, 1)
    opt = ravine.create("adamw", ravine.groups.no_decay(model, 0.1), 1e-3)
    assert [group["weight_decay"] for group in opt.param_groups] == [0.1, 0.0]
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    tied[1].weight = tied[0].weight
    assert ravine.create("sgd", tied).param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.bias"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: ravine.create("adm", m), ValueError, "unknown optimizer 'adm': did you mean adam or "),
        (lambda m: ravine.create("nesterof", m), ValueError, "did you mean nesterov"),
        (lambda m: ravine.create("", m), ValueError, "unknown optimizer '': `ravine list` has them all"),
        (lambda m: ravine.create(ravine.Adam, m), TypeError, "create: the first argument is .*; it must be the name"),
        (lambda m: ravine.create("adam", m, defaults="papers"), ValueError, "defaults is 'papers'; it must be 'torch'"),
        (lambda m: ravine.create("adam", m, beta=(0.9, 0.9)), TypeError, "did you mean betas"),
        (lambda m: ravine.create("adam", nn.ReLU()), ValueError, "empty parameter list"),
    ],
)
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make(nn.Linear(2, 1))


def test_the_nearest_are_offered_as_they_are_written():
    with pytest.raises(ValueError, match=r"did you mean .*rectified-adam"):
        find("rectifid adam")


# one resolver


@pytest.mark.parametrize(
    ("typed", "cls", "hyper"),
    [
        ("adam:eps=1e-4", "Adam", {"eps": 1e-4}),
        ("Adam: betas=(0.9, 0.99) :amsgrad=true", "Adam", {"betas": (0.9, 0.99), "amsgrad": True}),
        ("sgd-nesterov:lr=1", "SGD", {"momentum": 0.9, "nesterov": True, "lr": 1.0}),
        ("momentum:form=average", "Momentum", {"form": "average"}),
    ],
)
def test_settings_may_follow_a_name(typed, cls, hyper):
    assert find(typed) == (getattr(ravine, cls), hyper)
    assert find_or_own(typed) == find(typed)
    opt = ravine.create(typed, nn.Linear(2, 1))
    assert type(opt).__name__ == cls and all(opt.defaults[k] == x for k, x in hyper.items())


def test_what_is_given_goes_before_what_is_written():
    assert ravine.create("adam:eps=1e-4:lr=0.5", nn.Linear(2, 1), 0.1, eps=1e-5).defaults["eps"] == 1e-5


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("adam:lr", "'adam:lr': 'lr' is no FIELD=VALUE, such as lr=0.1"),
        ("adam:learning_rate=1", "Adam has no 'learning_rate': here it is lr. It takes lr, betas"),
        ("adam:lr=-1", "Adam: lr is -1; it must lie in [0, inf)"),
        ("adam:lr=fast", "lr is 'fast'; it must be a number"),
        ("sgd:nesterov=True", "nesterov"),  # what does not go together
        ("os:system", "unknown optimizer 'os'"),  # create() imports nothing
    ],
)
def test_settings_that_are_wrong(typed, message):
    with pytest.raises(CatalogError, match=re.escape(message)):
        ravine.create(typed, nn.Linear(2, 1))


def test_a_class_of_ones_own_is_for_commands():
    assert find_or_own("torch.optim:SGD:momentum=0.9") == (torch.optim.SGD, {"momentum": 0.9})
    with pytest.raises(CatalogError, match="SGD has no 'momentom': did you mean momentum"):
        find_or_own("torch.optim:SGD:momentom=0.9")
    with pytest.raises(CatalogError, match="must be a class derived from"):
        find_or_own("torch:zeros")


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_not_here_yet_is_said_so(name):
    assert plain(name) not in registry() and plain(name) not in map(plain, ALIASES)  # else take it out of ABSENT
    with pytest.raises(CatalogError, match=f"{name} is not here yet; `ravine list` has all that are$"):
        find(name.lower())


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_no_optimizer_is_found_elsewhere(name):
    assert name not in map(plain, [*registry(), *ALIASES])
    with pytest.raises(CatalogError, match="is no rule of its own here: "):
        find(name)
    for path in re.findall(r"ravine\.strategies\.(\w+)", ELSEWHERE[name]):
        assert hasattr(ravine.strategies, path)
    for path in re.findall(r"mods=\[(\w+)", ELSEWHERE[name]):
        assert hasattr(ravine.mods, path)


def test_a_typing_error_of_a_known_method_is_not_taken_for_one_that_is_absent():
    for typed, meant in {"loin": "lion", "momoo": "momo", "adamw2": "adamw", "adan2k": "adam2k"}.items():
        with pytest.raises(CatalogError, match=f"did you mean .*{meant}"):
            find(typed)
    for typed, meant in {"rangr": "Ranger", "fromag": "Fromage", "conad": "Conda"}.items():
        with pytest.raises(CatalogError, match=f"if you mean {meant}: it is not here yet. `ravine list` has them all"):
            find(typed)
