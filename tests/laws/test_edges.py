"""The corners that shipped defects elsewhere: odd gradients, odd memory, and the rest of torch around an optimizer."""

import copy
import pickle
from typing import get_args

import pytest
import torch
from cases import (
    ALL,
    NO_DECAY,
    equal,
    every_program,
    every_twin,
    gathers,
    give,
    near,
    on_llvm_and_slowly_on_the_reference,
    parameters,
    products,
    slow,
    states,
    walk,
)
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import ravine
from ravine.rule import programs
from ravine.rule.hyper import fields
from ravine.testing import laws
from ravine.testing.subject import Subject

SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2)]
# an element's step depends on the whole tensor
ACROSS = {"Adafactor", "AdamMini", "AdamP", "CAME", "LAMB", "LARS", "LDoG", "MARS", "NovoGrad", "SGDP", "StableAdamW"}
# a step is as long as the gradient unless lr is given
LONG_STEPS = {"DoG", "DoWG", "LDoG", "MoMo", "ScheduleFreeSGD", "SGDP"}
SIGN_ALONE = {"SignSGD"}  # an infinite gradient makes a step like any other


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def pair(cls, make=parameters, **hyper):
    return cls(make(SHAPES), **hyper), cls.twin(make(SHAPES), **hyper)


def agree(a, b, tolerance=2e-6):
    for p, q in zip(of(a), of(b), strict=True):
        near(p, q, tolerance)


# gradients


@every_program
def test_zero_gradients_leave_the_weights_and_are_finite(cls):
    opt = cls(parameters(SHAPES), **{k: x for k, x in NO_DECAY.items() if k in fields(cls)})
    before = [p.detach().clone() for p in of(opt)]
    walk(opt, 3, scale=0.0)
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)
    walk(opt, 3)
    assert all(p.isfinite().all() for p in of(opt))


@every_program
def test_a_dead_row_and_a_dead_column_are_finite(cls):
    forms = get_args(fields(cls)["form"][0]) if "form" in fields(cls) else ()
    for hyper in [{"form": form} for form in forms] or [{}]:
        laws.dead_rows_and_columns(Subject(cls, hyper, lambda opt, t: {}))


@every_program
def test_zero_weights_can_leave_zero(cls):
    opt = cls([nn.Parameter(torch.zeros(5))])
    walk(opt, 3)
    assert of(opt)[0].isfinite().all() and (of(opt)[0] != 0).all()


@every_program
def test_empty_tensors_and_no_gradients_are_no_trouble(cls):
    empty = cls(parameters([(0,), (0, 3), (2, 0, 4)]))
    walk(empty, 2)
    assert all(float(empty.state[p]["step"]) == 2 for p in of(empty))
    opt = cls(parameters(SHAPES))
    before = [p.detach().clone() for p in of(opt)]
    opt.step()
    opt.step()
    assert not opt.state
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)


@every_program
def test_gradients_are_never_changed(cls):
    for layout in (lambda g: g, lambda g: g.t().contiguous().t()):
        opt = cls(parameters([(3, 5)]), maximize=True)
        for t in range(2):
            give(of(opt), t)
            of(opt)[0].grad = g = layout(of(opt)[0].grad)
            kept, version = g.clone(), g._version
            opt.step()
            assert of(opt)[0].grad is g and g._version == version
            equal(g, kept)


@every_program
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), *slow(float("-inf"))])
@on_llvm_and_slowly_on_the_reference
def test_nan_and_inf_come_through_and_only_where_they_are(cls, bad, backend):
    a, b = cls(parameters([(40,), (3,)]), backend=backend), cls(parameters([(40,), (3,)]), backend=backend)
    for opt in (a, b):
        walk(opt, 2)
        give(of(opt), 2)
        if opt is a:
            of(a)[0].grad[17] = bad
        opt.step()
    hit = torch.zeros(40, dtype=torch.bool)
    hit[17] = True
    if cls.__name__ not in ACROSS and not gathers(a) and not products(a):
        equal(of(a)[0].detach()[~hit], of(b)[0].detach()[~hit])
    kept = [x[17] for x in states(a, of(a)[0]).values()]
    if bad != bad or cls.__name__ not in SIGN_ALONE:
        assert not all(x.isfinite() for x in (of(a)[0][17], *kept))
    assert bad == bad or of(a)[0][17].isnan()
    if not gathers(a):
        equal(of(a)[1].detach(), of(b)[1].detach())


@every_twin
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_inf_do_what_they_do_in_torch(cls, bad):
    if cls is ravine.Rprop and bad != bad:
        pytest.skip("the sign of NaN is 0 in torch, which hides it")
    a, b = pair(cls)
    for opt in (a, b):
        walk(opt, 2)
        give(of(opt), 2)
        of(opt)[2].grad[1, 3] = bad
        opt.step()
    agree(a, b)


@every_twin
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("when", [0, 2])
def test_what_nan_and_inf_have_left_goes_on_as_in_torch(cls, when, bad):
    """In the steps after it too: a norm of weights of which one is NaN is NaN, and torch does not always use it."""
    if cls is ravine.Rprop and bad != bad:
        pytest.skip("the sign of NaN is 0 in torch, which hides it")
    a, b = pair(cls)
    for opt in (a, b):
        for t in range(5):
            give(of(opt), t)
            if t == when:
                of(opt)[1].grad[2] = of(opt)[2].grad[1, 3] = bad
            opt.step()
    for p, q in zip(of(a), of(b), strict=True):  # torch's lerp makes NaN of an average that is infinite
        p, q = (x.detach().where(x.isfinite(), torch.nan) for x in (p, q))
        near(p, q, 2e-6)


@every_program
@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30])
def test_tiny_and_huge_gradients_are_sane(cls, size):
    a, b = (cls(parameters([(40,)]), backend=backend) for backend in ("llvm", "reference"))
    walk(a, 3, scale=size)
    walk(b, 3, scale=size)
    near(of(a)[0], of(b)[0], 1e-4 if size < 1 else 1e-5)
    if size < 1:
        assert of(a)[0].isfinite().all()


@pytest.mark.parametrize("cls", [cls for cls in ALL.values() if not cls.sparse])
def test_sparse_gradients_are_refused_by_name(cls):
    embedding = nn.Embedding(4, 3, sparse=True)
    opt = cls([*parameters([(2,)]), *embedding.parameters()])
    of(opt)[0].grad = torch.ones(2)
    embedding(torch.tensor([1])).sum().backward()
    before = [p.detach().clone() for p in of(opt)]
    with pytest.raises(RuntimeError, match=r"parameter 1 of shape \(4, 3\).*sparse.*(SGD|Adam)"):
        opt.step()
    assert not opt.state
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)


# memory


LAYOUTS = {
    "transposed": lambda x: x.transpose(1, 3).contiguous().transpose(1, 3),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every_other": lambda x: torch.stack([x, x], -1)[..., 0],
    "expanded": lambda x: x[:, :1].expand(x.shape),
}


@every_program
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("weights", ["transposed", "channels_last", *slow("contiguous", "every_other")])
def test_order_in_memory_does_not_matter(cls, weights, backend):
    shape = (4, 3, 5, 2)
    (start,) = parameters([shape])
    plain = cls([start], backend=backend)
    odd = cls([nn.Parameter(LAYOUTS.get(weights, lambda x: x)(start.detach().clone()))], backend=backend)
    p = of(odd)[0]
    strides = p.stride()
    for t, layout in enumerate([*LAYOUTS.values(), *LAYOUTS.values()]):
        give([start], t)
        start.grad = layout(start.grad).clone(memory_format=torch.contiguous_format)
        p.grad = layout(start.grad.clone())
        plain.step()
        odd.step()
    near(p, start, 1e-6 if cls.__name__ in ACROSS or gathers(odd) or products(odd) else 0)
    assert p.stride() == strides


@every_program
def test_a_gradient_in_another_order_where_the_last_one_lay_is_seen(cls):
    memory = torch.empty(12)
    p, q = parameters([(3, 4)] * 2)
    q.data.copy_(p.data)
    a, b = cls([p]), cls([q])
    for t in range(4):
        give([q], t)
        p.grad = memory.view(3, 4) if t % 2 else memory.view(4, 3).t()
        p.grad.copy_(q.grad)
        a.step()
        b.step()
    near(p, q, 1e-5 if products(a) else 1e-6)  # eigenvectors magnify rounding; read in the wrong order: above 1e-4


@every_program
@pytest.mark.parametrize("other", [torch.float64, *slow(torch.bfloat16)], ids=str)
def test_weights_may_change_type_between_steps(cls, other):
    model = nn.Sequential(nn.Linear(300, 7), nn.Linear(7, 3))
    far = 1 if cls.__name__ in LONG_STEPS else 30  # enough for bfloat16 to see it
    opt = cls(model.parameters(), lr=far * cls.lr)
    walk(opt, 2)
    kinds = [{k: x.dtype for k, x in states(opt, p).items()} for p in of(opt)]
    model.to(other)
    before = [p.detach().clone() for p in of(opt)]
    walk(opt, 2)
    for p, old, kind in zip(of(opt), before, kinds, strict=True):
        assert p.dtype == other and p.isfinite().all() and not torch.equal(p, old)
        assert (p - old).abs().max() < 10
        assert {k: x.dtype for k, x in states(opt, p).items()} == kind
        assert float(opt.state[p]["step"]) == 4


@every_program
def test_weights_may_change_order_in_memory_between_steps(cls):
    a, b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    b.load_state_dict(a.state_dict())
    first, second = cls(a.parameters()), cls(b.parameters())
    walk(first, 2)
    walk(second, 2)
    a.to(memory_format=torch.channels_last)
    walk(first, 2, first=2)
    walk(second, 2, first=2)
    agree(first, second, 1e-6)


@every_program
def test_weights_that_change_shape_are_refused(cls):
    opt = cls(parameters([(6,), (2,)]))
    walk(opt, 2)
    if not states(opt, of(opt)[0]):
        pytest.skip("it has no state of the old shape")
    of(opt)[0].data = torch.ones(9)
    kept = of(opt)[1].detach().clone()
    with pytest.raises(RuntimeError, match=r"parameter 0 of shape \(9,\).*\(6,\)"):
        walk(opt, 1)
    equal(of(opt)[1].detach(), kept)


@every_program
def test_complex_weights_are_torchs_or_refused(cls):
    def make(shapes):
        return [
            nn.Parameter(torch.complex(a.detach(), b.detach()))
            for a, b in zip(parameters(shapes), parameters(shapes, 1), strict=True)
        ]

    if cls.twin is None or cls.real_only:
        with pytest.raises(ValueError, match=f"parameter 0 .*complex.*{cls.__name__}.*view_as_real"):
            cls(make(SHAPES))
        return
    for backend in ("llvm", "reference"):
        a, b = cls(make(SHAPES), backend=backend), cls.twin(make(SHAPES))
        for t in range(4):
            for opt in (a, b):
                for i, p in enumerate(of(opt)):
                    g = torch.complex(*(x.detach() for x in parameters([p.shape] * 2, 10 * t + i)))
                    p.grad = g.conj() if t % 2 else g
                    if opt is b:  # torch itself cannot take these
                        p.grad = p.grad.resolve_conj()
                opt.step()
        for p, q in zip(of(a), of(b), strict=True):
            near(torch.view_as_real(p.detach()), torch.view_as_real(q.detach()), 2e-6)
            assert all(x.dtype == p.dtype for k, x in states(a, p).items())


def test_a_lazily_negated_gradient_is_negated():
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.full((3,), 1j).conj().imag
    assert p.grad.is_neg()
    ravine.SGD([p], lr=1.0).step()
    equal(p.detach(), torch.ones(3))


# torch's autograd around a step


@every_program
def test_a_step_is_seen_by_autograd(cls):
    p = nn.Parameter(torch.ones(3))
    opt = cls([p])
    loss = (p**2).sum()
    p.grad = torch.ones(3)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_program
def test_a_closure_is_called_once_with_gradients_on(cls):
    opt, calls = cls(parameters([(3,)])), []

    def closure():
        calls.append(torch.is_grad_enabled())
        opt.zero_grad()
        loss = (of(opt)[0] ** 2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        before = (of(opt)[0] ** 2).sum()
        loss = opt.step(closure)
    assert calls == [True] and loss == before


@every_twin
def test_hooks_of_one_optimizer_and_of_all_run_as_in_torch(cls):
    orders = []
    for kind in (cls, cls.twin):
        opt, seen = kind(parameters([(3,)])), []
        handles = [
            opt.register_step_pre_hook(lambda *_, seen=seen: seen.append("pre")),
            opt.register_step_post_hook(lambda *_, seen=seen: seen.append("post")),
            register_optimizer_step_pre_hook(lambda *_, seen=seen: seen.append("all pre")),
            register_optimizer_step_post_hook(lambda *_, seen=seen: seen.append("all post")),
        ]
        walk(opt, 1)
        for handle in handles:
            handle.remove()
        walk(opt, 1)
        orders.append(seen)
    assert orders[0] == orders[1] and len(orders[0]) == 4


@every_program
def test_the_profiler_names_the_step(cls):
    opt = cls(parameters([(3,)]))
    walk(opt, 1)
    with torch.profiler.profile() as seen:
        walk(opt, 1)
    assert f"Optimizer.step#{cls.__name__}.step" in {e.name for e in seen.events()}


@every_program
def test_grad_scaler_skips_the_step_where_a_gradient_is_infinite(cls):
    opt = cls(parameters([(3,)]))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    p = of(opt)[0]
    walk(opt, 1)  # the first step of some rules moves nothing
    for bad in (False, True, False):
        opt.zero_grad()
        before = p.detach().clone()
        scaler.scale((p * (torch.inf if bad else 1.0)).sum()).backward()
        scaler.step(opt)
        scaler.update()
        assert torch.equal(p, before) == bad
    assert float(opt.state[p]["step"]) == 3


SCHEDULERS = {
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 if t < 2 else 0.5),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9),
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [1, 3]),
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.5, 2),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=3),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 4),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
    "warm restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 2)]),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=False),
    "cyclic momentum": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 8),
    "one cycle, lr alone": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 8, cycle_momentum=False),
    "swa": lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 3),
}


def test_no_scheduler_is_missing():
    theirs = {x for x in vars(lr_scheduler).values() if isinstance(x, type) and issubclass(x, lr_scheduler.LRScheduler)}
    mine = {type(make(torch.optim.SGD(parameters([(2,)]), lr=0.1, momentum=0.9))) for make in SCHEDULERS.values()}
    assert {x.__name__ for x in theirs - mine} <= {"LRScheduler", "_LRScheduler"}


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS.keys())
@pytest.mark.parametrize("cls", [ravine.SGD, ravine.Adam, ravine.RMSprop], ids=["sgd", "adam", "rmsprop"])
def test_schedulers_of_torch_drive_it_as_they_drive_torchs(cls, make):
    extra = {"momentum": 0.9} if cls is not ravine.Adam else {}
    a, b = pair(cls, lr=0.1, **extra)
    followed = []
    for opt in (a, b):
        scheduler, rates = make(opt), []
        for t in range(6):
            walk(opt, 1, first=t)
            scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
            rates.append(float(opt.param_groups[0]["lr"]))
        followed.append(rates)
    assert followed[0] == followed[1]
    agree(a, b, 1e-5)


@every_program
def test_every_optimizer_takes_one_cycle(cls):
    opt = cls(parameters(SHAPES))
    momentum = "betas" in opt.defaults or "momentum" in opt.defaults
    scheduler = lr_scheduler.OneCycleLR(opt, 0.1, 8, cycle_momentum=momentum)
    for t in range(6):
        walk(opt, 1, first=t)
        scheduler.step()
    assert all(p.isfinite().all() for p in of(opt))


# parameters


@every_program
def test_named_parameters(cls):
    model = nn.Linear(3, 2)
    opt = cls(model.named_parameters())
    walk(opt, 2)
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = cls(nn.Linear(3, 2).named_parameters())
    other.load_state_dict(opt.state_dict())
    assert other.param_groups[0]["param_names"] == ["weight", "bias"]


@every_program
def test_a_group_added_later_has_its_own_hyperparameters(cls):
    p = parameters(SHAPES)
    a = cls(p[:2])
    walk(a, 2)
    a.add_param_group({"params": (x for x in p[2:]), "lr": 0.0})
    before = [x.detach().clone() for x in p]
    walk(a, 3)  # an odd number: two steps of one length may lead back
    assert [torch.equal(x, old) for x, old in zip(p, before, strict=True)][:2] == [False, False]
    if cls.__name__ != "Rprop":  # whose steps begin at lr, and are kept within step_sizes
        assert all(torch.equal(x, old) for x, old in zip(p[2:], before[2:], strict=True))
    assert [float(a.state[x]["step"]) for x in p] == [5, 5, 3, 3]


@every_program
def test_a_parameter_list_may_be_emptied_and_replaced(cls):
    p, q = parameters(SHAPES), parameters(SHAPES, 5)
    opt = cls(p)
    if gathers(opt):
        pytest.skip("what is common to all tensors outlives them")
    walk(opt, 2)
    opt.param_groups[0]["params"].clear()
    opt.step()
    opt.param_groups[0]["params"] = q
    fresh = cls(parameters(SHAPES, 5))
    walk(opt, 2)
    walk(fresh, 2)
    agree(opt, fresh, 0)


@every_program
def test_tied_weights_move_once(cls):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    opt = cls(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    opt.step()
    assert len(of(opt)) == 1 and float(opt.state[of(opt)[0]]["step"]) == 1


@every_program
def test_a_parameter_frozen_later_stays_and_goes_on_where_it_was(cls):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    opt = cls(model.parameters())

    def step():
        opt.zero_grad()
        model(torch.ones(2, 3)).pow(2).sum().backward()
        opt.step()

    step()
    model[0].requires_grad_(False)
    before = model[0].weight.detach().clone()
    step()
    equal(model[0].weight.detach(), before)
    model[0].requires_grad_(True)
    step()
    assert float(opt.state[model[0].weight]["step"]) == 2 and float(opt.state[model[1].weight]["step"]) == 3


def test_the_look_ahead_of_nag_cannot_be_trained_at_by_mistake():
    opt = ravine.NAG(parameters(SHAPES))
    walk(opt, 2)
    opt.eval()
    with pytest.raises(RuntimeError, match=r"eval\(\).*train\(\)"):
        opt.step()
    opt.train()
    opt.step()


@pytest.mark.ci
def test_a_compiled_models_gradients_are_taken():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    fast = torch.compile(model, backend="aot_eager")  # needs no compiler on the machine
    a, b = (
        ravine.Adam(model.parameters()),
        torch.optim.Adam([nn.Parameter(p.detach().clone()) for p in model.parameters()]),
    )
    for _ in range(3):
        a.zero_grad()
        fast(torch.ones(2, 3)).pow(2).sum().backward()
        for p, q in zip(of(a), of(b), strict=True):
            q.grad = p.grad.clone()
        a.step()
        b.step()
    agree(a, b)


def test_a_step_that_failed_leaves_no_stale_pointer(monkeypatch: pytest.MonkeyPatch):
    from ravine.compile.launch.base import Tables

    p = nn.Parameter(torch.ones(2, 3))
    opt = ravine.SGD([p], lr=1.0)
    p.grad = torch.ones(2, 3)
    opt.step()
    p.grad = torch.full((3, 2), 100.0).T
    with monkeypatch.context() as patch:
        patch.setattr(Tables, "flatten", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            opt.step()
    opt.step()
    assert (p == -100).all()


def test_a_backend_that_cannot_run_leaves_no_state():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ravine.Adam([p], backend="triton")
    with pytest.raises((RuntimeError, ImportError), match="triton"):
        opt.step()
    assert not opt.state[p] and (p == 1).all()


def test_a_sparse_gradient_after_a_dense_one_is_refused_by_name():
    p = nn.Parameter(torch.ones(3, 2))
    opt = ravine.RMSprop([p])
    p.grad = torch.ones(3, 2)
    opt.step()
    p.grad = torch.ones(3, 2).to_sparse()
    with pytest.raises(RuntimeError, match="sparse gradient"):
        opt.step()


def test_memory_that_was_freed_is_refused():
    p = nn.Parameter(torch.ones(300))
    opt = ravine.SGD([p])
    p.grad = torch.ones(300)
    opt.step()
    p.data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="no memory"):
        opt.step()


def test_another_type_at_the_same_address_is_noticed():
    p = nn.Parameter(torch.ones(4, dtype=torch.float16))
    opt = ravine.SGD([p], lr=0.5)
    p.grad = torch.ones(4, dtype=torch.float16)
    opt.step()
    p.data = p.data.view(torch.bfloat16).fill_(1)
    p.grad = p.grad.view(torch.bfloat16).fill_(1)
    opt.step()
    assert (p == 0.5).all()


@pytest.mark.ci
def test_threads_may_trace_at_once():
    from concurrent.futures import ThreadPoolExecutor

    def train(seed: int) -> None:
        for cls in ALL.values():
            p = nn.Parameter(torch.ones(4))
            p.grad = torch.ones(4)
            cls([p], maximize=bool(seed % 2)).step()

    programs._programs.clear()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, range(6)))


# what lies elsewhere, or otherwise, than it did


@pytest.mark.parametrize("name", ["adafactor", "came", "sm3"])
def test_numbers_of_rows_and_columns_must_fit_the_weights(name):
    make, p, q = ALL[name], nn.Parameter(torch.ones(10, 4)), nn.Parameter(torch.ones(12, 4))
    p.grad, q.grad = torch.ones(10, 4), torch.ones(12, 4)
    opt, other = make([p]), make([q])
    opt.step()
    with pytest.raises(ValueError, match=r"has shape \(10, .\) in the state_dict; for a parameter of shape \(12, 4"):
        other.load_state_dict(opt.state_dict())
    p.data = torch.ones(4, 10)
    p.grad = torch.ones(4, 10)
    with pytest.raises(RuntimeError, match="does not fit"):
        opt.step()
    assert (p == 1).all()


def test_weights_that_are_turned_where_they_lie_are_seen():
    p, q = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.zeros(4, 4))
    q.data.copy_(p.data)
    p.grad = torch.randn(4, 4)
    q.grad = p.grad.clone()
    a, b = ravine.AdamW([p], lr=0.1), torch.optim.AdamW([q], lr=0.1)
    for _ in range(2):
        a.step()
        b.step()
        p.data, q.data = p.data.t(), q.data.t()
    near(p, q, 2e-6)


def test_weights_that_are_cut_where_they_lie_are_seen():
    p = nn.Parameter(torch.zeros(8, 2))
    whole, p.grad = p.data, torch.ones(8, 2)
    opt = ravine.SGD([p], lr=1.0)
    opt.step()
    p.data, p.grad = whole[:4], p.grad[:4]
    opt.step()
    assert (whole[:4] == -2).all() and (whole[4:] == -1).all()


def test_a_gradient_that_is_conjugated_where_it_lies_is_seen():
    p = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    p.grad = torch.full((3,), 1 + 1j)
    opt = ravine.SGD([p], lr=1.0)
    opt.step()
    p.grad = p.grad.conj()
    opt.step()
    assert (p == -2).all()


def test_states_of_another_type_are_seen():
    p = nn.Parameter(torch.ones(4))
    p.grad = torch.ones(4)
    opt = ravine.AdamW([p], lr=0.1)
    opt.step()
    for k in ("exp_avg", "exp_avg_sq"):
        opt.state[p][k].data = opt.state[p][k].data.double()
    opt.step()
    near(p, 0.999**2 - 0.1 - 0.0999 + torch.zeros(4), 1e-5)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_the_default_device_is_no_concern(backend):
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones(3, 2)
    torch.set_default_device("meta")
    try:
        for cls in (ravine.AdamW, ravine.DoG, ravine.Adafactor):
            opt = cls([p], backend=backend, mods=[ravine.mods.GradientNoise(), ravine.mods.EMA()])
            opt.step()
            opt.eval()
            opt.train()
            opt.load_state_dict(opt.state_dict())
            opt.step()
    finally:
        torch.set_default_device(None)
    assert p.isfinite().all()


# numbers over all tensors


def of_two(*, mods=((), ()), cls=ravine.DoG):
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4))
    return a, b, cls([{"params": [a], "mods": mods[0]}, {"params": [b], "mods": mods[1]}])


@pytest.mark.parametrize("cls", [ravine.DoG, ravine.DoWG])
def test_groups_with_other_modifiers_meet_in_their_sums(cls):
    far = 1e9  # a norm that clips nothing
    a, b, opt = of_two(mods=([ravine.mods.ClipNorm(far)], []), cls=cls)
    c, d, plain = of_two(cls=cls)
    for _ in range(3):
        for p in (a, b, c, d):
            p.grad = torch.ones_like(p)
        opt.step()
        plain.step()
    assert torch.equal(a, c) and torch.equal(b, d)


def test_groups_that_wait_for_each_other_are_refused_before_anything_moves():
    class Reach(ravine.mods.ClipNorm):
        pass

    mods = [ravine.mods.ClipNorm(1.0), Reach(1.0)]
    a, b, opt = of_two(mods=(mods, mods[::-1]), cls=ravine.SGD)
    a.grad, b.grad = torch.ones(3), torch.ones(4)
    with pytest.raises(ValueError, match="in different orders"):
        opt.step()
    assert (a == 1).all() and (b == 1).all()


@pytest.mark.parametrize("way", ["copy", "pickle", "save", "load"])
def test_what_all_share_is_one_after_a_copy(way):
    def walk_on(opt, a, b):
        for _ in range(5):
            a.grad, b.grad = torch.ones(3), torch.ones(4)
            opt.step()
        return [a.detach(), b.detach()]

    found = []
    for again in (False, True):
        a, b, opt = of_two()
        for _ in range(10):
            a.grad, b.grad = torch.ones(3), None
            opt.step()
        for _ in range(5):
            a.grad, b.grad = None, torch.ones(4)
            opt.step()
        if again and way == "copy":
            a, b, opt = copy.deepcopy((a, b, opt))
        elif again and way == "pickle":
            a, b, opt = pickle.loads(pickle.dumps((a, b, opt)))
        elif again:
            saved = opt.state_dict()
            _ = opt.load_state_dict(saved) if way == "load" else None
        found.append(walk_on(opt, a, b))
    for x, y in zip(*found, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("what", ["weight", "state"])
def test_what_is_expanded_is_refused_before_anything_moves(what, later, backend):
    """torch refuses to write there, after it has moved the parameters before it."""
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(5, 4))
    a.grad, b.grad = torch.ones(3), torch.ones(5, 4)
    opt = ravine.Adam([a, b], lr=0.1, backend=backend)
    if later or what == "state":
        opt.step()
    if what == "weight":
        b.data = torch.zeros(4).expand(5, 4)
    else:
        opt.state[b]["exp_avg"] = torch.zeros(5, 1).expand(5, 4)
    before, made = copy.deepcopy((a, b)), 1 if later or what == "state" else 0
    with pytest.raises(RuntimeError, match=r"parameter 1 of shape \(5, 4\).*expand.*clone"):
        opt.step()
    assert str((a, b)) == str(before)
    assert all(float(state["step"]) == made for state in opt.state.values())
    if what == "weight":
        b.data = b.data.clone()
    else:
        opt.state[b]["exp_avg"] = opt.state[b]["exp_avg"].clone()
    opt.step()
    assert not a.equal(before[0]) and not b.equal(before[1])
