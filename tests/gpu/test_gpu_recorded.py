"""`capturable=True`: steps that the host has no part in, waited for by nobody and recorded in CUDA graphs."""

import copy
import math

import pytest
import torch
from pairs import Pair, close, draws, gradients, tensors
from torch.utils._python_dispatch import TorchDispatchMode

import ravine
from ravine.compile.emit.triton import prologue
from ravine.compile.launch.triton import load
from ravine.compile.plan import Matrix
from ravine.mods import AGC, Averaging, ClipNorm
from ravine.optim import registry
from ravine.words import abs, cbrt, exp, log, maximum, minimum, number, where, zeros

RULES = {name: cls for name, cls in registry().items() if cls.dense}


class Waiting(TorchDispatchMode):
    """Raises where the host asks for a number of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "local_scalar_dense" not in str(func), "the host has read a tensor"
        return func(*args, **(kwargs or {}))


def weights(device, n=3):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(5, 7, device=device)) for _ in range(n)]


def fill(params, t, bad=False):
    torch.manual_seed(100 + t)
    for p in params:
        p.grad = torch.randn_like(p)
    if bad:
        params[-1].grad[0, 0] = math.inf


@pytest.mark.parametrize(
    "hyper", [pytest.param(0, id="default"), pytest.param(1, id="switched", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_steps_are_those_of_the_host(device, rule, hyper):
    pair = Pair(rule, tensors(device, torch.float32, [])[:1], capturable=True, **draws(rule)[hyper])
    plan = pair.opt.compiled(pair.opt.param_groups[0]).plan
    if any(isinstance(phase, Matrix) for phase in plan.phases):
        with pytest.raises(RuntimeError, match="capturable=True takes no rules with matrix operations"):
            pair.step(gradients(pair.ours, 0))
        return
    for t in range(3):
        pair.step(gradients(pair.ours, t))
    pair.agree()
    assert all(pair.opt.state[p]["step"].device == p.device for p in pair.ours)
    assert {type(batch.launch).__name__ for batch in pair.opt._arranged.batches} == {"Recorded"}


@pytest.mark.parametrize(
    "how",
    [{"storage": "int8"}, {"storage": "bf16"}, {"mods": [AGC(0.1), ClipNorm(1.0)]}, {"mods": [Averaging(1, 2)]}],
    ids=str,
)
def test_whatever_it_wears(device, how):
    pair = Pair(ravine.RAdam, tensors(device, torch.float32, [(65, 65)]), capturable=True, measured=True, **how)
    for t in range(6):
        pair.step(gradients(pair.ours, t))
    for p, q in zip(pair.ours, pair.law, strict=True):
        close("a parameter", p, q)
    for name, x in pair.ref.metrics().items():
        close(name, pair.opt.metrics()[name], x, 4e-6)


class Words(ravine.Optimizer):
    """Every word that the host can say."""

    lr: float = 0.1
    a: float = -1.7
    b: float = 0.3
    ranges = {"a": "(-inf, inf)"}

    def init(self, s, p):
        s.m, s.k, s.n = zeros(p), number(2.0), number(1.0)

    def update(self, s, p, g, t):
        a, b = self.a, self.b
        first = exp(-b * t) + log(b) * cbrt(a) - abs(a) ** b + a**3 + a**t + (b / 4) ** 0.5
        s.k = maximum(minimum(first, 3.0), -9.0) + where(t > 2, b, -a)
        s.n = s.n * (1 - s.k / t**2) + 0.0**t + a**-1
        s.m = b * s.m + where(s.k >= -1, 1.0, 2.0) * g
        return p - self.lr * (s.k + s.n) * s.m


def test_every_word_of_the_host(device):
    pair = Pair(Words, tensors(device, torch.float64, [(7,)]), capturable=True)
    for t in range(5):
        pair.step(gradients(pair.ours, t))
    pair.agree()


def test_powers(device):
    """As math.pow has them, to a few units of the last place for each bit of the exponent."""
    pairs = [(0.999, 1.0), (0.999, 1e5), (0.0, 0.0), (0.0, 3.0), (0.0, -1.0), (-2.0, 3.0), (-2.0, 4.0), (7.0, -0.8)]
    pairs += [(-2.0, 0.5), (math.inf, 0.0), (math.inf, -1.0), (math.nan, 1.0), (1.0, 1e300), (1e-300, 2.0)]
    text = (
        "import triton\nimport triton.language as tl\n" + prologue.POWER + "\n@triton.jit\n"
        "def kernel(a, b, c):\n    i = tl.program_id(0)\n    tl.store(c + i, power(tl.load(a + i), tl.load(b + i)))\n"
    )
    a, b = torch.tensor(pairs, dtype=torch.float64, device=device).T.contiguous()
    c = torch.empty_like(a)
    load(text)["kernel"][(len(pairs),)](a, b, c)
    expected = torch.pow(a, b)
    assert torch.equal(c.isnan(), expected.isnan())
    assert torch.allclose(c, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_numbers_change_and_nobody_waits(device):
    """lr on the device, and the others on the host; the loss too, and what a GradScaler has found."""
    p, q = weights(device), weights(device)
    lr = torch.tensor(0.1, device=device)
    ours = ravine.MoMoAdam(p, lr, weight_decay=0.1, backend="triton", capturable=True)
    law = ravine.MoMoAdam(q, 0.1, weight_decay=0.1, backend="triton")
    for t in range(5):
        fill(p, t), fill(q, t)
        lr.fill_(0.1 / 2**t)
        law.param_groups[0]["lr"] = float(lr)
        ours.param_groups[0]["weight_decay"] = law.param_groups[0]["weight_decay"] = 0.1 + t
        loss = torch.tensor(1.5 - t / 10, device=device)
        law.step(loss=loss)
        if t == 0:
            ours.step(loss=loss)
            continue
        with Waiting():
            ours.step(loss=loss)
    for x, y in zip(p, q, strict=True):
        close("a parameter", x, y.cpu())


def test_the_host_is_seen_to_wait(device):
    """The test above could fail: a loss on the device is read there by steps of the host."""
    opt = ravine.MoMo(weights(device), backend="triton")
    fill(opt.param_groups[0]["params"], 0)
    with pytest.raises(AssertionError, match="the host has read"), Waiting():
        opt.step(loss=torch.tensor(1.0, device=device))


@pytest.mark.parametrize("rule", [ravine.Adam, ravine.Prodigy, ravine.LAMB, ravine.Adafactor])
def test_a_step_that_is_skipped_changes_nothing(device, rule):
    p, q = weights(device), weights(device)
    ours = rule(p, backend="triton", capturable=True, nonfinite="skip")
    law = rule(q, backend="triton")
    for t in range(6):
        fill(p, t, bad=t in (2, 3))
        with Waiting() if t else torch.no_grad():
            ours.step()
        if t not in (2, 3):
            fill(q, t)
            law.step()
    assert ours.skipped == 2
    for x, y in zip(p, q, strict=True):
        close("a parameter", x, y.cpu())
        assert float(ours.state[x]["step"]) == float(law.state[y]["step"]) == 4


def test_a_scaler_divides_and_skips_there(device):
    p, q = weights(device), weights(device)
    ours = ravine.AdamW(p, backend="triton", capturable=True)
    law = ravine.AdamW(q, backend="triton")
    for t, found in enumerate((0.0, 0.0, 1.0, 0.0)):
        fill(p, t), fill(q, t)
        for x in p:
            x.grad *= 1024
        ours.grad_scale, ours.found_inf = (
            torch.tensor(x, device=device) for x in (1024.0, found)
        )  # as GradScaler does
        with Waiting() if t else torch.no_grad():
            ours.step()
        if not found:
            law.step()
    assert ours.skipped == 1
    assert "grad_scale" not in ours.param_groups[0]
    for x, y in zip(p, q, strict=True):
        close("a parameter", x, y.cpu())


def test_programs_share_their_sums_and_numbers(device):
    """Several launches: one norm over all, one d for all, rows of several clocks."""
    found = {}
    for capturable in (True, False):
        torch.manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(4, 4, device=device)) for _ in range(4)]
        groups = [
            {"params": params[:2]},
            {"params": params[2:3], "weight_decay": 0.1},
            {"params": params[3:], "lr": 0.5},
        ]
        opt = ravine.Prodigy(groups, mods=[ClipNorm(1.0)], backend="triton", capturable=capturable)
        for t in range(5):
            fill(params, t)
            if t < 2:
                params[1].grad = None
            opt.step()
        found[capturable] = [*params, *(opt.state[p][k].cpu() for p in params for k in ("step", "d"))]
    for x, y in zip(found[True], found[False], strict=True):
        close("a parameter", x, y.detach().cpu(), 4e-6)
    assert [float(x) for x in found[True][4::2]] == [5, 3, 5, 5]


def test_a_run_goes_on_after_a_checkpoint(device):
    """With or without the host: the state is the same."""
    for then in (True, False):
        p, q = weights(device), weights(device)
        ours = ravine.NAdam(p, backend="triton", capturable=True)
        law = ravine.NAdam(q, backend="triton")
        for t in range(3):
            fill(p, t), fill(q, t)
            ours.step(), law.step()
        again = ravine.NAdam(p, backend="triton", capturable=then)
        again.load_state_dict(copy.deepcopy(ours.state_dict()))
        assert again.param_groups[0]["capturable"] is then
        fill(p, 3), fill(q, 3)
        again.step(), law.step()
        for x, y in zip(p, q, strict=True):
            close("a parameter", x, y.cpu())
            assert float(again.state[x]["step"]) == 4


def test_what_it_does_not_take_is_said(device):
    params = weights(device)
    fill(params, 0)
    opt = ravine.Adam(params, backend="triton", capturable=True, nonfinite="raise")
    with pytest.raises(ValueError, match='nonfinite="skip"'):
        opt.step()
    opt = ravine.Adam([{"params": params[:1], "capturable": True}, {"params": params[1:]}], backend="triton")
    with pytest.raises(ValueError, match="capturable is False and True in its groups"):
        opt.step()
    with pytest.raises(ValueError, match="capturable"):
        ravine.release(torch.nn.ParameterList(params), ravine.Adam(params, backend="triton", capturable=True))
    opt = ravine.Adam(params, backend="llvm", capturable=True) if device == "cpu" else None
    if opt is not None:  # on a CPU it changes nothing
        opt.step()
        assert opt.state[params[0]]["step"].device.type == "cpu"


@pytest.mark.parametrize("rule", [ravine.AdamW, ravine.Prodigy, ravine.LAMB])
@pytest.mark.parametrize("kept", [True, False], ids=["gradients kept", "gradients new"])
def test_a_graph_replays(gpu, rule, kept):
    """A whole training step: gradients, and the optimizer with an lr that changes between replays."""
    found = {}
    for record in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)).to(gpu)
        lr = torch.tensor(1e-2, device=gpu)
        opt = rule(model.parameters(), lr, capturable=True, nonfinite="skip", mods=[ClipNorm(1.0)])
        x = torch.randn(64, 8, device=gpu)

        def train(opt=opt, model=model, x=x):
            opt.zero_grad(set_to_none=not kept)
            model(x).square().mean().backward()
            opt.step()

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                train()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if record:
            with torch.cuda.graph(graph):
                train()
        for t in range(6):
            lr.fill_(1e-2 / (1 + t))
            x.fill_(math.nan) if t == 3 else x.copy_(torch.randn(64, 8, generator=torch.Generator().manual_seed(t)))
            graph.replay() if record else train()
        assert opt.skipped == 1
        found[record] = [p.detach().cpu() for p in model.parameters()]
    for a, b in zip(found[True], found[False], strict=True):
        assert torch.equal(a, b)


def test_nothing_waits_on_a_gpu(gpu):
    params = weights(gpu)
    opt = ravine.AdamW(params, torch.tensor(1e-3, device=gpu), capturable=True, nonfinite="skip", mods=[ClipNorm(1.0)])
    fill(params, 0)
    opt.step()
    fill(params, 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        opt.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_graph_needs_a_step_before(gpu):
    params = weights(gpu)
    fill(params, 0)
    opt = ravine.Adam(params, capturable=True)
    with pytest.raises(RuntimeError, match="make a step"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        opt.step()
