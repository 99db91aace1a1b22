"""Every rule by Triton is the rule by the reference: each type, odd shapes, flags, NaN."""

import pytest
import torch
from pairs import EPS, Pair, draws, gradients, tensors

from ravine.optim import registry

RULES = {name: cls for name, cls in registry().items() if cls.dense}
CASES = [
    pytest.param(rule, hyper, id=f"{name}-{'switched' if hyper else 'default'}")
    for name, rule in RULES.items()
    for hyper in draws(rule)
]


def walk(rule, params, steps=2, special=True, eps=None, **hyper):
    pair = Pair(rule, params, **hyper)
    for t in range(steps):
        pair.step(gradients(params, t, special))
    pair.agree(eps)
    return pair


QUICK = ("adamw-", "lamb-", "adafactor-")


def quickly(quick):
    """All cases, of which the interpreter runs the quick ones in CI and the others in the slow suite."""
    return [pytest.param(*x.values, id=x.id, marks=() if quick(x.id) else pytest.mark.slow) for x in CASES]


@pytest.mark.parametrize(("rule", "hyper"), quickly(lambda name: name.startswith(QUICK) or name.endswith("default")))
def test_float32(device, rule, hyper):
    pair = walk(rule, tensors(device, torch.float32), **hyper)
    for batch in pair.opt._arranged.batches:
        assert batch.launch.calls == 2 * len(batch.compiled.plan.kernels)


@pytest.mark.parametrize(("rule", "hyper"), quickly(lambda name: name.startswith(QUICK)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_types(device, rule, hyper, dtype):
    storage = {"storage": "float32"} if hyper else {}
    eps = EPS[torch.float32] if dtype is torch.float64 and rule.__name__ == "Kron" else None  # its factors are float32
    walk(rule, tensors(device, dtype, [(1025,)]), eps=eps, **hyper, **storage)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_large(gpu, rule):
    walk(rule, tensors(gpu, torch.float32, [(3_000_001,), (4096, 513), *[(7,)] * 300]), special=False)
