"""Norms of finite gradients are finite and not 0, however large or small the gradients are."""

import pytest
import torch
from cases import give, on_llvm_and_slowly_on_the_reference, parameters, slow

import ravine
from ravine.mods import AGC, EMA, ClipNorm, ClipTensorNorm

SHAPES = [(7,), (60, 70), (5000,), (2, 3, 4)]
SCALES = pytest.mark.parametrize("scale", [1e25, 1e-25, *slow(1e37, 1e19, 1e-19, 1e-30)])
FORMS = {
    "plain": {},
    "int8": {"storage": "int8"},
    "bf16": {"storage": "bf16"},
    "measured": {"measured": True},
    "guarded": {"nonfinite": "raise"},
    "unscaled": {"grad_scale": 2.0},
}


def pair(make, scale, backend, dtype=torch.float32, steps=2):
    """The same steps in float32 and in float64, with gradients of this size: both optimizers, the gradients' norm."""
    low, exact = parameters(SHAPES, dtype=dtype), parameters(SHAPES, dtype=torch.float64)
    with torch.no_grad():
        for p, q in zip(low, exact, strict=True):
            q.copy_(p)
    a, b = make(low, backend=backend), make(exact, backend="reference")
    for t in range(steps):
        give(low, t, scale=scale)
        for p, q in zip(low, exact, strict=True):
            q.grad = p.grad.double()
        a.step()
        b.step()
    return a, b


def agree(a, b, begun=None, rel=1e-5):
    """Assert that the weights, or what they have moved by, are equal."""
    for p, q, start in zip(of(a), of(b), begun or [0.0] * len(of(a)), strict=True):
        assert p.isfinite().all()
        torch.testing.assert_close(p.double() - start, q - start, rtol=rel, atol=rel * float(q.detach().abs().max()))


def of(opt):
    return opt.param_groups[0]["params"]


def moved(opt):
    """How far the weights are from where they began."""
    begun = parameters(SHAPES, dtype=torch.float64)
    return torch.cat([(p.detach().double() - q.detach()).flatten() for p, q in zip(of(opt), begun, strict=True)])


@SCALES
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("clip", [ClipNorm, ClipTensorNorm, AGC], ids=lambda x: x.__name__)
def test_a_clipped_step_is_that_of_float64(clip, backend, scale):
    bound = {"clipping": 0.1} if clip is AGC else {"max_norm": 0.5}
    mods = [clip(**bound)] if scale > 1 else [clip(**{k: x * scale for k, x in bound.items()}, eps=1e-3 * scale)]
    a, b = pair(lambda p, **how: ravine.SGD(p, lr=1.0 if scale > 1 else 0.1 / scale, mods=mods, **how), scale, backend)
    agree(a, b)
    assert (moved(a).abs() > 0).double().mean() > 0.9


@SCALES
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("form", FORMS)
def test_in_every_form_of_a_pass(form, backend, scale):
    mods = [ClipNorm(0.5 if scale > 1 else 0.5 * scale, eps=0.0), EMA(0.9)]
    how = {"lr": 1e-2 if scale > 1 else 1e-2 / scale, "mods": mods, "weight_decay": 0.0} | FORMS[form]
    unscale = how.pop("grad_scale", None)

    def make(params, **more):
        opt = ravine.SGD(params, momentum=0.9, **how | more)
        for group in opt.param_groups if unscale else ():
            group["grad_scale"] = unscale
        return opt

    a, b = pair(make, scale, backend, steps=1)
    agree(a, b, rel=1e-4)
    assert moved(a).norm().item() == pytest.approx(moved(b).norm().item(), rel=0.01)
    assert moved(a).norm().item() == pytest.approx(5e-3, rel=0.01)


@SCALES
@on_llvm_and_slowly_on_the_reference
def test_metrics_are_those_of_float64(backend, scale):
    a, b = pair(
        lambda p, **how: ravine.SGD(p, lr=1e-3, measured=True, nonfinite="raise", **how), scale, backend, steps=1
    )
    for each in (False, True):
        ours, law = a.metrics(each=each), b.metrics(each=each)
        for name in ("grad_norm", "weight_norm"):
            torch.testing.assert_close(ours[name].double(), law[name], rtol=1e-6, atol=0.0)
        assert each or ours["grad_norm"] > 10 * scale
        if scale > 1:
            torch.testing.assert_close(ours["update_norm"].double(), law["update_norm"], rtol=1e-5, atol=0.0)


@SCALES
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("denominator", ["sum", "decayed", "gradient"])
def test_lars_does_not_see_the_size_of_gradients(denominator, backend, scale):
    how = {"lr": 1.0, "trust_coefficient": 0.1, "denominator": denominator}
    a, b = pair(lambda p, **more: ravine.LARS(p, **how, **more), scale, backend)
    agree(a, b)
    assert moved(a).norm() > 0.1


@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("scale", [1e-25, 1e-30])
def test_lamb_with_tiny_gradients(backend, scale):
    a, b = pair(lambda p, **more: ravine.LAMB(p, lr=0.1, **more), scale, backend)
    agree(a, b)
    assert moved(a).norm() > 1


@SCALES
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("rule", ["AdamW", "LAMB", "Adafactor", "CAME", "StableAdamW"])
def test_large_gradients_of_adaptive_methods_are_clipped_first(rule, backend, scale):
    """Their second moments are float32 too, and cannot hold the squares of large gradients that are not clipped."""
    mods = [ClipNorm(0.5 if scale > 1 else 0.5 * scale, eps=0.0)]
    a, b = pair(lambda p, **more: getattr(ravine, rule)(p, lr=1e-3, mods=mods, **more), scale, backend)
    agree(a, b, rel=1e-4)


def test_what_is_infinite_makes_the_clipped_step_zero_as_in_torch():
    a, b = parameters(SHAPES), parameters(SHAPES)
    opt = ravine.SGD(a, lr=0.1, mods=[ClipNorm(1.0)])
    for bad in (torch.inf, torch.nan):
        for p, q in zip(a, b, strict=True):
            p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        a[1].grad[3, 4] = b[1].grad[3, 4] = bad
        torch.nn.utils.clip_grad_norm_(b, 1.0)
        with torch.no_grad():
            for q in b:
                q.sub_(0.1 * q.grad)
        opt.step()
        for p, q in zip(a, b, strict=True):
            torch.testing.assert_close(p, q, equal_nan=True)
