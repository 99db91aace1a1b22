"""A rule as pure functions makes the steps of the reference backend, and changes nothing that it is given."""

import ast
import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import ALL, COVER, ci, equal, some, values

import ravine
from ravine.mods import EMA, ClipNorm, GradientNoise
from ravine.optim import registry
from ravine.rule.modifier import Modifier
from ravine.words import every, is_vector, maximum, sqrt, total

SHAPES = [(3, 5), (17,), (), (2, 3, 4)]
LOSS = {name: {"loss": 30.0} for name in ("MoMo", "MoMoAdam", "ScheduleFreePlus")}


def walked(cls, hyper, shapes=SHAPES, dtype=torch.float32, steps=3):
    """Assert that a list of arrays walks as the optimizer of the reference backend does, states too."""
    params = [torch.nn.Parameter(x) for x in values(shapes, 0, dtype)]
    opt, rule = cls(params, backend="reference", **hyper), ravine.functional(cls, **hyper)
    p = [x.detach().clone() for x in params]
    state = rule.init(p)
    for t in range(1, steps + 1):
        g = values(shapes, t, dtype)
        for x, own in zip(params, g, strict=True):
            x.grad = own.clone()
        opt.step(**LOSS.get(cls.__name__, {}))
        before = copy.deepcopy((state, p, g))
        given = LOSS.get(cls.__name__, {})
        if "h" in cls.inputs and cls in ALL.values():
            given = {"h": [x.abs() for x in g]}
        elif "u" in cls.inputs:
            given = {"u": [x / 2 for x in g]}
        if hyper.get("maximize") and not given.keys() & {"h", "u"}:
            given = {k: -x for k, x in given.items()} if cls in ALL.values() else given
        elif hyper.get("maximize") and "h" in cls.turned:
            given = {"h": [-x for x in given["h"]]}
        new = rule.update(state, p, g, t, **given)
        same((state, p, g), before)
        p, state = new
        for x, mine, kept in zip(params, p, state, strict=True):
            equal(x.detach(), mine)
            for k, made in kept.items():
                there = opt.state[x][cls.key(k)]
                equal(there.flatten(), torch.as_tensor(made, dtype=there.dtype).flatten())
                assert isinstance(made, float) or made.dtype == there.dtype


def same(a, b):
    """Assert that two trees are equal, bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b)
        equal(torch.as_tensor(a), torch.as_tensor(b))


@some(2, among=COVER)
def test_steps_are_those_of_the_reference(cls, hyper):
    walked(cls, hyper)


@pytest.mark.parametrize("name", ["adam", *ci("prodigy", "lamb", "adafactor", "nadam")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_too(name, dtype):
    walked(ALL[name], {}, dtype=dtype)
    if ALL[name].twin is not None and not ALL[name].real_only and dtype == torch.float64:
        walked(ALL[name], {}, dtype=torch.complex64)


@pytest.mark.parametrize("name", ["adam", *ci("prodigy", "sm3")])
def test_modifiers_are_worn(name):
    walked(ALL[name], {"mods": [ClipNorm(0.5), GradientNoise(0.1), EMA(0.9)]})


class ByAll(ravine.Optimizer):
    """p ← p − lr g / ‖g‖ over all matrices; vectors as they are."""

    def update(self, s, p, g, t):
        return p - self.lr * g / (1 if is_vector(p) else sqrt(every(total(g**2))))


class Shorter(Modifier):
    """No step is longer than 1, over all."""

    def update(self, s, p, g, t, new, lr):
        return p + (new - p) / maximum(1.0, sqrt(every(total((new - p) ** 2))))


def test_arrays_wait_for_each_others_sums():
    walked(ByAll, {"mods": [Shorter()], "lr": 0.5}, shapes=[(17,), (3, 5)])


def test_one_array_and_trees_walk_alike():
    rule = ravine.functional("adam", lr=0.1)
    p, q = values([(3,), (2, 2)])
    trees = {"a": p, "b": [q, (p,)]}, [p, q, p]
    states = [rule.init(tree) for tree in trees]
    assert states[0]["b"][0].keys() == {"m", "v"} and isinstance(states[0]["b"][1], tuple)
    (tree, _), (listed, _) = (rule.update(s, x, x, 1) for s, x in zip(states, trees, strict=True))
    alone, state = rule.update(rule.init(p), p, p, 1)
    same([tree["a"], tree["b"][0], tree["b"][1][0]], listed)
    equal(alone, tree["a"])
    assert state.keys() == {"m", "v"}


def test_sums_over_all_are_over_the_tree():
    rule = ravine.functional(ravine.SGD, lr=1.0, mods=[ClipNorm(1.0)])
    p, g = {"w": torch.zeros(1), "b": torch.zeros(1, 1)}, {"b": torch.tensor([[4.0]]), "w": torch.tensor([3.0])}
    new, _ = rule.update(rule.init(p), p, g, 1)
    assert new["w"].item() == pytest.approx(-0.6) and new["b"].item() == pytest.approx(-0.8)


@pytest.mark.parametrize("name", ["adam", *ci("nadam", "adafactor", "schedulefreeadamw")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_in_and_out(name, dtype):
    rule = ravine.functional(name)
    p = {"w": np.linspace(-1, 1, 12).reshape(3, 4).astype(dtype)[:, ::-1], "b": np.ones((), dtype)}
    p["w"].flags.writeable = False
    as_torch = {k: torch.from_numpy(x.copy()) for k, x in p.items()}
    state, there = rule.init(p), rule.init(as_torch)
    for t in (1, 2):
        before = copy.deepcopy(state)
        new, state = rule.update(state, p, p, t)
        same(before["w"], copy.deepcopy(before)["w"])
        other, there = rule.update(there, as_torch, as_torch, t)
        for k in p:
            assert isinstance(new[k], np.ndarray) and new[k].dtype == dtype and new[k].shape == p[k].shape
            np.testing.assert_array_equal(new[k], other[k].numpy())
        assert all(isinstance(x, np.ndarray | float) for x in state["w"].values())


def test_hyperparameters_may_change_from_step_to_step():
    rule, p = ravine.functional("sgd", lr=1.0, momentum=0.9), torch.ones(2)
    state = rule.init(p)
    made = [rule.replace(lr=lr).update(state, p, p, 1)[0][0].item() for lr in (0.0, 0.5)]
    assert made == [1.0, 0.5] and rule.hyper["lr"] == 1.0
    assert repr(rule.replace(lr=0.5)) == "functional(SGD, lr=0.5, momentum=0.9)"


def test_a_rule_by_name_with_settings_and_a_class_of_ones_own():
    assert ravine.functional("adam:eps=1e-4").hyper["eps"] == 1e-4
    assert ravine.functional("nesterov", lr=0.1).hyper["lr"] == 0.1

    class Mine(ravine.Optimizer):
        """p ← p − lr g, never made."""

        def __init__(self, *given, **hyper):
            raise AssertionError("it is not made")

        def update(self, s, p, g, t):
            return p - self.lr * g

    rule = ravine.functional(Mine, lr=0.5)
    new, state = rule.update(rule.init(torch.ones(2)), torch.ones(2), torch.ones(2), 1)
    assert new.tolist() == [0.5, 0.5] and state == {}


def bad(rule="adam", p=None, **change):
    made = ravine.functional(rule)
    p = torch.ones(3) if p is None else p
    return made.update(**{"state": made.init(p), "p": p, "g": torch.ones(3), "t": 1, **change})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ravine.functional("adamm"), "adam"),
        (lambda: ravine.functional(torch.optim.Adam), "a class derived from ravine.Optimizer"),
        (lambda: ravine.functional(ravine.Routed), "a class derived from ravine.Optimizer"),
        (lambda: ravine.functional("adam", lr=-1.0), "Adam: lr is -1"),
        (lambda: ravine.functional("adam", betaz=1), "Adam has no 'betaz'"),
        (lambda: ravine.functional("adam", storage="bf16"), "storage is for an optimizer"),
        (lambda: ravine.functional("sgd", nesterov=True), "nesterov"),
        (lambda: ravine.functional("sparseadam"), "takes sparse gradients only"),
        (lambda: bad(t=0), "t is 0; it counts steps"),
        (lambda: bad(t=1.5), "t is 1.5"),
        (lambda: bad(g=torch.ones(4)), "both must have one shape"),
        (lambda: bad(g=torch.ones(3).double()), "both must have one shape, type"),
        (lambda: bad(g=[torch.ones(3)]), r"g is \[a tensor of float32"),
        (lambda: bad(p=[torch.ones(3)]), "p is a list of 1 where g is"),
        (lambda: bad(p={"a": torch.ones(3)}, g={"b": torch.ones(3)}), "a dict of a where g is a dict of b"),
        (lambda: bad(state={}), "the state of Adam is a dict of m, v for each array; given was a dict of nothing"),
        (lambda: bad(state={"m": torch.ones(3), "v": torch.ones(4)}), r"v is .* shape \(4,\)"),
        (lambda: bad(p=torch.ones(3, dtype=torch.int64)), "dense tensor or numpy array of floats"),
        (lambda: bad(p=[1.0, 2.0]), "p is 1.0; it must be a dense tensor"),
        (lambda: bad("lion", p=torch.ones(3, dtype=torch.complex64)), "p is complex; Lion is defined for real"),
        (lambda: bad("momo"), "MoMo needs the loss: update"),
        (lambda: bad(loss=1.0), "Adam has no input 'loss'; it takes nothing beside"),
        (lambda: bad("momo", los=1.0, loss=1.0), "MoMo has no input 'los'; it takes loss"),
    ],
)
def test_what_is_wrong_is_said(call, said):
    with pytest.raises((TypeError, ValueError, ravine.catalog.errors.CatalogError), match=said):
        call()


def test_every_rule_that_ravine_ships_is_a_function_too():
    for name, cls in registry().items():
        if cls.dense:
            assert ravine.functional(name).rule is cls


# what it is made of


SRC = Path(ravine.__file__).parents[1]


def imported(path):
    """What a file imports, by whatever form."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (x.name for x in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (str(node.module), *(f"{node.module}.{x.name}" for x in node.names))


def reached(module, seen):
    """The files of ravine that a module leads to."""
    base = SRC / module.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists() and path not in seen:
            seen.add(path)
            for x in imported(path):
                reached(x, seen)
    return sorted(seen)


REACHED = reached("ravine.rule.functional", set())


@pytest.mark.parametrize("path", REACHED, ids=[str(x.relative_to(SRC / "ravine")) for x in REACHED])
def test_what_a_function_is_made_of_knows_no_optimizer(path):
    assert path.relative_to(SRC / "ravine").parts[0] in ("compile", "rule", "saved.py", "typed.py", "__init__.py")
    for name in imported(path):
        assert not name.startswith("torch.optim"), f"{path} imports {name}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "torch.optim", f"{path} reads torch.optim"


@pytest.mark.ci
def test_the_path_of_a_function_imports_no_optimizer():
    code = (
        "import sys, ravine.rule.functional;"
        "print([x for x in sys.modules if x.startswith(('ravine.optim', 'ravine.catalog', 'ravine.mods'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n", out
