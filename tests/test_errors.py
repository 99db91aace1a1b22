"""Bad input meets one clear error that names the argument, the value and what to do; nothing is left half-changed."""

import inspect

import pytest
import torch
from torch import nn

import ravine
from ravine.mods import EMA, ClipNorm
from ravine.optim import registry
from ravine.rule.hyper import ELSEWHERE, PLACES, called_here, constants, fields, places
from ravine.schedules import Cosine, Warmup
from ravine.strategies import SAM, Lookahead

ALL = registry()
every = pytest.mark.parametrize("cls", ALL.values(), ids=ALL.keys())


def weights(*shapes):
    return [nn.Parameter(torch.ones(s)) for s in shapes or [(2, 3), (4,)]]


def refuses(error, *words, make):
    """One error of this type with all of these words in its message, short enough to read."""
    with pytest.raises(error) as raised:
        make()
    message = str(raised.value)
    assert type(raised.value) is error
    assert all(str(word) in message for word in words), message
    assert len(message) < 400


# hyperparameters


@every
def test_an_unknown_name_with_the_nearest_one(cls):
    refuses(TypeError, cls.__name__, "'learning_rate'", "lr", make=lambda: cls(weights(), learning_rate=0.1))
    refuses(TypeError, "'maximise'", "did you mean maximize", make=lambda: cls(weights(), maximise=True))


@pytest.mark.parametrize(
    ("name", "given", "here"),
    [
        ("adam", "learning_rate", "here it is lr. It takes"),
        ("adam", "epsilon", "here it is eps. It takes"),
        ("adam", "beta_1", "here it is betas[0], as in betas=(0.9, 0.999). It takes"),
        ("adam", "beta2", "here it is betas[1]"),
        ("adam", "weight-decay", "did you mean weight_decay? It takes"),
        ("adam", "momentum", "here it is betas. It takes"),
        ("adam", "clipnorm", "here it is mods=[ClipNorm(1.0)]. It takes"),
        ("adam", "clip_value", "here it is mods=[ClipValue(1.0)]"),
        ("adam", "use_ema", "here it is mods=[EMA(0.999)]"),
        ("rmsprop", "rho", "here it is alpha. It takes"),
        ("adadelta", "decay_rate", "here it is rho. It takes"),
        ("adadelta", "l1", "here it is mods=[L1(…)]. It takes"),
        ("asgd", "wd", "here it is weight_decay. It takes"),
        ("rprop", "weight_decay", "here it is mods=[DecoupledDecay(0.01)]. It takes"),
        ("sgd", "use_nesterov", "here it is nesterov. It takes"),
        ("adagrad", "initial_accumulator", "here it is initial_accumulator_value"),
        ("sgd", "beta1", "here it is momentum. It takes"),
        ("rmsprop", "beta1", "here it is momentum. It takes"),
        ("rmsprop", "beta_2", "here it is alpha. It takes"),
        ("adadelta", "beta1", "here it is rho. It takes"),
        ("adadelta", "beta2", "here it is rho. It takes"),
        ("ademamix", "beta2", "here it is betas[1]"),
        ("adam", "weight_decouple", "here it is decoupled_weight_decay. It takes"),
        ("sgd", "weight_decouple", "here it is mods=[DecoupledDecay(0.01)], where weight_decay is not decoupled"),
        ("lion", "weight_decouple", "here it is mods=[DecoupledDecay(0.01)], where weight_decay is not decoupled"),
        ("rmsprop", "nesterov", "It takes"),  # nothing that it could be
    ],
)
def test_other_libraries_names_are_told_what_they_are_here(name, given, here):
    assert given not in inspect.signature(ALL[name]).parameters
    refuses(TypeError, f"has no '{given}': {here}", make=lambda: ALL[name](weights(), **{given: 0.1}))


@every
def test_what_it_is_here_is_taken(cls):
    """Each hint names something that the class takes."""
    known = fields(cls)
    for given in [*ELSEWHERE, *PLACES]:
        said = called_here(given, known).removeprefix("here it is ").split(".")[0].split("=")[0].split("[")[0]
        assert not said or said in known or said == "ravine", (given, said)


@pytest.mark.parametrize(
    ("hyper", "error", "words"),
    [
        ({"lr": -0.1}, ValueError, ["lr", "-0.1", "[0, inf)"]),
        ({"lr": float("nan")}, ValueError, ["lr", "nan"]),
        ({"lr": torch.tensor(-1.0)}, ValueError, ["lr", "-1"]),
        ({"lr": torch.ones(2)}, ValueError, ["lr", "2 elements"]),
        ({"lr": "0.1"}, TypeError, ["lr", "'0.1'", "number"]),
        ({"lr": True}, TypeError, ["lr", "True", "number"]),
        ({"lr": [0.1]}, TypeError, ["lr", "[0.1]", "number"]),
        ({"lr": 1j}, TypeError, ["lr", "1j", "number"]),
        ({"beta": (0.9, 0.99)}, TypeError, ["'beta'", "did you mean betas"]),
        ({"betas": (1.0, 0.9)}, ValueError, ["betas[0]", "1", "[0, 1)"]),
        ({"betas": (0.9, -0.1)}, ValueError, ["betas[1]", "-0.1", "[0, 1)"]),
        ({"betas": (0.9, float("nan"))}, ValueError, ["betas[1]", "nan"]),
        ({"betas": 0.9}, TypeError, ["betas", "0.9", "2 numbers"]),
        ({"betas": (0.9,)}, TypeError, ["betas", "(0.9,)", "2 numbers"]),
        ({"betas": (0.9, "0.99")}, TypeError, ["betas[1]", "'0.99'", "number"]),
        ({"eps": -1e-8}, ValueError, ["eps", "-1e-08", "[0, inf)"]),
        ({"eps": None}, TypeError, ["eps", "None", "number"]),
        ({"weight_decay": -0.1}, ValueError, ["weight_decay", "-0.1"]),
        ({"weight_decay": float("inf")}, ValueError, ["weight_decay", "inf"]),
        ({"amsgrad": 1}, TypeError, ["amsgrad", "1", "True or False"]),
        ({"maximize": "yes"}, TypeError, ["maximize", "'yes'"]),
        ({"foreach": "yes"}, TypeError, ["foreach", "'yes'"]),
        ({"storage": "int3"}, ValueError, ["storage", "'int3'", "'float32'"]),
        ({"backend": "llwm"}, ValueError, ["backend", "'llwm'", "'llvm'"]),
        ({"differentiable": True}, ValueError, ["differentiable=True"]),
    ],
    ids=lambda x: str(x)[:40],
)
def test_adam(hyper, error, words):
    refuses(error, *words, make=lambda: ravine.Adam(weights(), **hyper))
    assert ravine.Adam(weights()).defaults["lr"] == 1e-3


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ravine.Momentum(weights(), form="heavyball"), ValueError, ["form", "'heavyball'", "'heavy_ball'"]),
        (lambda: ravine.RAdam(weights(), fallback="none"), ValueError, ["fallback", "'none'", "'skip'"]),
        (lambda: ravine.SGD(weights(), nesterov=True), ValueError, ["nesterov", "momentum"]),
        (lambda: ravine.SGD(weights(), nesterov=True, momentum=0.9, dampening=0.1), ValueError, ["dampening"]),
        (lambda: ravine.SGD([{"params": weights(), "nesterov": True}]), ValueError, ["nesterov", "momentum"]),
        (lambda: ravine.SGD(weights(), momentum=-0.5), ValueError, ["momentum", "-0.5"]),
        (lambda: ravine.SGD(weights(), dampening=float("nan")), ValueError, ["dampening", "nan"]),
        (lambda: ravine.Adadelta(weights(), rho=1.5), ValueError, ["rho", "1.5", "[0, 1]"]),
        (lambda: ravine.Rprop(weights(), etas=(1.5, 1.2)), ValueError, ["etas[0]", "1.5", "(0, 1)"]),
        (lambda: ravine.Rprop(weights(), etas=(0.5, 0.9)), ValueError, ["etas[1]", "0.9", "(1, inf)"]),
        (lambda: ravine.Rprop(weights(), step_sizes=(1.0, 0.1)), ValueError, ["step_sizes", "(1, 0.1)"]),
        (lambda: ravine.Adagrad(weights(), lr_decay=-1.0), ValueError, ["lr_decay", "-1"]),
        (lambda: ravine.RMSprop(weights(), alpha=-0.1), ValueError, ["alpha", "-0.1"]),
        (lambda: ravine.RMSprop(weights(), alpha=2.0), ValueError, ["alpha", "2", "[0, 1]"]),
        (lambda: ravine.NAG(weights(), momentum=2.0), ValueError, ["momentum", "2", "[0, 1)"]),
        (lambda: ravine.Momentum(weights(), form="average", momentum=1.5), ValueError, ["momentum", "1.5", "[0, 1)"]),
        (lambda: ravine.AdamW(weights(), decoupled_weight_decay=False), TypeError, ["'decoupled_weight_decay'"]),
        (
            lambda: ravine.AdamW([{"params": weights(), "decoupled_weight_decay": False}]),
            TypeError,
            ["decoupled_weight_decay", "always True"],
        ),
        (lambda: ravine.Adam([{"params": weights(), "backend": "reference"}]), TypeError, ["backend", "whole"]),
    ],
)
def test_others(make, error, words):
    refuses(error, *words, make=make)


# parameters


@every
def test_parameters(cls):
    p = weights()
    refuses(TypeError, "params", make=lambda: cls(p[0]))
    refuses(ValueError, "empty parameter list", make=lambda: cls([]))
    refuses(ValueError, "empty parameter list", make=lambda: cls(x for x in []))
    refuses(TypeError, cls.__name__, "parameter 1", "int", "model.parameters()", make=lambda: cls([p[0], 3]))
    refuses(TypeError, "parameter 0", "str", make=lambda: cls("weights"))
    refuses(ValueError, "parameter 1", "(2, 3)", "leaf", make=lambda: cls([p[1], p[0] * 2]))
    refuses(ValueError, "twice", make=lambda: cls([p[0], p[0]]))
    refuses(ValueError, "more than one parameter group", make=lambda: cls([{"params": [p[0]]}, {"params": [p[0]]}]))
    refuses(ValueError, "'params'", make=lambda: cls([{"param": p}]))
    refuses(TypeError, "parameter group", make=lambda: cls([{"params": p}, 3]))
    refuses(TypeError, "'maximise'", "did you mean maximize", make=lambda: cls([{"params": p, "maximise": True}]))
    refuses(ValueError, "lr", "-1", make=lambda: cls([{"params": p, "lr": -1.0}]))


@every
def test_a_refused_group_changes_nothing(cls):
    p = weights((2,), (3,), (4,))
    opt = cls(p[:1])
    for bad in ({"params": p[1:], "lr": -1.0}, {"params": [p[1], p[0]]}, {"params": [p[1], 3]}, {"lr": 0.1}, [p[1]]):
        kept = dict(bad) if isinstance(bad, dict) else list(bad)
        with pytest.raises((TypeError, ValueError)):
            opt.add_param_group(bad)
        assert len(opt.param_groups) == 1 and opt.param_groups[0]["params"] == p[:1]
        assert bad == kept
    opt.add_param_group({"params": p[1:], "lr": 0.1, "name": "notes may stand in a group"})
    assert len(opt.param_groups) == 2


def test_weights_of_other_types_are_refused_before_anything_moves():
    p = nn.Parameter(torch.ones(3))
    q = nn.Parameter(torch.ones(3).to(torch.float8_e4m3fn))
    p.grad, q.grad = torch.ones(3), torch.ones(3).to(torch.float8_e4m3fn)
    opt = ravine.SGD([p, q])
    refuses(RuntimeError, "parameter 1", "float8_e4m3fn", "float32", make=opt.step)
    assert torch.equal(p, torch.ones(3)) and not opt.state


# constructors as editors see them


@every
def test_the_constructor_says_what_it_takes(cls):
    signature = inspect.signature(cls)
    kinds = {k: x.kind for k, x in signature.parameters.items()}
    positional = [k for k, kind in kinds.items() if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional == ["params", *places(cls)] and positional[:2] == ["params", "lr"]
    assert all(x.default is not inspect.Parameter.empty for k, x in signature.parameters.items() if k != "params")
    opt = cls(weights(), 0.05)
    assert opt.defaults["lr"] == 0.05
    assert opt.defaults.keys() - constants(cls).keys() == kinds.keys() - {
        "params",
        "backend",
        "sources",
        "process_group",
    }
    assert all(opt.defaults[k] == x.default for k, x in signature.parameters.items() if k in opt.defaults and k != "lr")


LEFT_TO_TORCH = {"foreach": None, "fused": None, "differentiable": False, "capturable": False}
TWINS = {name: cls for name, cls in ALL.items() if cls.twin}


@pytest.mark.parametrize("cls", TWINS.values(), ids=TWINS.keys())
def test_arguments_by_place_are_torchs(cls):
    """Every prefix of what torch takes by place, with values that are not the defaults, makes the same defaults."""
    taken = inspect.signature(cls.twin).parameters.values()
    order = [x for x in taken if x.kind is x.POSITIONAL_OR_KEYWORD and x.name != "params"]
    assert places(cls) == tuple(x.name for x in order)
    other = {
        "dampening": 0.0,
        "d": 1.5,
        "step_sizes": (1e-5, 40.0),
        "etas": (0.4, 1.3),
        "t0": 1e5,
        "eps": 1e-7,
    }
    if cls is ravine.Muon:
        other |= {"ns_coefficients": (3.0, -3.2, 1.2), "ns_steps": 4, "adjust_lr_fn": "match_rms_adamw"}
    if cls is ravine.Adafactor:
        other |= {"beta2_decay": -0.7, "eps": (1e-20, 1e-2)}
    values = [
        other[x.name] if x.name in other else LEFT_TO_TORCH[x.name] if x.name in LEFT_TO_TORCH
        else not x.default if isinstance(x.default, bool) else (0.8, 0.95) if isinstance(x.default, tuple)
        else x.default / 2 if x.default else 0.25
        for x in order
    ]  # fmt: skip
    shapes = [(2, 3)] if cls is ravine.Muon else []  # torch's takes matrices only
    for n in range(len(order) + 1):
        mine, theirs = cls(weights(), *values[:n]).defaults, cls.twin(weights(*shapes), *values[:n]).defaults
        assert {k: mine[k] for k in theirs if k in mine} == {k: x for k, x in theirs.items() if k in mine}
        assert mine == cls(weights(), **dict(zip(places(cls), values[:n], strict=False))).defaults


@every
def test_more_arguments_by_place_than_torch_takes(cls):
    most = ("params", *places(cls))
    words = (f"{cls.__name__} takes {', '.join(most)} by place", f"{len(most) + 1} arguments")
    refuses(TypeError, *words, make=lambda: cls(weights(), *[0.1] * len(most)))


def test_an_argument_is_given_once():
    refuses(TypeError, "betas", "twice", make=lambda: ravine.Adam(weights(), 0.1, (0.9, 0.9), betas=(0.9, 0.9)))


def test_lists_are_taken_for_tuples():
    made = ravine.AdamW(weights(), betas=[0.9, 0.99], mods=[ClipNorm(1.0), EMA(0.999)])
    same = ravine.AdamW(weights(), betas=(0.9, 0.99), mods=(ClipNorm(1.0), EMA(0.999)))
    assert repr(made.defaults) == repr(same.defaults) and made.param_groups[0]["betas"] == (0.9, 0.99)
    for cls in ALL.values():
        for name, default in cls(weights()).defaults.items():
            if isinstance(default, tuple):
                assert type(cls(weights(), **{name: list(default)}).defaults[name]) is tuple
    assert ravine.schedules.MultiStep([3, 5]) == ravine.schedules.MultiStep((3, 5))


# a class or a module where a thing made of it was meant


MODEL = nn.Linear(3, 1)
SGD = ravine.SGD(weights())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ravine.AdamW(MODEL), ["AdamW: params is a module, Linear; give its parameters: model.parameters()"]),
        (lambda: ravine.AdamW(nn.Sequential(MODEL)), ["a module, Sequential"]),
        (lambda: ravine.AdamW(MODEL.parameters), ["a function, 'parameters'; call it: model.parameters()"]),
        (lambda: ravine.AdamW(nn.Linear), ["the class Linear"]),
        (lambda: ravine.AdamW([{"params": MODEL}]), ["params is a module, Linear"]),
        (lambda: ravine.AdamW([MODEL]), ["parameter 0 is Linear"]),
        (lambda: ravine.create("adamw", MODEL.parameters), ["call it"]),
        (lambda: ravine.AdamW(weights(), mods=[EMA]), ["mods[0] is the class EMA; make one: EMA(…)"]),
        (lambda: ravine.AdamW(weights(), mods=EMA(0.9)), ["AdamW: mods is one EMA; write mods=[EMA(…)]"]),
        (lambda: ravine.AdamW(weights(), mods=EMA), ["mods is one EMA; write mods=[EMA(…)]"]),
        (lambda: ravine.AdamW(weights(), mods=(x for x in ())), ["it must be a list or tuple of Modifier objects"]),
        (lambda: ravine.AdamW(weights(), lr=Cosine(9)), ["a schedule goes into ravine.Scheduler(opt, …)"]),
        (lambda: ravine.Scheduler(SGD, lr=Cosine), ["Scheduler: lr is the class Cosine; make one: Cosine(…)"]),
        (lambda: ravine.Scheduler(SGD, lr=[Cosine]), ["lr is the class Cosine"]),
        (lambda: ravine.Scheduler(ravine.SGD, lr=Cosine(9)), ["this is the class SGD; make one first"]),
        (lambda: Warmup(3) * Cosine, ["that is a class; make one: Cosine(…)"]),
        (lambda: Warmup(3).then(3, Cosine), ["following is the class Cosine; make one: Cosine(…)"]),
        (lambda: SAM(ravine.SGD), ["SAM drives an optimizer, and was given the class SGD: write SAM(ravine.SGD("]),
        (lambda: SAM(weights(), ravine.SGD), ["was given a list"]),
        (lambda: SAM(SGD, ravine.SGD), ["SAM: rho is <class", "it must be a number"]),
        (lambda: Lookahead(MODEL), ["Lookahead drives an optimizer, and was given a Linear"]),
        (lambda: Lookahead(SGD, alpha="half"), ["alpha is 'half'; it must be a number"]),
        (lambda: ravine.NoiseScale(MODEL), ["NoiseScale: params is a module"]),
        (lambda: ravine.loop.EarlyStopping(5), ["EarlyStopping: model is 5"]),
        (lambda: ravine.data.Shuffle(torch.utils.data.TensorDataset), ["data is the class TensorDataset"]),
        (lambda: ravine.data.Shuffle(5), ["data is a int"]),
        (lambda: ravine.data.Curriculum(["easy"], len), ["difficulty is a list; give a tensor or list"]),
        (lambda: ravine.data.Curriculum([1.0, 2.0], 0.5), ["Curriculum: pace is 0.5; give a function of the epochs"]),
        (lambda: ravine.data.Mixed([1, 2], 0.5), ["Mixed: pace is 0.5"]),
    ],
)  # fmt: skip
def test_what_is_no_such_thing_is_told_what_to_do(make, words):
    refuses(TypeError, *words, make=make)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.ParameterList(weights())

    def __iter__(self):
        return iter(self.both)


@pytest.mark.parametrize("make", [lambda: nn.ParameterList(weights()), Pair])
def test_modules_that_yield_tensors_are_parameters_as_in_torch(make):
    for given in (make(), [{"params": make()}]):
        for opt in (torch.optim.SGD(given, 1e-3), ravine.SGD(given, 1e-3)):
            tensors = list(given) if isinstance(given, nn.Module) else list(given[0]["params"])
            assert len(opt.param_groups) == 1
            assert all(p is q for p, q in zip(opt.param_groups[0]["params"], tensors, strict=True))
    assert len(ravine.NoiseScale(make()).params) == 2
    named = nn.ParameterDict({"a": torch.ones(3), "b": torch.ones(2)})
    assert len(ravine.SGD(named.values(), 1e-3).param_groups[0]["params"]) == 2
    refuses(TypeError, "params is a module, ParameterDict", make=lambda: ravine.SGD(named, 1e-3))
    refuses(TypeError, "NoiseScale: params is a module, Seq", make=lambda: ravine.NoiseScale(nn.Sequential(MODEL)))


def test_difficulties_may_be_a_list():
    pace = ravine.data.pacing.step(over=1, start=0.5)
    same = (ravine.data.Curriculum(x, pace).order(0).tolist() for x in ([0.3, 0.1], torch.tensor([0.3, 0.1])))
    assert len(set(map(tuple, same))) == 1


@every
def test_every_optimizer_says_what_it_is(cls):
    assert cls.__doc__ and "←" in cls.__doc__ and "http" in cls.__doc__
    assert inspect.getmodule(cls).__doc__
    assert getattr(ravine, cls.__name__) is cls


@every
def test_repr_names_the_optimizer_and_its_hyperparameters(cls):
    text = repr(cls(weights(), 0.05))
    assert cls.__name__ in text and "lr: 0.05" in text


@every
def test_torchs_switches_are_taken_where_torch_has_them(cls):
    taken = inspect.signature(cls.twin).parameters if cls.twin else {}
    for switch in ("foreach", "fused"):
        if switch in taken:
            cls(weights(), **{switch: True})
        else:
            refuses(TypeError, f"'{switch}'", make=lambda switch=switch: cls(weights(), **{switch: True}))
