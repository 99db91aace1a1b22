"""The launch around the kernels: memory beyond the tensors, groups and clocks, phases, moving tensors, streams."""

import pytest
import torch
from pairs import Pair, close, gradients, tensors

import ravine
from ravine.words import abs, maximum, minimum, norm, number, numel, scalar, sign, total, where, zeros

RULES = {name: cls for name, cls in ravine.optim.registry().items() if cls.dense}
POISON = 777.0


class Every(ravine.Optimizer):
    """A rule that says every word: lists, numbers of a tensor, sizes, bounds that NaN must pass."""

    lr: float = 0.1

    def init(self, s, p):
        s.a, s.norm, s.count = [zeros(p), zeros(p)], scalar(2.0), number(0.0)

    def update(self, s, p, g, t):
        first, second = s.a
        s.a = [0.5 * first + g, second + abs(first)]
        s.count = s.count + t
        low = minimum(maximum(g, -0.3), 0.7)
        s.norm, before = 0.1 * s.norm + norm(low - 1) / numel(p), s.norm
        ratio = where(total(g) > before, before, 1e-3 * s.count)
        return p - self.lr * (ratio * low + sign(-g) / (1 + second**2) ** 0.5 + norm(g) * minimum(p, s.norm))


def guarded(x, pad):
    """A tensor like x whose memory is surrounded by poison, and that memory."""
    memory = torch.full((x.numel() + 2 * pad,), POISON, dtype=x.dtype, device=x.device)
    inside = memory[pad : pad + x.numel()].view(x.shape)
    inside.copy_(x.detach())
    return inside, memory


@pytest.mark.parametrize("rule", [*RULES.values(), Every], ids=[*RULES, "every"])
@pytest.mark.parametrize(
    "pad", [pytest.param(64, id="aligned", marks=pytest.mark.slow), pytest.param(61, id="unaligned")]
)
def test_memory_beyond_the_ends_is_left_alone(device, rule, pad):
    fences = []

    def guard(x):
        inside, memory = guarded(x, pad)
        fences.append((memory, x.numel()))
        return inside

    params = [torch.nn.Parameter(guard(torch.randn(n, device=device))) for n in (1, 1023, 1025)]
    pair = Pair(rule, params)
    for t in range(3):
        grads = gradients(params, t)
        pair.step(grads)
        for p in params:
            for k, x in pair.opt.state[p].items():
                if x.device.type == device and x.shape == p.shape:
                    pair.opt.state[p][k] = guard(x)
    pair.agree()
    for memory, n in fences:
        assert (memory[:pad] == POISON).all()
        assert (memory[pad + n :] == POISON).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_every_word(device, dtype):
    params = tensors(device, dtype, [(), (1025,), (7, 3)])
    pair = Pair(Every, params)
    for t in range(3):
        pair.step(gradients(params, t, special=True))
    pair.agree()


def test_groups_and_step_counts_share_a_launch(device):
    params = tensors(device, torch.float32, [(5,), (1025,), (3, 4)])
    ours = Pair(lambda ps, **k: ravine.LAMB([{"params": ps[:3]}, {"params": ps[3:], "lr": 0.5}], **k), params)
    for t in range(4):
        grads = gradients(params, t)
        if t < 2:
            grads[1] = grads[4] = None
        ours.step(grads)
    ours.agree()
    (batch,) = ours.opt._arranged.batches
    assert len(batch.rows) == 4
    assert [float(ours.opt.state[p]["step"]) for p in params] == [4, 2, 4, 4, 2, 4]


def test_a_norm_over_more_blocks_than_are_added_at_once(device, monkeypatch):
    monkeypatch.setattr("ravine.compile.launch.triton.BLOCK", 16)
    n = 16 * 16 * (500 if device == "cuda" else 2) + 37
    results = []
    for _ in range(2):
        params = [torch.nn.Parameter(torch.randn(n, generator=torch.Generator().manual_seed(0)).to(device))]
        pair = Pair(ravine.LAMB, params, lr=0.1)
        pair.step(gradients(params, 0))
        pair.agree()
        results.append(params[0].detach())
    assert torch.equal(*results)


def test_one_nan_stays_in_its_tensor(device):
    class Unit(ravine.Optimizer):
        def update(self, s, p, g, t):
            return p - self.lr * g / norm(g)

    params = [torch.nn.Parameter(torch.ones(1030, device=device)) for _ in range(3)]
    opt = Unit(params, backend="triton")
    for p in params:
        p.grad = torch.ones_like(p)
    params[1].grad[7] = torch.nan
    opt.step()
    assert [int(p.isnan().sum()) for p in params] == [0, 1030, 0]


def test_tensors_may_move_between_steps(device):
    params = tensors(device, torch.float32, [(1025,), (7,)])
    pair = Pair(ravine.Adam, params)
    pair.step(gradients(params, 0))
    params[0].data = params[0].detach().clone()  # elsewhere
    params[1].data = torch.cat([torch.zeros(3, device=device), params[1].detach()])[3:]  # and no longer aligned
    pair.step(gradients(params, 1))
    pair.agree()
    (batch,) = pair.opt._arranged.batches
    assert batch.launch.pointers[-1, :2].tolist() == [1, 0]  # only the first may be read 16 bytes at a time


def test_half_precision_rounds_once_to_nearest_even(device):
    made = torch.Generator().manual_seed(0)
    ties = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8 + 2**-20]
    ends = [65519.9, 65520.0, 3.3961e38, 1e-40, torch.nan, torch.inf, 0.0]
    wide = torch.randn(2000, generator=made) * 10.0 ** torch.randint(-6, 6, (2000,), generator=made)
    wide = torch.cat([wide, torch.tensor(ties + ends), -torch.tensor(ties + ends)])
    for dtype in (torch.bfloat16, torch.float16):
        p = torch.nn.Parameter(torch.zeros(len(wide), device=device, dtype=dtype))
        if hasattr(p, "grad_dtype"):
            p.grad_dtype = None  # else torch refuses a gradient of another type
        p.grad = wide.to(device)
        ravine.SGD([p], lr=1.0, maximize=True, backend="triton").step()
        ours, law = p.detach().cpu(), wide.to(dtype)
        assert torch.equal(ours.isnan(), law.isnan())
        assert torch.equal(ours.nan_to_num(nan=1.0), law.nan_to_num(nan=1.0))


@pytest.mark.parametrize("rule", [ravine.Adam, ravine.LAMB])
def test_another_stream(gpu, rule):
    params = tensors(gpu, torch.float32)
    pair = Pair(rule, params)
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for t in range(6):
        stream = streams[t % 2]
        stream.wait_stream(streams[1 - t % 2])
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            torch.cuda._sleep(2_000_000)  # the host runs ahead: a table overwritten too early would be seen
            pair.step(gradients(params, t))
    torch.cuda.synchronize()
    pair.agree()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_reference_on_the_gpu(gpu, rule):
    params = tensors(gpu, torch.float32)
    law = [torch.nn.Parameter(p.detach().cpu().clone()) for p in params]
    there, here = rule(params, backend="reference"), rule(law, backend="reference")
    for t in range(2):
        for p, q, g in zip(params, law, gradients(params, t), strict=True):
            p.grad, q.grad = g.to(gpu), g
        there.step()
        here.step()
    for p, q in zip(params, law, strict=True):
        close("parameter", p, q)
