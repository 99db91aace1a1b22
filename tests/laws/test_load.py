"""A state_dict that is refused changes nothing: not the states, not the parameters, not the next step."""

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from cases import equal, every_program, parameters, same_states, walk

import ravine
from ravine.mods import EMA, ClipNorm

SHAPES = [(), (3,), (2, 3)]


def freed():
    """A tensor whose memory has been given back."""
    x = torch.ones(2, 3)
    x.untyped_storage().resize_(0)
    return x


GARBAGE = {
    "text": "text",
    "two lines": "one\ntwo",
    "none": None,
    "tuple": (),
    "list": [1.0],
    "dict": {},
    "set": {1, 2},
    "object": object(),
    "huge": 10**400,
    "endless": 10**5000,
    "nan": float("nan"),
    "inf": float("inf"),
    "negative": -5,
    "fraction": 2.5,
    "true": True,
    "bytes": b"x",
    "empty": torch.empty(0),
    "nan tensor": torch.tensor(float("nan")),
    "negative tensor": torch.tensor(-5.0),
    "fraction tensor": torch.tensor(2.5),
    "huge tensor": torch.tensor(1e30, dtype=torch.float64),
    "complex": torch.tensor(1 + 2j),
    "bool tensor": torch.tensor(True),
    "other shape": torch.ones(7),
    "integers": torch.ones(2, 3, dtype=torch.int64),
    "codes": torch.ones(2, 3, dtype=torch.int8),
    "complex matrix": torch.ones(2, 3, dtype=torch.complex64),
    "sparse": torch.eye(3)[:2].to_sparse(),
    "meta": torch.empty(2, 3, device="meta"),
    "freed": freed(),
}


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def trained(cls, **hyper):
    """An optimizer after some steps."""
    opt = cls(parameters(SHAPES), **hyper)
    walk(opt, 2)
    return opt


def kept(opt):
    """All that a load may not change, as copies that are made without `state_dict()`."""
    state = {i: {k: x.clone() for k, x in opt.state[p].items()} for i, p in enumerate(of(opt)) if p in opt.state}
    groups = [{k: x for k, x in group.items() if k != "params"} for group in opt.param_groups]
    return (
        [p.detach().clone() for p in of(opt)],
        state,
        copy.deepcopy(groups),
        [id(group) for group in opt.param_groups],
    )


def unchanged(opt, before):
    """Assert that it is as it was."""
    params, state, groups, ids = kept(opt)
    for p, old in zip(params, before[0], strict=True):
        equal(p, old)
    assert state.keys() == before[1].keys()
    for i, old in before[1].items():
        assert state[i].keys() == old.keys()
        for k, x in old.items():
            equal(state[i][k], x)
    assert groups == before[2] and ids == before[3]


def refused(opt, given, why=""):
    """Assert that loading raises ValueError with one clear line, and that nothing has changed."""
    before = kept(opt)
    with pytest.raises(ValueError) as raised:
        opt.load_state_dict(given)
    said = str(raised.value)
    assert "\n" not in said and len(said) < 500 and why in said and type(opt).__name__ in said, said
    unchanged(opt, before)


STEPS = ["text", (), 10**400, torch.empty(0), float("nan"), torch.tensor(float("nan")), -5, torch.tensor(-5.0), 2.5]
STEPS += [torch.tensor(2.5), torch.ones(2), True, [1.0], {}, float("inf"), 2**60, torch.tensor(1 + 1j)]


@every_program
def test_a_count_that_is_none_is_refused_and_the_next_step_is_as_it_would_have_been(cls):
    a = trained(cls)
    twin = copy.deepcopy(a)
    given = twin.state_dict()
    for step in STEPS:
        refused(a, given | {"state": given["state"] | {1: given["state"][1] | {"step": step}}}, "step")
    walk(a, 2, first=2)
    walk(twin, 2, first=2)
    same_states(a, twin)


@every_program
def test_garbage_in_the_place_of_a_state_is_refused(cls):
    a = trained(cls)
    twin = copy.deepcopy(a)
    given = twin.state_dict()
    for k in [k for k in a.state[of(a)[2]] if k != "step"]:
        for x in GARBAGE.values():
            if x is None or (isinstance(x, torch.Tensor | float | int) and a.state[of(a)[2]][k].dim() == 0):
                continue  # a number for a number
            refused(a, given | {"state": given["state"] | {2: given["state"][2] | {k: x}}}, k)
    walk(a, 1, first=2)
    walk(twin, 1, first=2)
    same_states(a, twin)


def test_blocks_that_are_a_tensor_whose_memory_is_gone_are_refused():
    """And not printed: that reads memory which is no longer there."""
    a = trained(ravine.Muon)
    given = copy.deepcopy(a.state_dict())
    for x in (GARBAGE["freed"], GARBAGE["meta"], GARBAGE["dict"]):
        given["param_groups"][0]["blocks"] = x
        refused(a, given, "blocks=")


@pytest.mark.parametrize("what", ["other shape", "integers", "text", "fraction", "freed", "meta", "complex matrix"])
def test_weights_put_aside_that_do_not_fit_are_refused(what):
    a = trained(ravine.Adam, mods=[EMA(0.9)])
    a.eval()
    given = copy.deepcopy(a.state_dict())
    given["state"][2]["train_weights"] = GARBAGE[what]
    refused(a, given, "train_weights")
    a.train()
    twin = trained(ravine.Adam, mods=[EMA(0.9)])
    for opt in (a, twin):
        walk(opt, 1, first=2)
    same_states(a, twin)


def without(key):
    return lambda x: {k: v for k, v in x.items() if k != key}


def grouped(d, change):
    return d | {"param_groups": [d["param_groups"][0] | change]}


FORMS = {
    "no dict": lambda d: [d],
    "none": lambda d: None,
    "a text": lambda d: "state",
    "empty": lambda d: {},
    "no state": without("state"),
    "no groups": without("param_groups"),
    "state is a list": lambda d: d | {"state": [1]},
    "groups is a dict": lambda d: d | {"param_groups": {}},
    "groups is none": lambda d: d | {"param_groups": None},
    "a group is a list": lambda d: d | {"param_groups": [[1]]},
    "a group has no params": lambda d: d | {"param_groups": [without("params")(d["param_groups"][0])]},
    "params is a number": lambda d: grouped(d, {"params": 3}),
    "params is a text": lambda d: grouped(d, {"params": "abc"}),
    "params are lists": lambda d: grouped(d, {"params": [[0], [1], [2]]}),
    "params are floats": lambda d: grouped(d, {"params": [0.5, 1.5, 2.5]}),
    "a parameter twice": lambda d: grouped(d, {"params": [0, 1, 1]}),
    "names of another number": lambda d: grouped(d, {"param_names": ["a"]}),
    "names that are numbers": lambda d: grouped(d, {"param_names": [0, 1, 2]}),
    "a name twice": lambda d: grouped(d, {"param_names": ["a", "a", "b"]}),
    "no lr": lambda d: d | {"param_groups": [without("lr")(d["param_groups"][0])]},
    "a huge lr": lambda d: grouped(d, {"lr": 10**400}),
    "two lrs": lambda d: grouped(d, {"lr": torch.ones(2)}),
    "mods is a number": lambda d: grouped(d, {"mods": 3}),
    "a mod is a number": lambda d: grouped(d, {"mods": [3, 4]}),
    "a mod without fields": lambda d: grouped(d, {"mods": [{"mod": "ClipNorm"}] * 2}),
    "a mod with others": lambda d: (
        d
        | {"param_groups": [d["param_groups"][0] | {"mods": [{"mod": "ClipNorm", "x": 1}, {"mod": "EMA", "decay": 1}]}]}
    ),
    "sums of no numbers": lambda d: grouped(d, {"sums": [1.0]}),
    "what has no copy": lambda d: grouped(d, {"note": (x for x in ())}),
    "a state is a number": lambda d: d | {"state": d["state"] | {1: 3}},
    "a state has numbers for names": lambda d: d | {"state": d["state"] | {1: {0: torch.ones(3)}}},
    "keys are texts": lambda d: d | {"state": {str(i): x for i, x in d["state"].items()}},
    "a state of nobody": lambda d: d | {"state": d["state"] | {7: d["state"][0]}},
    "a key is a tuple": lambda d: d | {"state": d["state"] | {(1, 2): d["state"][0]}},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_has_not_the_form_of_a_state_dict_is_refused(form):
    a = trained(ravine.Adam, mods=[ClipNorm(1.0), EMA(0.9)])
    twin = copy.deepcopy(a)
    refused(a, FORMS[form](copy.deepcopy(a.state_dict())))
    walk(a, 1, first=2)
    walk(twin, 1, first=2)
    same_states(a, twin)


# anything at all


def places(x, path=()):
    """Every place in a tree of dicts and lists."""
    yield path
    inner = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list | tuple) else ()
    for k, y in inner:
        yield from places(y, (*path, k))


def changed(x, path, how):
    """A copy of the tree with what is at a place made into something else."""
    if not path:
        return how(x)
    k, *rest = path
    if isinstance(x, dict):
        return {**x, k: changed(x[k], rest, how)}
    return type(x)([*x[:k], changed(x[k], rest, how), *x[k + 1 :]])


def mutation(draw, given):
    """A garbled copy of a state_dict."""
    path = draw.choice(list(places(given)))
    kind = draw.choice(["replace", "replace", "drop", "add", "swap", "rename", "bend"])

    def how(x):
        if kind == "drop" and isinstance(x, dict) and x:
            gone = draw.choice(list(x))
            return {k: v for k, v in x.items() if k is not gone}
        if kind == "drop" and isinstance(x, list | tuple):
            return type(x)(x[1:])
        if kind == "add" and isinstance(x, dict):
            return {**x, draw.choice([7, "x", "step", "lr", (1, 2), None]): draw.choice(list(GARBAGE.values()))}
        if kind == "add" and isinstance(x, list | tuple):
            return type(x)([*x, *x[:1]])
        if kind == "swap" and isinstance(x, dict) and len(x) > 1:
            a, b = draw.sample(list(x), 2)
            return {**x, a: x[b], b: x[a]}
        if kind == "rename" and isinstance(x, dict) and x:
            old = draw.choice(list(x))
            return {draw.choice([str(k), 9, "step"]) if k is old else k: v for k, v in x.items()}
        if kind == "bend" and isinstance(x, torch.Tensor):
            bends = [
                lambda: x.to(torch.bfloat16),
                lambda: x.to(torch.complex64),
                lambda: x.to(torch.uint8),
                lambda: x.to("meta"),
                lambda: -x if x.is_meta else x.to_sparse(),
                lambda: x[None],
                lambda: x.flatten()[:1],
                lambda: x.expand(2, *x.shape),
                lambda: x.T if x.dim() == 2 else -x,
                lambda: x.detach().double().clone().requires_grad_(),
                lambda: x * float("nan"),
            ]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a complex one that is bent again
                return draw.choice(bends)()
        return draw.choice(list(GARBAGE.values()))

    return changed(given, path, how)


SETTINGS = [
    {},
    {"mods": [ClipNorm(1.0), EMA(0.9)]},
    {"storage": "float32", "nonfinite": "skip"},
    {"storage": "bf16", "measured": True},
]


def fuzz(cls, seed, count):
    """Load garbled state_dicts: each is refused and changes nothing, or is taken over and steps go on."""
    draw = random.Random(seed)
    try:
        made = trained(cls, **draw.choice(SETTINGS))
    except (ValueError, TypeError):  # not with this rule
        made = trained(cls)
    if draw.random() < 0.3:
        made.eval()
    given = made.state_dict()
    a, taken = copy.deepcopy(made), 0
    before = kept(a)
    for _ in range(count):
        garbled = mutation(draw, given)
        if draw.random() < 0.2:
            garbled = mutation(draw, garbled) if isinstance(garbled, dict) else garbled
        strict = draw.random() < 0.8
        try:
            report = a.load_state_dict(garbled, strict)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 600, error
            unchanged(a, before)
            continue
        taken += 1
        assert strict == (report is None)
        a.train()
        walk(a, 1, first=2)
        a = copy.deepcopy(made)
        before = kept(a)
    a.train()
    made.train()
    walk(a, 2, first=2)
    walk(made, 2, first=2)
    same_states(a, made)
    return taken


@every_program
def test_a_garbled_state_dict_changes_nothing_or_steps_go_on(cls):
    fuzz(cls, cls.__name__, 8)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10))
@every_program
def test_garbled_state_dicts_by_the_thousand(cls, seed):
    assert fuzz(cls, f"{cls.__name__} {seed}", 100) < 100


@pytest.mark.parametrize("name, key", [("soap", "QL"), ("shampoo", "L"), ("splus", "R"), ("kron", "QR")])
@pytest.mark.parametrize("storage", [None, "float32"])
def test_a_factor_that_was_saved_in_bf16_is_gone_on_with(name, key, storage):
    """It stays in bf16, as it came, and each step rounds it to the nearest."""
    opt = trained(ravine.optim.registry()[name], storage=storage)
    given = opt.state_dict()
    place = next(i for i, state in given["state"].items() if key in state)
    given["state"][place][key] = given["state"][place][key].bfloat16()
    opt.load_state_dict(given)
    walk(opt, 2, first=2)
    kept = opt.state[of(opt)[place]][key]
    assert kept.dtype == torch.bfloat16 and kept.isfinite().all()


# what fits, by name


def named(names, shapes, cls=ravine.Adam, **hyper):
    return cls(list(zip(names, parameters(shapes), strict=True)), **hyper)


def test_names_that_differ_by_wrappers_are_the_same():
    names = ["body.weight", "body.bias", "head"]
    a = named(names, SHAPES)
    walk(a, 2)
    for wrap in (
        lambda x: f"_orig_mod.{x}",
        lambda x: f"module.{x}",
        lambda x: f"module._orig_mod.{x}",
        lambda x: f"_orig_mod.module.{x}",
        lambda x: x.replace("body.", "body._orig_mod."),
        lambda x: x.replace("body.", "_fsdp_wrapped_module.body._checkpoint_wrapped_module."),
    ):
        here = [wrap(x) for x in reversed(names)]
        b = named(here, SHAPES[::-1])
        b.load_state_dict(a.state_dict())
        assert b.param_groups[0]["param_names"] == here
        for p, q in zip(of(a), reversed(of(b)), strict=True):
            equal(a.state[p]["exp_avg"], b.state[q]["exp_avg"])
        a.load_state_dict(b.state_dict())
    refused(named(["body.weight", "body.bias", "tail"], SHAPES), a.state_dict(), "strict=False")
    both = named(["x", "module.x", "y"], SHAPES)  # one name without the prefix: then they are taken as they are
    both.load_state_dict(both.state_dict())


def test_what_fits_is_loaded_and_what_was_left_is_told():
    a = named(["body.0", "body.1", "old"], [(3,), (2, 3), (4,)])
    walk(a, 2)
    b = ravine.Adam(
        [
            {"params": list(zip(["module.body.1", "new"], parameters([(2, 3), (5,)], seed=1), strict=True)), "lr": 0.5},
            {"params": [("body.0", parameters([(7,)])[0])]},
        ]
    )
    report = b.load_state_dict(a.state_dict(), strict=False)
    assert (report.loaded, report.missing, report.unexpected) == (["body.1"], ["new"], ["old"])
    assert list(report.unfit) == ["body.0"] and "(3,)" in report.unfit["body.0"]
    assert str(report).startswith("loaded the states of 1 parameter; missing: new; unexpected: old; unfit: Adam: ")
    equal(b.state[of(b)[0]]["exp_avg"], a.state[of(a)[1]]["exp_avg"])
    assert len(b.state) == 1 and b.param_groups[0]["lr"] == 0.5
    walk(b, 1)
    assert [float(b.state[p]["step"]) for p in of(b)] == [3, 1, 1]


def test_without_names_what_fits_is_found_by_place_and_what_is_here_stays():
    a, b = ravine.Adam(parameters(SHAPES)), ravine.Adam(parameters([(), (4,), (2, 3), (5,)], seed=1))
    walk(a, 2)
    walk(b, 1)
    before = {k: x.clone() for k, x in b.state[of(b)[1]].items()}
    report = b.load_state_dict(a.state_dict(), strict=False)
    assert report.loaded == ["parameter 0", "parameter 2"] and report.missing == ["parameter 3"]
    for k, x in before.items():
        equal(b.state[of(b)[1]][k], x)
    equal(b.state[of(b)[2]]["exp_avg"], a.state[of(a)[2]]["exp_avg"])


@every_program
def test_a_whole_state_that_is_loaded_in_part_goes_on_bit_for_bit(cls):
    a = trained(cls)
    b = cls([torch.nn.Parameter(p.detach().clone()) for p in of(a)])
    b.load_state_dict(copy.deepcopy(a.state_dict()), strict=False)
    walk(a, 2, first=2)
    walk(b, 2, first=2)
    same_states(a, b)


def test_states_of_another_rule_are_left():
    a = trained(ravine.SGD, momentum=0.9)
    b = ravine.Adam(parameters(SHAPES))
    report = b.load_state_dict(a.state_dict(), strict=False)
    assert len(report.unfit) == 3 and not report.loaded and not b.state


# weights for training and weights for evaluation

TWO_WEIGHTS = pytest.mark.parametrize(
    "make", [lambda p: ravine.Adam(p, mods=[EMA(0.9)]), ravine.ScheduleFreeAdamW], ids=["ema", "schedule-free"]
)


@TWO_WEIGHTS
def test_steps_after_a_load_in_part_of_what_was_saved_after_eval_are_not_lost(make):
    a = make(parameters(SHAPES))
    walk(a, 3)
    a.eval()
    saved = copy.deepcopy(a.state_dict())
    b = make([torch.nn.Parameter(p.detach().clone()) for p in of(a)])
    report = b.load_state_dict(saved, strict=False)
    assert len(report.unfit) == 3 and not report.loaded and not b.state
    for said in report.unfit.values():
        assert "saved after eval(); call eval() here first, or save after train()" in said
    walk(b, 5)
    stepped = [p.detach().clone() for p in of(b)]
    b.eval()
    assert not torch.equal(of(b)[2], stepped[2])
    b.train()
    for p, x in zip(of(b), stepped, strict=True):
        equal(p.detach(), x)


@TWO_WEIGHTS
def test_what_was_saved_after_eval_is_loaded_in_part_after_eval(make):
    a = make(parameters(SHAPES))
    walk(a, 3)
    a.eval()
    b = make([torch.nn.Parameter(p.detach().clone()) for p in of(a)])
    b.eval()
    assert len(b.load_state_dict(copy.deepcopy(a.state_dict()), strict=False).loaded) == 3
    a.train()
    b.train()
    walk(a, 2, first=3)
    walk(b, 2, first=3)
    same_states(a, b)


@TWO_WEIGHTS
def test_what_was_saved_in_training_is_not_loaded_in_part_after_eval(make):
    a, b = make(parameters(SHAPES)), make(parameters(SHAPES))
    walk(a, 3)
    walk(b, 2)
    trained = [p.detach().clone() for p in of(b)]
    b.eval()
    report = b.load_state_dict(a.state_dict(), strict=False)
    for said in report.unfit.values():
        assert "saved in training, and eval() has been called here; call train() here first" in said
    assert len(report.unfit) == 3
    b.train()
    for p, x in zip(of(b), trained, strict=True):
        equal(p.detach(), x)


def test_weights_put_aside_by_another_rule_are_left():
    a = ravine.Adam(parameters(SHAPES), mods=[EMA(0.9)])
    walk(a, 3)
    a.eval()
    b = ravine.Adam(parameters(SHAPES))
    report = b.load_state_dict(a.state_dict(), strict=False)
    assert len(report.unfit) == 3 and not b.state
    assert all(said.endswith("saved after eval(); save after train()") for said in report.unfit.values())


# numbers of NumPy


@pytest.mark.parametrize("four", [np.int64(4), np.float32(4), np.array(4), np.array([4])], ids=repr)
@pytest.mark.parametrize("cls", [ravine.Adam, ravine.NAdam, ravine.ASGD])
def test_counts_of_numpy_are_taken(cls, four):
    a, b = trained(cls), trained(cls)
    for opt, x in ((a, four), (b, 4.0)):
        given = opt.state_dict()
        given["state"][0]["step"] = x
        opt.load_state_dict(given)
        walk(opt, 1, first=2)
        opt.state[of(opt)[1]]["step"] = x
        walk(opt, 1, first=3)
    assert float(a.state[of(a)[0]]["step"]) == 6
    same_states(a, b)
    given = a.state_dict()
    given["state"][0]["step"] = np.arange(2)
    refused(a, given, "whole number from 0")


@pytest.mark.parametrize("x", [2**53, 2.0**53, 2**60, torch.tensor(2.0**53, dtype=torch.float64), -1, 1.5], ids=repr)
def test_a_count_beyond_what_is_counted_is_told_the_range(x):
    a = trained(ravine.Adam)
    given = a.state_dict()
    given["state"][0]["step"] = x
    refused(a, given, "must be a whole number from 0 to 2**53 - 1")
    a.state[of(a)[0]]["step"] = x
    with pytest.raises(ValueError, match=r"parameter 0: step is .* must be a whole number from 0 to 2\*\*53 - 1"):
        walk(a, 1)


@pytest.mark.parametrize("key", ["exp_avg", "exp_avg_sq"])
def test_a_state_that_was_made_sparse_is_named(key):
    a = trained(ravine.Adam)
    p = of(a)[2]
    a.state[p][key] = a.state[p][key].to_sparse()
    with pytest.raises(RuntimeError, match=rf"parameter 2 of shape \(2, 3\): its state {key} is sparse .*to_dense"):
        walk(a, 1)
    a.state[p][key] = a.state[p][key].to_dense()
    walk(a, 1)
