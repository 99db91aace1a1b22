"""What the laws run over: every registered optimizer, its flags, odd shapes; and one way to compare."""

import inspect
import random
from functools import partial
from typing import ClassVar, Literal, get_args, get_origin

import pytest
import torch

from ravine.blocks import Flat
from ravine.compile.expr import FULL
from ravine.compile.plan import Matrix
from ravine.optim import registry
from ravine.rule.hyper import SWITCHES, fields, settle
from ravine.testing.tensors import equal as equal
from ravine.testing.tensors import near as near
from ravine.testing.tensors import parameters as parameters
from ravine.testing.tensors import values as values

ALL = registry()


class Adam2k(ALL["adam2k"]):
    """Without its warm-up, in which nothing moves."""

    warmup: int = 0


class ScheduleFreeRAdam(ALL["schedulefreeradam"]):
    """Without its silent first steps."""

    silent_sgd_phase: bool = False


class SparseAdam(ALL["sparseadam"]):
    """With dense gradients too, as the laws give them; tests/sparse has the others."""

    dense = True


class FullAdagrad(ALL["fulladagrad"]):
    """In columns of at most 40 numbers, since a law may have tensors of thousands; with an ε that is no rounding."""

    eps: float = 0.1
    view = Flat(40)


class DoG(ALL["dog"]):
    """Beginning with a step that can be seen."""

    reps_rel: float = 1e-2


class LDoG(ALL["ldog"]):
    """The same for this one."""

    reps_rel: float = 1e-2


class DoWG(ALL["dowg"]):
    """The same for this one."""

    r_eps: float = 0.1


class DAdaptSGD(ALL["dadaptsgd"]):
    """Beginning with a step that can be seen."""

    d0: float = 1e-2


class MoMo(ALL["momo"]):
    """At the same loss at every step."""

    def step(self, closure=None, *, loss=30.0):
        return super().step(closure, loss=-loss if self.param_groups[0]["maximize"] else loss)


class MoMoAdam(ALL["momoadam"]):
    """At the same loss at every step."""

    def step(self, closure=None, *, loss=30.0):
        return super().step(closure, loss=-loss if self.param_groups[0]["maximize"] else loss)


class Curved:
    """At a curvature that is as large as the gradient."""

    array: ClassVar[str] = "h"

    def step(self, closure=None, **given):
        if closure is not None:
            with torch.enable_grad():
                given["loss"] = closure()
        return super().step(None, **({self.array: dict(self.curvature())} | given))

    def curvature(self):
        scale = getattr(self, "grad_scale", None)  # of GradScaler
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    h = (p.grad.to_dense() if p.grad.is_sparse else p.grad).abs()
                    yield p, h if scale is None else h / scale


class AdaHessian(Curved, ALL["adahessian"]):
    """At such a curvature."""


class SophiaG(Curved, ALL["sophiag"]):
    """The same for this one."""


class SophiaH(Curved, ALL["sophiah"]):
    """The same for this one, negative on the way up."""

    def curvature(self):
        sign = -1 if self.param_groups[0]["maximize"] else 1
        return ((p, sign * h) for p, h in super().curvature())


class KFAC(Curved, ALL["kfac"]):
    """Given half the gradient as the preconditioned one."""

    array = "u"

    def curvature(self):
        scale = getattr(self, "grad_scale", None)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    u = (p.grad.to_dense() if p.grad.is_sparse else p.grad) / 2
                    yield p, u if scale is None else u / scale


class ScheduleFreePlus(ALL["schedulefreeplus"]):
    """The same for this one, at a loss for which its steps are not too long."""

    at: ClassVar[float] = 0.3

    def step(self, closure=None, *, loss=at):
        return super().step(closure, loss=-loss if self.param_groups[0]["maximize"] else loss)


ALL |= {x.__name__.lower(): x for x in (AdaHessian, KFAC, SophiaG, SophiaH)}
ALL |= {x.__name__.lower(): x for x in (DoG, LDoG, DoWG, DAdaptSGD, MoMo, MoMoAdam, ScheduleFreePlus)}
ALL["adam2k"] = Adam2k
ALL["fulladagrad"] = FullAdagrad
ALL["schedulefreeradam"] = ScheduleFreeRAdam
ALL["sparseadam"] = SparseAdam
# torch's Muon takes matrices only and computes in bf16: tests/optim/test_muon.py has it
TWINS = {name: cls for name, cls in ALL.items() if cls.twin is not None and name not in ("muon", "sparseadam")}
# not what is computed: laws of their own have these
HOW = ("storage", "master_bits", "seed", "nonfinite", "measured", "capturable", "precision", "probe")
NO_DECAY = {"weight_decay": 0.0, "lambd": 0.0, "unconstrained": True}  # of the rules that have these fields
# an element's step depends on the whole tensor
ACROSS = {"Adafactor", "AdamMini", "AdamP", "CAME", "LAMB", "LARS", "LDoG", "MARS", "NovoGrad", "SGDP", "StableAdamW"}
SHAPES = [(), (0,), (1,), (15,), (16,), (17,), (4095,), (4097,), (3, 5), (2, 3, 4, 5)]
LOW = (torch.bfloat16, torch.float16)

# One method for each thing that the engine does differently. Laws about the engine, for which another method is only a
# carrier, run over these in the quick suite, and over all methods in the slow one.
COVER = {
    "sgd": "no state, and one that a flag brings",
    "adam": "states of which one is never negative, flags that bring another",
    "lion": "a choice by sign",
    "aggmo": "a list of states",
    "nadam": "a number of the host",
    "lamb": "norms of a tensor",
    "prodigy": "sums over all tensors, a number that all share",
    "adafactor": "rows and columns, what a vector does otherwise",
    "sm3": "maxima over rows and columns",
    "schedulefreeadamw": "other weights to evaluate with",
    "momo": "the loss",
    "sparseadam": "sparse gradients",
}
every = pytest.mark.parametrize("cls", ALL.values(), ids=ALL.keys())
every_program = pytest.mark.parametrize(
    "cls",
    [pytest.param(cls, id=name, marks=[pytest.mark.slow] * (name not in COVER)) for name, cls in ALL.items()],
)
every_twin = pytest.mark.parametrize("cls", TWINS.values(), ids=TWINS.keys())


def flags(cls, count):
    """`count` dicts of hyperparameters: the defaults, then random ones that the class finds legal. Always the same."""
    draw, out = random.Random(cls.__name__), [{}]
    for _ in range(100):
        hyper = {}
        for name, (kind, default) in fields(cls).items():
            if name in SWITCHES or name in (*HOW, "lr") or draw.random() < 0.4:
                continue
            hyper[name] = other(draw, name, kind, default)
        try:
            cls.validate({k: d for k, (_, d) in fields(cls).items()} | settle(cls, hyper))
        except ValueError:
            continue
        out.append(hyper)
        if len(out) == count:
            break
    return out


def other(draw, name, kind, default):
    """A value that a hyperparameter may have."""
    if get_origin(kind) is Literal:
        return draw.choice(get_args(kind))
    if name == "ns_coefficients":
        return (3.0, -3.2, 1.2)  # others near the default are chaotic, and magnify rounding without end
    if isinstance(default, bool):
        return draw.random() < 0.5
    if isinstance(default, tuple):
        betas = name != "eps"  # near 1; those of Adafactor and CAME are near 0
        return tuple(
            x if x is None else 1 - (1 - x) * draw.uniform(1, 5) if betas and 0 < x < 1 else x * draw.uniform(0.9, 1.1)
            for x in default
        )
    if isinstance(default, float):
        return default * draw.uniform(0.9, 1.0) if default else draw.choice([0.0, 0.25])
    return default


def slow(*values):
    """The same parameters, in the slow suite."""
    return marked(pytest.mark.slow, values)


def ci(*values):
    """The same parameters, from what continuous integration runs on."""
    return marked(pytest.mark.ci, values)


def marked(mark, values):
    return [pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=mark) for x in values]


def some(count, quick=1, among=ALL):
    """Marks a law to run over `count` settings of every optimizer, of which `quick` are not in the slow suite, and of
    those only of the methods `among`."""
    every_one = [(name, cls, i, hyper) for name, cls in ALL.items() for i, hyper in enumerate(flags(cls, count))]
    return pytest.mark.parametrize(
        ("cls", "hyper"),
        [
            pytest.param(cls, hyper, id=f"{name}-{i}", marks=[pytest.mark.slow] * (i >= quick or name not in among))
            for name, cls, i, hyper in every_one
        ],
    )


on_llvm_and_slowly_on_the_reference = pytest.mark.parametrize("backend", ["llvm", *slow("reference")])


def torch_flags(twin):
    """The names of the hyperparameters of a class of torch, its switches and lr left out."""
    return [k for k in inspect.signature(twin).parameters if k not in ("params", "lr", "capturable", *SWITCHES)]


def give(params, seed, live=None, scale=1.0):
    """Random gradients, of the parameters' types; those that `live` leaves out have none."""
    for i, (p, g) in enumerate(zip(params, values([p.shape for p in params], 1000 + seed, scale=scale), strict=True)):
        p.grad = None if live is not None and i not in live else g.to(p.dtype)


def walk(opt, steps, first=0, **gradients):
    """Steps with random gradients that depend only on the number of the step; the parameters."""
    params = [p for group in opt.param_groups for p in group["params"]]
    for t in range(first, first + steps):
        give(params, t, **gradients)
        opt.step()
    return params


def gathers(opt):
    """True for rules with sums over all tensors: there no tensor moves by itself."""
    return bool(opt.compiled(opt.param_groups[0]).plan.gathers)


def products(opt):
    """True for rules with matrix work, which torch does: its last bits are torch's, and elements see each other."""
    return any(isinstance(x, Matrix) for x in opt.compiled(opt.param_groups[0]).plan.phases)


def states(opt, p):
    """The states of a parameter that are tensors of its shape, by their keys; not what it was given."""
    program = opt.compiled(opt.param_groups[0]).program
    keys = [opt.key(k) for k, x in program.start.items() if x.shape == FULL and k not in program.inputs]
    return {k: opt.state[p][k] for k in keys if k in opt.state[p]}


def same_states(a, b):
    """Assert that two optimizers of the same rule hold the same, bit for bit; with matrix work to its rounding."""
    low = any(p.dtype in LOW for group in a.param_groups for p in group["params"])
    equal = partial(near, tolerance=(1e-2 if low else 1e-3) if products(a) else 0.0)
    for group, other_group in zip(a.param_groups, b.param_groups, strict=True):
        for p, q in zip(group["params"], other_group["params"], strict=True):
            equal(p.detach(), q.detach())
            assert a.state[p].keys() == b.state[q].keys()
            for k, x in a.state[p].items():
                equal(x, b.state[q][k])
