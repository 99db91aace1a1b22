"""A released optimizer makes the steps of an ordinary one, bit for bit."""

import copy

import pytest
import torch
from cases import ci, every_program, flags, parameters, same_states, values

import ravine
from ravine.mods import AGC, EMA, Cautious, Centralize, ClipNorm, ClipTensorNorm, GradientNoise
from ravine.optimizer.release import waits

SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2), (0,), (65, 33)]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def pair(cls, mods=lambda: (), exact=None, shapes=SHAPES, dtype=torch.float32, **hyper):
    """An ordinary optimizer, a released one, and what release() returned."""
    plain, opt = (cls(parameters(shapes, dtype=dtype), mods=mods(), **hyper) for _ in range(2))
    exact = waits(opt.compiled(opt.param_groups[0])) if exact is None else exact
    model = torch.nn.ParameterList(of(opt))
    if cls.inputs:
        with pytest.raises(ValueError, match=r"is given [hu] before a step, and a released one steps within backward"):
            ravine.release(model, opt, exact=exact)
        pytest.skip("it takes arrays, and is refused")
    return plain, opt, ravine.release(model, opt, exact=exact)


def loss_of(opt, t, live):
    """A loss of ±30, or what the class has, with the random gradients of step t."""
    params = of(opt)
    made = zip(params, values([p.shape for p in params], 1000 + t), strict=True)
    terms = [(p * g.to(p.dtype)).sum().double() for i, (p, g) in enumerate(made) if live is None or i in live]
    total = torch.stack(terms).sum()
    at = getattr(type(opt), "at", 30.0)
    return total - total.detach() + (-at if opt.param_groups[0]["maximize"] else at)


def both(plain, opt, released, t, live=None):
    """A step of each."""
    loss_of(plain, t, live).backward()
    plain.step()
    plain.zero_grad()
    loss = loss_of(opt, t, live)
    if released.exact:
        released.measure(loss)
    loss.backward()
    assert all(p.grad is None for p in of(opt))


@pytest.mark.parametrize("live", [None, [0, 1, 3]], ids=["all", "some"])
@every_program
def test_release_makes_the_same_steps(cls, live):
    for hyper in ({k: x for k, x in drawn.items() if k != "mods"} for drawn in flags(cls, 2)):
        plain, opt, released = pair(cls, **hyper)
        for t in range(4):
            both(plain, opt, released, t, live if t % 2 else None)
            same_states(plain, opt)
        released.remove()
        for t in range(4, 6):
            for x in (plain, opt):
                loss_of(x, t, live).backward()
                x.step()
                x.zero_grad()
        same_states(plain, opt)


@every_program
def test_launches_stay(cls):
    plain, opt, released = pair(cls)
    both(plain, opt, released, 0)
    made = [turn.launch for turn in released.turns]
    for t in range(1, 4):
        opt.param_groups[0]["lr"] = 0.1 / t
        both(plain, opt, released, t)
    assert [turn.launch for turn in released.turns] == made


@every_program
def test_a_released_optimizer_is_saved_and_loaded(cls):
    plain, opt, released = pair(cls)
    for t in range(2):
        both(plain, opt, released, t)
    _, fresh, anew = pair(cls)
    for a, b in zip(of(opt), of(fresh), strict=True):
        b.data.copy_(a.detach())
    fresh.load_state_dict(copy.deepcopy(opt.state_dict()))
    for t in range(2, 4):
        loss = loss_of(fresh, t, None)
        if anew.exact:
            anew.measure(loss)
        loss.backward()
        both(plain, opt, released, t)
    same_states(opt, fresh)


HYPER = {
    "bf16 states": {"storage": "bf16", "seed": 3},
    "int8 states": {"storage": "int8"},
    "rounded weights": {"master_bits": 0, "dtype": torch.bfloat16},
    "more bits of the weights": {"master_bits": 8, "dtype": torch.bfloat16},
}


@pytest.mark.parametrize("hyper", HYPER.values(), ids=HYPER.keys())
@pytest.mark.parametrize("cls", [ravine.AdamW, ravine.Adan, ravine.Prodigy])
def test_release_with_other_storage(cls, hyper):
    plain, opt, released = pair(cls, **hyper)
    for t in range(4):
        both(plain, opt, released, t, [0, 2, 5] if t == 2 else None)
        same_states(plain, opt)


MODS = {
    "agc": lambda: (AGC(),),
    "tensor norm": lambda: (ClipTensorNorm(0.1),),
    "noise": lambda: (GradientNoise(), Centralize()),
    "ema": lambda: (Cautious(), EMA()),
    "norm": lambda: (ClipNorm(0.5),),
    "norm of norms": lambda: (ClipNorm(0.5), GradientNoise(), ClipNorm(0.4)),
}


@pytest.mark.parametrize("mods", MODS.values(), ids=MODS.keys())
@pytest.mark.parametrize("cls", [ravine.AdamW, ravine.Prodigy, *ci(ravine.NAdam, ravine.Adafactor)])
def test_release_with_modifiers(cls, mods):
    plain, opt, released = pair(cls, mods)
    for t in range(5):
        both(plain, opt, released, t, [0, 2, 3] if t == 2 else None)
        same_states(plain, opt)
