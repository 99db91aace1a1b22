"""SNOO against its paper, DiLoCo's outer step and Lookahead; its state through files and other optimizers."""

import copy as copying

import pytest
import torch
from walks import copy, equal, give, near, slope, start, through_a_file, walk

import ravine
from ravine.strategies import SAM, SNOO, Lookahead

INNER = [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.05})]
inner = pytest.mark.parametrize(("name", "hyper"), INNER, ids=[x for x, _ in INNER])
libraries = pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])


def made(name, hyper, library=ravine.optim, **own):
    params = start()
    return SNOO(getattr(library, name)(params, **hyper), **own), params


@pytest.mark.parametrize(("k", "lr", "momentum"), [(4, 0.7, 0.5), (1, 0.3, 0.9), (3, 1.2, 0.0), (28, 0.68, 0.37)])
def test_the_papers_algorithm(k, lr, momentum):
    opt, params = made("SGD", {"lr": 0.1}, k=k, lr=lr, momentum=momentum)
    phi, b = [p.detach().clone() for p in params], [torch.zeros_like(p) for p in params]
    for outer in range(4 if k < 28 else 2):
        theta = [x.clone() for x in phi]
        for i in range(k):
            t = outer * k + i
            theta = [x - 0.1 * slope(x, t) for x in theta]
            if i == k - 1:
                s = [x - y for x, y in zip(phi, theta, strict=True)]
                b = [momentum * x + y for x, y in zip(b, s, strict=True)]
                phi = [x - lr * (momentum * y + z) for x, y, z in zip(phi, b, s, strict=True)]
            give(params, t)
            opt.step()
            near(params, theta if i < k - 1 else phi)
            near([opt.state[p]["snoo.slow"] for p in params], phi)


@inner
@libraries
def test_diloco_with_one_worker(name, hyper, library):
    """Its outer optimizer as others have it: torch's SGD, and what k steps have moved as its gradient."""
    opt, params = made(name, hyper, library, k=4, lr=0.7, momentum=0.9)
    fast, slow = start(), start()
    one = getattr(torch.optim, name)(fast, **hyper)
    outer = torch.optim.SGD(slow, lr=0.7, momentum=0.9, nesterov=True)
    for t in range(20):
        walk(opt, params, 1, t)
        walk(one, fast, 1, t)
        if t % 4 == 3:
            for p, q in zip(slow, fast, strict=True):
                p.grad = p.detach() - q.detach()
            outer.step()
            copy(fast, slow)
        near(params, fast, 1e-10)


@inner
@libraries
@pytest.mark.parametrize("lr", [0.5, 1.0])
def test_without_momentum_it_is_lookahead(name, hyper, library, lr):
    opt, params = made(name, hyper, library, k=5, lr=lr, momentum=0.0)
    others = start()
    other = Lookahead(getattr(library, name)(others, **hyper), k=5, alpha=lr)
    for t in range(23):
        walk(opt, params, 1, t)
        walk(other, others, 1, t)
        near(params, others)
    opt.eval()
    other.eval()
    near(params, others)


@inner
def test_a_rate_of_1_without_momentum_is_the_driven_optimizer(name, hyper):
    opt, params = made(name, hyper, k=3, lr=1.0, momentum=0.0)
    alone = start()
    near(walk(opt, params, 17), walk(getattr(ravine, name)(alone, **hyper), alone, 17))


def test_a_rate_of_0_never_leaves():
    opt, params = made("Adam", {"lr": 0.1}, k=5, lr=0.0)
    equal(walk(opt, params, 10), start())


@inner
@libraries
@pytest.mark.parametrize("steps", [0, 3, 4, 6])
def test_a_checkpoint_anywhere_continues_bit_for_bit(name, hyper, library, steps):
    opt, params = made(name, hyper, library, k=4)
    walk(opt, params, steps)
    other, others = made(name, hyper, library, k=2, lr=0.1)
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    assert (other.k, other.lr, other.momentum, other.count) == (4, 0.68, 0.37, steps % 4)
    twin = copying.deepcopy(opt)
    walk(opt, params, 9, first=steps)
    equal(params, walk(other, others, 9, first=steps))
    equal(params, walk(twin, twin.params, 9, first=steps))


def test_eval_shows_the_slow_weights_and_train_brings_back_the_fast():
    opt, params = made("Adam", {"lr": 0.05}, k=4)
    walk(opt, params, 6)
    fast = [p.detach().clone() for p in params]
    opt.eval()
    equal(params, [opt.state[p]["snoo.slow"] for p in params])
    with pytest.raises(RuntimeError, match=r"SNOO: the model holds the slow weights; call train\(\) before step\(\)"):
        opt.step()
    opt.train()
    equal(params, fast)


def test_bf16_weights_with_further_bits_lose_none():
    """Slow weights and momentum are float32 there, so a walk with 16 further bits is one in float32, nearly."""
    fine, coarse = start(torch.float32), start(torch.bfloat16)
    copy(fine, coarse)
    a, b = SNOO(ravine.SGD(fine, lr=0.01), k=2), SNOO(ravine.SGD(coarse, lr=0.01, master_bits=16), k=2)
    for t in range(8):
        for p, q in zip(fine, coarse, strict=True):
            p.grad = torch.cos(p.detach() + t).bfloat16().float()
            q.grad = p.grad.bfloat16()
        a.step()
        b.step()
    assert all(b.state[q]["snoo.momentum"].dtype == torch.float32 for q in coarse)
    near([a.state[p]["snoo.slow"] for p in fine], [b.state[q]["snoo.slow"] for q in coarse], 1e-6)


def test_what_is_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for own in ({"k": 0}, {"k": 2.5}, {"lr": -0.1}, {"lr": "half"}, {"momentum": 1.5}, {"momentum": float("nan")}):
        with pytest.raises((ValueError, TypeError), match=f"SNOO: {next(iter(own))} is"):
            SNOO(opt, **own)
    with pytest.raises(TypeError, match="drives an optimizer"):
        SNOO(start())
    with pytest.raises(TypeError, match="cannot drive another"):
        SNOO(SNOO(opt))
    with pytest.raises(TypeError, match=r"SNOO: let SAM drive it: SAM\(SNOO\(opt\)\)"):
        SNOO(SAM(opt))
