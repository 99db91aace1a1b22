"""The laws of modifiers: each of them on rules of several kinds."""

import copy
import inspect
import io
import math
import pickle

import pytest
import torch
from torch import nn

import ravine
from ravine.catalog.bib import papers
from ravine.mods import (
    AGC,
    EMA,
    GPA,
    L1,
    Averaging,
    Cautious,
    CautiousDecay,
    Centralize,
    ClipNorm,
    ClipTensorNorm,
    ClipValue,
    DecoupledDecay,
    EMANesterov,
    GradientAveraging,
    GradientNoise,
    Grams,
    Hyperball,
    RadialBrake,
    UpdateFloor,
)
from ravine.mods.shown import Shown
from ravine.rule import programs
from ravine.words import every as over_all
from ravine.words import total

ALL = {
    "norm": lambda: ClipNorm(1.0),
    "tensor_norm": lambda: ClipTensorNorm(0.5),
    "value": lambda: ClipValue(0.4),
    "agc": lambda: AGC(0.05),
    "centralize": Centralize,
    "noise": lambda: GradientNoise(0.3, seed=7),
    "gradients": lambda: GradientAveraging(0.8),
    "all_gradients": lambda: GradientAveraging(1.0),
    "cautious": Cautious,
    "cautious_plus_one": lambda: Cautious(plus_one=True),
    "grams": Grams,
    "decay": lambda: DecoupledDecay(0.1),
    "full_decay": lambda: DecoupledDecay(0.01, "independent"),
    "corrected_decay": lambda: DecoupledDecay(0.1, "lr2"),
    "cautious_decay": lambda: CautiousDecay(0.1),
    "hyperball": Hyperball,
    "radial_brake": RadialBrake,
    "update_floor": lambda: UpdateFloor(20.0),
    "update_floor_of_rows": lambda: UpdateFloor(3.0, rows=True),
    "ema_nesterov": lambda: EMANesterov(0.5, 0.9),
    "gpa": lambda: GPA(0.9, 0.7),
    "l1": lambda: L1(0.2),
    "ema": lambda: EMA(0.9),
    "ema_ramp": lambda: EMA(0.9, "ramp"),
    "ema_unbiased": lambda: EMA(0.9, "unbiased"),
    "mean": Averaging,
    "tail": lambda: Averaging(2),
    "swa": lambda: Averaging(1, every=2),
}
AVERAGES = [name for name, make in ALL.items() if isinstance(make(), Shown)]
STATEFUL = [*AVERAGES, "gradients", "all_gradients"]
RULES = {
    "sgd": (ravine.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adam": (ravine.Adam, {"lr": 0.01}),
    "lion": (ravine.Lion, {"lr": 0.01}),
    "lamb": (ravine.LAMB, {"lr": 0.01, "weight_decay": 0.1}),
}
SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2), (0,), (0, 3), (3, 0), (40, 130)]

each = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
each_average = pytest.mark.parametrize("make", [ALL[k] for k in AVERAGES], ids=AVERAGES)
each_rule = pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES[k], id=k, marks=() if k == "adam" else pytest.mark.ci) for k in RULES],
)
backends = pytest.mark.parametrize("backend", ["reference", "llvm"])


def parameters(dtype=torch.float64, shapes=SHAPES):
    rng = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=rng, dtype=torch.float64).to(dtype)) for s in shapes]


def gradients(t, shapes, dtype=torch.float64):
    rng = torch.Generator().manual_seed(100 + t)
    return [torch.randn(s, generator=rng, dtype=torch.float64).to(dtype) for s in shapes]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def walk(opt, steps=5, first=0):
    params = of(opt)
    for t in range(first, first + steps):
        for p, g in zip(params, gradients(t, [p.shape for p in params]), strict=True):
            p.grad = g.to(p.dtype)
        opt.step()
    return [p.detach().clone() for p in params]


def near(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        gap = ((x.double() - y.double()).abs() / (1 + y.double().abs())).max().item() if x.numel() else 0.0
        assert gap <= tolerance, f"{tuple(x.shape)}: {gap:.1e} apart"


def equal(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        assert torch.equal(torch.isnan(x), torch.isnan(y)) and torch.equal(x.nan_to_num(), y.nan_to_num())


def differ(a, b):
    return any(not torch.equal(x, y) for x, y in zip(a, b, strict=True))


def everything(opt):
    """All tensors that an optimizer holds: parameters, then states in order."""
    return [p.detach() for p in of(opt)] + [x for p in of(opt) for _, x in sorted(opt.state[p].items())]


# on every backend, on every kind of tensor


@pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES[k], id=k, marks={"adam": (), "lamb": pytest.mark.ci}.get(k, pytest.mark.slow)) for k in RULES],
)
@each
@pytest.mark.ci
def test_backends_agree(rule, hyper, make):
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 3e-5)):
        paths = [walk(rule(parameters(dtype), mods=[make()], backend=b, **hyper)) for b in ("reference", "llvm")]
        assert all(x.isfinite().all() for x in paths[0])
        if isinstance(make(), GradientNoise):  # its noise is float32
            tolerance = max(tolerance, 1e-6)
        if isinstance(make(), UpdateFloor) and dtype == torch.float32:  # p − u′, whose rounding it multiplies
            tolerance = 3e-4
        near(*paths, tolerance)


@each_rule
@each
def test_a_modifier_does_something(rule, hyper, make):
    opt = rule(parameters(), mods=[make()], **hyper)
    plain, worn = walk(rule(parameters(), **hyper)), walk(opt)
    if isinstance(make(), Shown):  # an average watches, and is another thing
        equal(worn, plain)
        opt.eval()
        worn = [p.detach() for p in of(opt)]
    assert differ(worn, plain)


@backends
@each
def test_a_nan_comes_through_and_stays_out_of_other_tensors(make, backend):
    mod = make()
    p, q = parameters(shapes=[(4, 3), (5,)])
    opt = ravine.SGD([p, q], lr=0.1, mods=[mod], backend=backend)
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    p.grad[1, 2] = math.nan
    opt.step()
    assert p[1, 2].isnan()
    assert q.isnan().any().item() == isinstance(mod, ClipNorm)
    if isinstance(mod, ClipValue | GradientNoise | Cautious | Grams | DecoupledDecay | L1 | Shown | EMANesterov | GPA):
        assert p.isnan().sum() == 1


@backends
@each
def test_zero_gradients_and_zero_weights_make_no_nan(make, backend):
    params = [nn.Parameter(torch.zeros(s)) for s in [(), (3,), (4, 2), (0, 2)]]
    opt = ravine.SGD(params, lr=0.1, mods=[make()], backend=backend)
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        opt.step()
    assert all(x.isfinite().all() for x in everything(opt))
    if not isinstance(make(), GradientNoise):
        assert all((p == 0).all() for p in params)


@backends
@pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES["sgd"], id="sgd"), pytest.param(*RULES["lamb"], id="lamb", marks=pytest.mark.ci)],
)
@each
@pytest.mark.ci
def test_low_precision_with_and_without_float32_states(rule, hyper, make, backend):
    for storage in (None, "float32"):
        params = parameters(torch.bfloat16)
        opt = rule(params, mods=[make()], backend=backend, storage=storage, **hyper)
        walk(opt, 3)
        assert all(p.dtype == torch.bfloat16 and p.isfinite().all() for p in params)
        for p in params:
            for k, x in opt.state[p].items():
                if x.shape == p.shape and p.dim():
                    assert x.dtype == (torch.float32 if storage else torch.bfloat16), k


def test_noise_and_rows_of_maximized_gradients():
    for make in ALL.values():
        up = ravine.SGD(parameters(), lr=0.1, maximize=True, mods=[make()])
        down = ravine.SGD(parameters(), lr=0.1, mods=[make()])
        walk(up, 2)
        for t in range(2):
            for p, g in zip(of(down), gradients(t, SHAPES), strict=True):
                p.grad = -g
            down.step()
        equal(everything(up), everything(down))


# as a list


def test_the_order_is_the_lists():
    hyper = {"lr": 0.1, "backend": "reference"}
    for a, b in [
        (lambda: ClipValue(0.3), lambda: ClipNorm(1.0)),
        (lambda: GradientNoise(1.0), lambda: ClipValue(0.3)),
        (Cautious, lambda: DecoupledDecay(0.5)),
        (lambda: L1(1.0), lambda: DecoupledDecay(0.5)),
    ]:
        one = walk(ravine.SGD(parameters(), momentum=0.9, mods=[a(), b()], **hyper))
        two = walk(ravine.SGD(parameters(), momentum=0.9, mods=[b(), a()], **hyper))
        assert differ(one, two)
    p = parameters()
    opt = ravine.SGD(p, mods=[ClipValue(0.3), ClipNorm(1.0)], **hyper)
    start, g = [x.detach().clone() for x in p], [x.clamp(-0.3, 0.3) for x in gradients(0, SHAPES)]
    norm = math.sqrt(sum(x.square().sum().item() for x in g))
    near(walk(opt, 1), [x - 0.1 * y / (norm + 1e-6) for x, y in zip(start, g, strict=True)])
    start, opt = parameters(), ravine.SGD(parameters(), mods=[L1(1.0), DecoupledDecay(0.5)], **hyper)
    moved = [x.detach() - 0.1 * y for x, y in zip(start, gradients(0, SHAPES), strict=True)]
    soft = [torch.sign(x) * (x.abs() - 0.1).clamp(min=0) for x in moved]
    near(walk(opt, 1), [x - 0.05 * p.detach() for x, p in zip(soft, start, strict=True)])


@backends
def test_averages_watch_what_modifiers_before_them_leave(backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[EMA(0.5), L1(1.0), EMA(0.5)], backend=backend)
    before, after = parameters(), parameters()
    for t in range(3):
        start = [p.detach().clone() for p in of(opt)]
        new = walk(opt, 1, first=t)
        for a, b, p, q, g in zip(before, after, start, new, gradients(t, SHAPES), strict=True):
            a.data.lerp_(p - 0.1 * g, 0.5)
            b.data.lerp_(q, 0.5)
    near([opt.state[p]["ema_average"] for p in of(opt)], [x.detach() for x in before])
    near([opt.state[p]["ema1_average"] for p in of(opt)], [x.detach() for x in after])


@backends
@each
@pytest.mark.ci
def test_two_of_the_same_have_states_of_their_own(make, backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[make(), make()], backend=backend)
    walk(opt)
    once = ravine.SGD(parameters(), lr=0.1, mods=[make()], backend=backend)
    walk(once)
    for p, q in zip(of(opt), of(once), strict=True):
        assert len(opt.state[p]) - 1 == 2 * (len(once.state[q]) - 1)


def test_groups_have_modifiers_of_their_own():
    p = parameters()
    opt = ravine.SGD(
        [{"params": p[:2], "mods": [L1(0.5)]}, {"params": p[2:4], "mods": []}, {"params": p[4:]}],
        lr=0.1,
        mods=[ClipValue(0.2)],
    )
    start = [x.detach().clone() for x in p]
    walk(opt, 1)
    for i, (old, new, g) in enumerate(zip(start, p, gradients(0, SHAPES), strict=True)):
        expected = old - 0.1 * (g.clamp(-0.2, 0.2) if i >= 4 else g)
        if i < 2:
            expected = expected.sign() * (expected.abs() - 0.05).clamp(min=0)
        near([new.detach()], [expected])


def test_the_global_norm_is_of_the_groups_that_clip():
    p = parameters()
    opt = ravine.SGD([{"params": p[:3], "mods": [ClipNorm(0.1)]}, {"params": p[3:], "mods": []}], lr=1.0)
    start, g = [x.detach().clone() for x in p], gradients(0, SHAPES)
    walk(opt, 1)
    scale = 0.1 / (math.sqrt(sum(x.square().sum().item() for x in g[:3])) + 1e-6)
    near(
        [x.detach() for x in p],
        [q - (scale if i < 3 else 1) * x for i, (q, x) in enumerate(zip(start, g, strict=True))],
    )


class Normed(ravine.Optimizer):
    """Divides by the norm of all gradients: a rule with a sum over all tensors of its own."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        return p - self.lr * g / over_all(total(g**2))


@backends
def test_sums_over_all_tensors_of_groups_with_other_modifiers_do_not_mix(backend):
    p = parameters()
    opt = Normed([{"params": p[:3], "mods": [ClipNorm(0.1)]}, {"params": p[3:]}], lr=1.0, backend=backend)
    start, g = [x.detach().clone() for x in p], gradients(0, SHAPES)
    walk(opt, 1)
    scale = 0.1 / (math.sqrt(sum(x.square().sum().item() for x in g[:3])) + 1e-6)
    g = [scale * x if i < 3 else x for i, x in enumerate(g)]
    norm = sum(x.square().sum().item() for x in g)
    near([x.detach() for x in p], [q - x / norm for q, x in zip(start, g, strict=True)])


# what is saved, copied and changed


@each_rule
@each
def test_a_loaded_state_continues_bit_for_bit(rule, hyper, make):
    a = rule(parameters(), mods=[make()], **hyper)
    walk(a, 3)
    mod = a.param_groups[0]["mods"][0]
    for k in mod.numbers:
        setattr(mod, k, 3 if k == "seed" else 0.9 * getattr(mod, k))
    walk(a, 2, first=3)
    file = io.BytesIO()
    torch.save(a.state_dict(), file)
    file.seek(0)
    b = rule([nn.Parameter(p.detach().clone()) for p in of(a)], mods=[make()], **hyper)
    b.load_state_dict(torch.load(file, weights_only=True))
    assert b.param_groups[0]["mods"][0].as_dict() == mod.as_dict()
    equal(everything(a), everything(b))
    walk(a, 3, first=5)
    walk(b, 3, first=5)
    equal(everything(a), everything(b))


@each
def test_copies_and_pickles_continue_bit_for_bit_and_share_nothing(make):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    a = ravine.Adam(model.parameters(), mods=[make()])
    walk(a, 3)
    (_, b), c = copy.deepcopy((model, a)), pickle.loads(pickle.dumps(a))
    for opt in (a, b, c):
        walk(opt, 3, first=3)
    equal(everything(a), everything(b))
    equal(everything(a), everything(c))
    for name in a.param_groups[0]["mods"][0].numbers:
        other = 3 if name == "seed" else 0.125
        setattr(b.param_groups[0]["mods"][0], name, other)
        assert getattr(a.param_groups[0]["mods"][0], name) != other


@pytest.mark.parametrize(
    ("saved", "here"),
    [
        ([], [EMA(0.9)]),
        ([EMA(0.9)], []),
        ([EMA(0.9)], [Averaging()]),
        ([EMA(0.9), ClipNorm()], [ClipNorm(), EMA(0.9)]),
        ([EMA(0.9)], [EMA(0.9), EMA(0.9)]),
    ],
    ids=str,
)
def test_a_state_with_other_modifiers_is_refused(saved, here):
    a, b = ravine.Adam(parameters(), mods=saved), ravine.Adam(parameters(), mods=here)
    walk(a, 2)
    before = copy.deepcopy(everything(b))
    with pytest.raises(ValueError, match="mods"):
        b.load_state_dict(a.state_dict())
    equal(everything(b), before)
    assert [type(x) for x in b.param_groups[0]["mods"]] == [type(x) for x in here]


@pytest.fixture
def compilations(monkeypatch):
    made, compile_rule = [], programs.compile_rule

    def counting(rule, *given):
        made.append(rule.__name__)
        return compile_rule(rule, *given)

    monkeypatch.setattr(programs, "compile_rule", counting)
    monkeypatch.setattr(programs, "_programs", {})
    return made


@each
def test_a_number_that_changes_does_not_recompile_and_counts(make, compilations):
    shapes = [(3, 5), (2, 3, 2, 2), (30, 20)]
    opt = ravine.SGD(parameters(torch.float32, shapes), lr=0.1, momentum=0.5, mods=[make()])
    walk(opt, 1)
    arranged = opt._arranged
    mod = opt.param_groups[0]["mods"][0]
    for t, factor in enumerate((0.5, 0.25), 1):
        for k in mod.numbers:
            setattr(mod, k, t if k == "seed" else factor * getattr(mod, k))
        walk(opt, 1, first=t)
    assert compilations == ["SGD"] and opt._arranged is arranged
    if any(k not in ("eps", "floor", "start", "every") for k in mod.numbers):
        still = ravine.SGD(parameters(torch.float32, shapes), lr=0.1, momentum=0.5, mods=[make()])
        walk(still, 3)
        assert differ(everything(opt), everything(still))


FLAGS = pytest.mark.parametrize(
    ("make", "flag", "value"),
    [
        (lambda: DecoupledDecay(0.1), "scale", "independent"),
        (Cautious, "plus_one", True),
        (lambda: EMA(0.9), "warmup", "ramp"),
    ],
    ids=["decay", "cautious", "ema"],
)


@FLAGS
def test_a_modifier_with_another_flag_recompiles_and_counts(make, flag, value, compilations):
    opt = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(opt, 2)
    many = len(compilations)
    (mod,) = opt.param_groups[0]["mods"]
    opt.param_groups[0]["mods"] = (type(mod)(**vars(mod) | {flag: value}),)
    walk(opt, 2, first=2)
    assert len(compilations) > many
    still = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(still, 4)
    assert differ(everything(opt), everything(still))


@FLAGS
def test_a_flag_that_is_set_in_place_counts_or_is_refused(make, flag, value):
    opt = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(opt, 2)
    try:
        setattr(opt.param_groups[0]["mods"][0], flag, value)
    except (AttributeError, TypeError, ValueError):
        return
    walk(opt, 2, first=2)
    still = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[make()])
    walk(still, 4)
    assert differ(everything(opt), everything(still))


def test_a_number_that_is_set_is_checked_and_may_be_whole(compilations):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[ClipNorm(0.5)])
    (mod,) = opt.param_groups[0]["mods"]
    walk(opt, 1)
    mod.max_norm = 1
    walk(opt, 1, first=1)
    mod.max_norm = 2
    walk(opt, 1, first=2)
    assert compilations == ["SGD"] and mod.numbers == ("max_norm", "eps")
    with pytest.raises(ValueError, match="max_norm"):
        mod.max_norm = -1.0


def test_a_number_of_one_group_is_not_that_of_another():
    p = parameters()
    given = [ClipValue(0.5)]
    opt = ravine.SGD([{"params": p[:2]}, {"params": p[2:]}], lr=0.1, mods=given)
    opt.param_groups[0]["mods"][0].max_value = 0.1
    assert opt.param_groups[1]["mods"][0].max_value == 0.5 == given[0].max_value


# averages


@backends
@pytest.mark.parametrize(
    ("dtype", "storage"),
    [
        (torch.float64, None),
        (torch.float32, None),
        (torch.bfloat16, None),
        (torch.bfloat16, "float32"),
        (torch.float16, "float32"),
    ],
    ids=str,
)
@each_average
def test_eval_and_train_lose_no_bit(make, dtype, storage, backend):
    opt = ravine.Adam(parameters(dtype), lr=0.01, mods=[make()], storage=storage, backend=backend)
    walk(opt, 4)
    name = type(make()).__name__.lower()
    before = copy.deepcopy(everything(opt))
    averages = [opt.state[p][f"{name}_average"].clone() for p in of(opt)]
    for _ in range(2):
        opt.eval()
        opt.eval()
        equal([p.detach() for p in of(opt)], [a.to(dtype) for a in averages])
        with pytest.raises(RuntimeError, match=r"train\(\)"):
            opt.step()
        equal([p.detach() for p in of(opt)], [a.to(dtype) for a in averages])
        opt.train()
        opt.train()
        equal(everything(opt), before)
    untouched = ravine.Adam(parameters(dtype), lr=0.01, mods=[make()], storage=storage, backend=backend)
    walk(untouched, 4)
    equal(walk(opt, 2, first=4), walk(untouched, 2, first=4))
    opt.eval()
    untouched.eval()
    equal([p.detach() for p in of(opt)], [p.detach() for p in of(untouched)])


@pytest.mark.parametrize(
    "mods", [[EMA(0.9), EMA(0.5)], [EMA(0.9), Averaging(), L1(0.1), EMA(0.5)]], ids=["two", "many"]
)
@pytest.mark.parametrize("rule", [ravine.SGD, ravine.NAG, ravine.ScheduleFreeSGD])
def test_of_several_averages_the_last_is_shown(rule, mods):
    opt = rule(parameters(), lr=0.1, mods=mods)
    walk(opt, 4)
    before = copy.deepcopy(everything(opt))
    last = [opt.state[p][[k for k in opt.state[p] if k.endswith("average")][-1]].clone() for p in of(opt)]
    opt.eval()
    near([p.detach() for p in of(opt)], last, 0 if rule is ravine.SGD else 1)
    opt.train()
    equal(everything(opt), before)


def test_eval_before_the_first_step_shows_the_weights():
    opt = ravine.Adam(parameters(), mods=[EMA(0.9), Averaging()])
    opt.eval()
    near([p.detach() for p in of(opt)], [p.detach() for p in parameters()], 0)
    opt.train()
    walk(opt, 1)


@each_average
def test_the_average_is_saved_while_it_is_shown(make):
    a = ravine.Adam(parameters(), mods=[make()])
    walk(a, 3)
    a.eval()
    b = ravine.Adam([nn.Parameter(p.detach().clone()) for p in of(a)], mods=[make()])
    b.load_state_dict(a.state_dict())
    b.train()
    a.train()
    equal(walk(a, 2, first=3), walk(b, 2, first=3))


@pytest.mark.parametrize("kinds", [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)], ids=str)
@each_average
def test_the_type_may_change_while_an_average_is_shown(make, kinds):
    model = nn.Linear(3, 1).to(kinds[0])
    opt = ravine.SGD(model.parameters(), lr=0.5, mods=[make()], storage="float32")
    for _ in range(5):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        opt.step()
    weights = [p.detach().clone() for p in model.parameters()]
    opt.eval()
    model.to(kinds[1])
    opt.train()
    equal([p.detach() for p in model.parameters()], [w.to(kinds[1]) for w in weights])


@each_average
def test_an_average_of_half_precision_goes_on_in_float32(make):
    p = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    p.grad = torch.ones_like(p)
    opt = ravine.Adam([p], mods=[make()], storage="float32")
    opt.step()
    q = nn.Parameter(p.detach().float())
    other = ravine.Adam([q], mods=[make()], storage="float32")
    other.load_state_dict(opt.state_dict())
    name = f"{type(make()).__name__.lower()}_average"
    assert torch.equal(other.state[q][name], opt.state[p][name])


def test_what_no_longer_counts_is_loaded_again():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.AdaBelief([p], amsgrad=True, mods=[EMA(0.5)])
    opt.step()
    opt.param_groups[0].update(mods=(), amsgrad=False)
    opt.step()
    opt.load_state_dict(opt.state_dict())
    opt.step()


def test_modifiers_may_be_taken_off_while_their_average_is_shown():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.SGD([p], lr=0.1, mods=[EMA(0.5)])
    opt.step()
    weights = p.detach().clone()
    opt.eval()
    opt.param_groups[0]["mods"] = ()
    opt.train()
    assert torch.equal(p, weights)
    opt.step()


def test_two_modifiers_with_one_name_keep_two_states():
    class Other(EMA):
        pass

    Other.__name__ = "EMA"
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.SGD([p], lr=0.1, mods=[EMA(0.5), Other(0.9)])
    opt.step()
    assert set(opt.state[p]) == {"ema_average", "ema1_average", "step"}


# written out by hand


@backends
def test_clipping_adamw_and_an_average_are_the_loop_one_would_write(backend):
    a, b = parameters(), parameters()
    opt = ravine.AdamW(a, lr=0.01, mods=[ClipNorm(1.0), EMA(0.9)], backend=backend)
    theirs = torch.optim.AdamW(b, lr=0.01)
    average = [p.detach().clone() for p in b]
    for t in range(10):
        walk(opt, 1, first=t)
        for p, g in zip(b, gradients(t, SHAPES), strict=True):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(b, 1.0)
        theirs.step()
        for x, p in zip(average, b, strict=True):
            x.mul_(0.9).add_(p.detach(), alpha=0.1)
        near([p.detach() for p in a], [p.detach() for p in b])
    opt.eval()
    near([p.detach() for p in a], average)


@pytest.mark.parametrize("mean", [False, True])
def test_averages_are_those_of_torchs_averaged_model(mean):
    from torch.optim import swa_utils

    make = nn.Linear(4, 3).double()
    ours, theirs = copy.deepcopy(make), copy.deepcopy(make)
    opt = ravine.SGD(ours.parameters(), lr=0.1, mods=[Averaging(3) if mean else EMA(0.8)])
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(
        theirs, **({} if mean else {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)})
    )
    if not mean:
        averaged.update_parameters(theirs)  # takes the initial weights, which ours begins with
    for t in range(8):
        walk(opt, 1, first=t)
        for p, g in zip(theirs.parameters(), gradients(t, [p.shape for p in theirs.parameters()]), strict=True):
            p.grad = g
        torchs.step()
        if not mean or t >= 3:
            averaged.update_parameters(theirs)
    opt.eval()
    near([p.detach() for p in ours.parameters()], [p.detach() for p in averaged.module.parameters()])


def test_one_model_an_epoch_is_torchs_swa():
    """With its schedule, and the statistics of batch normalization gathered anew."""
    from torch.optim import swa_utils

    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)).double()
    theirs, x = copy.deepcopy(ours), torch.randn(5, 8, 4).double()
    a = ravine.SGD(ours.parameters(), lr=0.1, momentum=0.9, mods=[Averaging(start=5, every=5)])
    b = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    averaged = swa_utils.AveragedModel(theirs)
    schedules = [swa_utils.SWALR(opt, swa_lr=0.05, anneal_epochs=2) for opt in (a, b)]
    for epoch in range(4):
        for batch in x:
            for model, opt in ((ours, a), (theirs, b)):
                opt.zero_grad()
                (model(batch) - batch.sum(1, keepdim=True)).square().mean().backward()
                opt.step()
        if epoch >= 1:
            averaged.update_parameters(theirs)
        for schedule in schedules:
            schedule.step()
    a.eval()
    for model in (ours, averaged):
        swa_utils.update_bn(x, model)
    near([*ours.parameters(), *ours.buffers()], [*averaged.module.parameters(), *averaged.module.buffers()])


def seen(mod, steps=6):
    """What a modifier of the gradient gives SGD, and what it was given."""
    opt = ravine.SGD(parameters(), lr=1.0, mods=[mod], backend="reference")
    out = []
    for t in range(steps):
        before = [p.detach().clone() for p in of(opt)]
        after = walk(opt, 1, first=t)
        out.append([x - y for x, y in zip(before, after, strict=True)])
    return out


@pytest.mark.parametrize("decay", [0.0, 0.8, 0.999999, 1.0])
def test_gradient_averaging_weighs_older_gradients_less(decay):
    for t, found in enumerate(seen(GradientAveraging(decay))):
        weights = [decay ** (t - k) for k in range(t + 1)]
        many = [gradients(k, SHAPES) for k in range(t + 1)]
        expected = [
            sum(w * g[i] for w, g in zip(weights, many, strict=True)) / sum(weights) for i in range(len(SHAPES))
        ]
        near(found, expected, 1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("warmup", [None, "ramp", "unbiased"])
def test_the_average_holds_what_its_warmup_says(decay, warmup):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[EMA(decay, warmup)])
    path, average = [[p.detach().clone() for p in of(opt)]], None
    average = path[0]
    for t in range(1, 16):
        path.append(walk(opt, 1, first=t))
        beta = min(decay, (1 + t) / (10 + t)) if warmup == "ramp" else decay
        average = [beta * a + (1 - beta) * p for a, p in zip(average, path[-1], strict=True)]
    if warmup == "unbiased":
        weights = [decay ** (15 - k) for k in range(1, 16)]
        average = [
            sum(w * x[i] for w, x in zip(weights, path[1:], strict=True)) / sum(weights) for i in range(len(SHAPES))
        ]
    opt.eval()
    near([p.detach() for p in of(opt)], average)


@pytest.mark.parametrize("every", [1, 2, 3, 7])
@pytest.mark.parametrize("start", [0, 1, 4, 20])
@backends
def test_the_tail_average_is_a_mean_of_every_kth(start, every, backend):
    opt = ravine.SGD(parameters(), lr=0.1, mods=[Averaging(start, every=every)], backend=backend)
    path = [walk(opt, 1, first=t) for t in range(9)]
    opt.eval()
    tail = path[start + every - 1 :: every] or path[-1:]
    near([p.detach() for p in of(opt)], [torch.stack([x[i] for x in tail]).mean(0) for i in range(len(SHAPES))])


@backends
def test_decoupled_decay_is_adamws(backend):
    a = ravine.Adam(parameters(), lr=0.01, mods=[DecoupledDecay(0.3)], backend=backend)
    near(walk(a), walk(torch.optim.AdamW(parameters(), lr=0.01, weight_decay=0.3)))
    a.param_groups[0]["lr"] = torch.tensor(0.02)
    walk(a, 1)


def test_independent_decay_does_not_know_the_rate():
    for lr in (0.0, 0.1):
        opt = ravine.SGD(parameters(), lr=lr, mods=[DecoupledDecay(0.3, "independent")])
        expected = [0.7 * p.detach() - lr * g for p, g in zip(parameters(), gradients(0, SHAPES), strict=True)]
        near(walk(opt, 1), expected)


@each_rule
def test_no_decay_is_the_rule_itself(rule, hyper):
    equal(walk(rule(parameters(), mods=[DecoupledDecay(0.0), L1(0.0)], **hyper)), walk(rule(parameters(), **hyper)))


# facts


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("backend", ["reference", "llvm"])
@pytest.mark.parametrize(
    ("mod", "clip"),
    [
        (ClipNorm(1.0), lambda params: torch.nn.utils.clip_grad_norm_(params, 1.0)),
        (ClipTensorNorm(1.0), lambda params: [torch.nn.utils.clip_grad_norm_(p, 1.0) for p in params]),
        (ClipValue(0.5), lambda params: torch.nn.utils.clip_grad_value_(params, 0.5)),
    ],
    ids=["norm", "tensor_norm", "value"],
)
def test_what_is_not_finite_is_clipped_as_in_torch(mod, clip, bad, backend):
    shapes = [(3, 4), (5,)]
    a, b = parameters(shapes=shapes), parameters(shapes=shapes)
    for params in (a, b):
        for p, g in zip(params, gradients(0, shapes), strict=True):
            p.grad = g
        params[0].grad[1, 1] = bad
    ravine.SGD(a, lr=1.0, mods=[mod], backend=backend).step()
    clip(b)
    expected = [p.detach() - p.grad for p in b]
    for x, y in zip(a, expected, strict=True):
        assert torch.equal(x.isnan(), y.isnan())
        near([x.detach().nan_to_num()], [y.nan_to_num()], 1e-12)


def test_gradients_in_memory_stay_as_they_are():
    for make in ALL.values():
        opt = ravine.Adam(parameters(), mods=[make()])
        walk(opt, 1)
        equal([p.grad for p in of(opt)], gradients(0, SHAPES))


def test_a_short_gradient_is_not_clipped():
    for mod in (ClipNorm(1e6), ClipTensorNorm(1e6), ClipValue(1e6), AGC(1e6)):
        equal(walk(ravine.SGD(parameters(), lr=0.1, mods=[mod])), walk(ravine.SGD(parameters(), lr=0.1)))


def test_adaptive_clipping_leaves_no_unit_above_its_share():
    start = parameters()
    for p, g, raw in zip(start, seen(AGC(0.05, eps=1e-2), 1)[0], gradients(0, SHAPES), strict=True):
        units = (lambda x: x.reshape(1, -1)) if p.dim() < 2 else (lambda x: x.reshape(x.shape[0], x.shape[1:].numel()))
        most = 0.05 * units(p.detach()).norm(dim=1).clamp(min=1e-2)
        found, long = units(g).norm(dim=1), units(raw).norm(dim=1) > most
        near([found[long]], [most[long]])
        near([units(g)[~long]], [units(raw)[~long]])


def test_adaptive_clipping_lets_zero_weights_move():
    p = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    p.grad = torch.ones_like(p)
    ravine.SGD([p], lr=1.0, mods=[AGC()]).step()
    near([p.detach().norm(dim=1)], [torch.full((3,), 0.01 * 1e-3, dtype=torch.float64)], 1e-15)


def test_centralized_rows_keep_their_sums_and_vectors_are_left_alone():
    for p, g, raw in zip(parameters(), seen(Centralize(), 1)[0], gradients(0, SHAPES), strict=True):
        expected = raw - raw.mean(dim=tuple(range(1, raw.dim())), keepdim=True) if p.dim() > 1 else raw
        near([g], [expected])


@backends
def test_the_noise_has_the_papers_variance(backend):
    """η at the first step and η / (1 + k)^γ after k: of 200,000 numbers, to five standard errors."""
    p = nn.Parameter(torch.zeros(200_000, dtype=torch.float64))
    opt = ravine.SGD([p], lr=1.0, mods=[GradientNoise(0.3, 0.55)], backend=backend)
    for k in range(5):
        p.grad = torch.zeros_like(p)
        before = p.detach().clone()
        opt.step()
        noise = p.detach() - before
        sigma2 = 0.3 / (1 + k) ** 0.55
        assert abs(noise.var().item() / sigma2 - 1) < 5 * math.sqrt(2 / 200_000)
        assert abs(noise.mean().item()) < 5 * math.sqrt(sigma2 / 200_000)


def test_noise_is_of_seed_step_and_place():
    def noise(seed, steps=2):
        opt = ravine.SGD(
            [nn.Parameter(torch.zeros(50)) for _ in range(2)], lr=1.0, mods=[GradientNoise(1.0, seed=seed)]
        )
        for _ in range(steps):
            for p in of(opt):
                p.grad = torch.zeros_like(p)
            opt.step()
        return [p.detach().clone() for p in of(opt)]

    equal(noise(1), noise(1))
    assert not torch.equal(noise(1)[0], noise(2)[0]) and not torch.equal(*noise(1))
    assert not torch.allclose(noise(1)[0], noise(1, 1)[0] * (1 + math.sqrt(2**-0.55)))


@each_rule
@backends
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [Cautious, Grams])
def test_no_weight_moves_against_its_gradient(make, rule, hyper, backend, dtype):
    opt = rule(parameters(dtype), mods=[make()], backend=backend, **hyper)
    plain = rule(parameters(dtype), backend=backend, **hyper)
    wrong = 0
    for t in range(12):
        for which in (opt, plain):
            before = [p.detach().double().clone() for p in of(which)]
            after = walk(which, 1, first=t)
            for x, y, p in zip(before, after, of(which), strict=True):
                against = ((x - y.double()) * p.grad.double() < 0).sum().item()
                wrong += against if which is plain else 0
                assert which is plain or not against
    assert wrong  # a rule that is left alone does


@backends
@pytest.mark.parametrize("plus_one", [False, True])
def test_cautious_steps_are_masked_and_rescaled(backend, plus_one):
    """u φ n / Σφ for the step u that the rule alone would make; the first and the widest case by hand."""
    a = ravine.SGD(parameters(), lr=0.1, momentum=0.9, mods=[Cautious(plus_one=plus_one)], backend=backend)
    m = [torch.zeros_like(p) for p in of(a)]
    for t in range(6):
        before = [p.detach().clone() for p in of(a)]
        after = walk(a, 1, first=t)
        for x, y, b, g in zip(before, after, m, gradients(t, SHAPES), strict=True):
            b.mul_(0.9).add_(g)
            phi = (b * g > 0).double()
            share = (phi.sum() + 1) / max(1, phi.numel()) if plus_one else phi.mean().clamp(min=1e-3)
            near([x - y], [0.1 * b * phi / share], 1e-11)


def test_caution_has_a_floor_and_counts_small_products():
    p = nn.Parameter(torch.zeros(10_000, dtype=torch.float32))
    opt = ravine.SGD([p], lr=1.0, momentum=0.9, mods=[Cautious()])
    p.grad = torch.ones_like(p)
    opt.step()
    p.grad = torch.full_like(p, -1e-3)
    p.grad[0] = 1e-3  # one of 10,000 agrees: enlarged a thousandfold and no more
    before = p.detach().clone()
    opt.step()
    moved = before - p.detach()
    assert (moved[1:] == 0).all()
    assert moved[0].item() == pytest.approx((0.9 + 1e-3) / 1e-3, rel=1e-5)
    q = nn.Parameter(torch.zeros(3))
    q.grad = torch.tensor([1e-30, -1e-30, 1e-30])  # u g is below float32's smallest number
    ravine.SGD([q], lr=1.0, mods=[Cautious()]).step()
    near([q.detach() * 1e30], [torch.tensor([-1.0, 1.0, -1.0])], 1e-6)


@backends
def test_grams_has_the_rules_length_and_the_gradients_sign(backend):
    a = ravine.Adam(parameters(), lr=0.01, mods=[Grams()], backend=backend)
    m, v = ([torch.zeros_like(p) for p in of(a)] for _ in range(2))
    for t in range(1, 7):
        before = [p.detach().clone() for p in of(a)]
        after = walk(a, 1, first=t)
        for x, y, b, c, g in zip(before, after, m, v, gradients(t, SHAPES), strict=True):
            b.mul_(0.9).add_(g, alpha=0.1)
            c.mul_(0.999).add_(g**2, alpha=0.001)
            length = 0.01 * (b / (1 - 0.9**t)).abs() / ((c / (1 - 0.999**t)).sqrt() + 1e-8)
            near([x - y], [g.sign() * length])


def test_weight_decay_inside_the_rule_is_masked_and_beside_it_is_not():
    p = [nn.Parameter(torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)) for _ in range(2)]
    inside = ravine.AdamW(p[:1], lr=0.1, weight_decay=5.0, mods=[Cautious()])
    beside = ravine.Adam(p[1:], lr=0.1, mods=[Cautious(), DecoupledDecay(5.0)])
    for x in p:
        x.grad = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    inside.step()
    beside.step()
    near([p[0].detach()], [torch.tensor([1 - 0.6 * 2, -1, 1 - 0.6 * 2, -1], dtype=torch.float64)], 1e-7)
    near([p[1].detach()], [torch.tensor([0.4, -0.6, 0.4, -0.6], dtype=torch.float64)], 1e-7)


# what a user types


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClipNorm(-1.0), "max_norm"),
        (lambda: ClipNorm("1"), "max_norm"),
        (lambda: EMA(1.5), "decay"),
        (lambda: EMA(0.9, "slow"), "warmup"),
        (lambda: GradientAveraging(-0.1), "decay"),
        (lambda: AGC(0.0), "clipping"),
        (lambda: Cautious(0.0), "floor"),
        (lambda: Cautious(plus_one=1), "plus_one"),
        (lambda: GradientNoise(seed=0.5), "seed"),
        (lambda: L1(math.nan), "l1"),
        (lambda: ravine.Adam(parameters(), mods=[EMA]), "mods"),
        (lambda: ravine.Adam(parameters(), mods=EMA(0.9)), "mods"),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


CLASSES = [x for x in vars(ravine.mods).values() if inspect.isclass(x)]


@pytest.mark.parametrize("mod", CLASSES, ids=lambda x: x.__name__)
def test_every_modifier_is_documented(mod):
    assert {type(make()) for make in ALL.values()} == set(CLASSES)
    text = inspect.getdoc(mod)
    assert "\n\nUse it" in text and "https://" in text and "    " in text
    assert mod.papers and set(mod.papers) <= papers().keys()
