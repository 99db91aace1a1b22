"""Two optimizers that walk side by side: Triton's kernels, and the reference on the CPU."""

from typing import get_args

import torch

from ravine.rule.hyper import SWITCHES, fields
from ravine.testing.subject import some

EPS = {torch.float32: 4e-6, torch.float64: 1e-13, torch.bfloat16: 2**-7, torch.float16: 2**-10}
HOW = ("storage", "master_bits", "nonfinite", "measured", "capturable")  # other files here have these
ODD = [(), (0,), (1,), (1023,), (1025,), (33, 41)]


def tensors(device, dtype, shapes=ODD, seed=0):
    """Parameters of odd shapes, two that do not lie flat, and one that begins at no multiple of 16 bytes."""
    made = torch.Generator().manual_seed(seed)
    draw = [torch.randn(shape, generator=made).to(device, dtype) for shape in shapes]
    draw += [torch.randn(9, 17, generator=made).to(device, dtype).t()]
    draw += [torch.randn(40, generator=made).to(device, dtype)[::2]]
    draw += [torch.randn(32, generator=made).to(device, dtype)[1:]]
    return [torch.nn.Parameter(x) for x in draw]


def gradients(params, seed, special=False):
    """A gradient for each; `special` puts NaN, infinities, zeros and what squares to almost nothing into the last."""
    made = torch.Generator().manual_seed(1000 + seed)
    out = [torch.randn(p.shape, generator=made) for p in params]
    if special:
        # the interpreter takes the subnormal numbers of bfloat16, but not those of float32, for zero
        tiny = 1e-18 if params[-1].dtype == torch.bfloat16 else 1e-20
        out[-1][:6] = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, tiny])
    return out


class Pair:
    """The same parameters twice: `ours` on the device by Triton, `law` on the CPU by the reference."""

    def __init__(self, make, params, **hyper):
        self.ours, self.law = params, [torch.nn.Parameter(p.detach().cpu().clone()) for p in params]
        self.opt = make(self.ours, backend="triton", **hyper)
        self.ref = make(self.law, backend="reference", **hyper)

    def step(self, grads):
        for side in (self.ours, self.law):
            for p, g in zip(side, grads, strict=True):
                p.grad = None if g is None else g.to(p.device, p.dtype)
        for opt in (self.opt, self.ref):
            opt.step(**some(opt, 0) | {"loss": 1.5})  # only some need it

    def agree(self, given=None):
        """Every parameter and every state, to the rounding of its type, or as given."""
        for i, (p, q) in enumerate(zip(self.ours, self.law, strict=True)):
            close(f"parameter {i} {tuple(q.shape)}", p, q, given)
            assert self.opt.state[p].keys() == self.ref.state[q].keys()
            for k, x in self.ref.state[q].items():
                least = EPS[q.dtype] if x.dim() == 0 else None  # a sum of float32 may stand behind a float64 number
                close(f"{k} of parameter {i} {tuple(q.shape)}", self.opt.state[p][k], x, given or least)


def close(what, ours, law, eps=None):
    """Equal to rounding; for half precision nearly all must be equal bit for bit: both round float32 once."""
    ours, law, eps = ours.detach().cpu(), law.detach(), eps or EPS[law.dtype]
    assert ours.dtype == law.dtype, what
    assert ours.shape == law.shape, what
    a, b = ours.double(), law.double()
    assert torch.equal(a.isnan(), b.isnan()), f"{what}: NaN at other places"
    finite = b.isfinite()
    assert torch.equal(a[~finite & ~b.isnan()], b[~finite & ~b.isnan()]), f"{what}: infinite at other places"
    if not finite.any():
        return
    a, b = a[finite], b[finite]
    small = (eps / 20 if eps < 1e-4 else eps) * b.abs().max()  # for sums that cancel: two units in the last place
    gap = (a - b).abs() - eps * b.abs() - small
    assert gap.max() <= 0, f"{what}: {a[gap.argmax()]} where the law says {b[gap.argmax()]}"
    if eps > 1e-4:
        assert (a == b).double().mean() >= 0.97 or (a != b).sum() <= 2, f"{what}: {(a != b).sum()} of {len(a)} differ"


def draws(rule):
    """Hyperparameters to test with: the defaults, and everything that can be switched switched."""
    switched = {}
    for name, (kind, default) in fields(rule).items():
        if isinstance(default, bool) and name not in (*SWITCHES, *HOW):
            switched[name] = not default
        elif name not in HOW and default in get_args(kind):
            switched[name] = get_args(kind)[-1]
        elif name in ("momentum", "weight_decay") and default == 0:
            switched[name] = 0.1
    return [{}, switched]
