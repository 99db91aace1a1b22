"""Integers and booleans among the parameters, as quantized weights are: they stand still and are in nobody's way."""

import copy

import pytest
import torch
from cases import equal, every_program, parameters, walk

import ravine
from ravine.mods import EMA, ClipNorm

SHAPES = [(), (3,), (2, 3)]


def still():
    """Parameters that no gradient comes to."""
    kinds = [torch.int8, torch.uint8, torch.int64, torch.bool]
    return [torch.nn.Parameter(torch.ones(2, 3, dtype=kind), requires_grad=False) for kind in kinds]


def moving(opt):
    return [p for group in opt.param_groups for p in group["params"] if p.is_floating_point()]


def steps(opt, count):
    """The same gradients for what moves, wherever it stands."""

    class Moving:
        param_groups = [{"params": moving(opt)}]
        step = opt.step

    walk(Moving, count)


def same(a, b):
    for p, q in zip(moving(a), moving(b), strict=True):
        equal(p.detach(), q.detach())


@every_program
def test_they_change_nothing(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    frozen = still()
    a, b = cls(p), cls([frozen[0], q[0], frozen[1], *q[1:], *frozen[2:]])
    for opt in (a, b):
        steps(opt, 2)
    same(a, b)
    for p in frozen:
        assert p not in b.state and torch.equal(p, torch.ones_like(p))


@every_program
def test_all_that_can_be_asked_of_an_optimizer_passes_them_over(cls):
    opt = cls([*parameters(SHAPES), *still()], measured=True)
    twin = copy.deepcopy(opt)
    steps(opt, 2)
    steps(twin, 2)
    opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    opt.load_state_dict(opt.state_dict(decoded=True))
    assert opt.load_state_dict(opt.state_dict(), strict=False).missing == []
    opt.eval()
    opt.load_state_dict(opt.state_dict())
    opt.train()
    assert "Equations" in opt.explain() and "int8" not in opt.explain()
    opt.metrics()
    assert next(x.isnan().tolist() for x in opt.metrics(each=True).values()) == [False] * 3 + [True] * 4
    opt.zero_grad(set_to_none=False)
    opt.zero_grad()
    for x in (opt, twin):
        x.add_param_group({"params": [*still(), *parameters([(2,)], seed=1)]})
    steps(opt, 1)
    steps(twin, 1)
    same(opt, twin)


class Quantized(torch.nn.Module):
    """A layer of int8 with a trained one beside it."""

    def __init__(self):
        super().__init__()
        self.codes = torch.nn.Parameter(torch.arange(12, dtype=torch.int8).view(4, 3), requires_grad=False)
        self.mask = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.bool), requires_grad=False)
        self.adapter = torch.nn.Linear(3, 4)

    def forward(self, x):
        return x @ (self.codes.float() / 9 * self.mask).T + self.adapter(x)


def losses(model, opt, count=4):
    """The losses of some steps."""
    x, found = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), []

    def closure():
        opt.zero_grad()
        found.append(model(x).square().mean())
        found[-1].backward()
        return found[-1]

    for _ in range(count):
        opt.step(closure)
    return [x.item() for x in found]


DRIVEN = {
    "lookahead": lambda opt: ravine.strategies.Lookahead(opt, k=2, inner_state="interpolate"),
    "snoo": lambda opt: ravine.strategies.SNOO(opt, k=2),
    "sam": lambda opt: ravine.strategies.SAM(opt, adaptive=True),
    "gsam": lambda opt: ravine.strategies.GSAM(opt),
}


@pytest.mark.parametrize("adam", [ravine.Adam, torch.optim.Adam], ids=["ravine", "torch"])
@pytest.mark.parametrize("strategy", DRIVEN.values(), ids=DRIVEN.keys())
def test_strategies_pass_them_over(strategy, adam):
    torch.manual_seed(0)
    model = Quantized()
    opt = strategy(adam(model.parameters(), lr=1e-2))
    losses(model, opt)
    twin_model = copy.deepcopy(model)
    twin = strategy(adam(twin_model.parameters(), lr=1e-2))
    twin.load_state_dict(copy.deepcopy(opt.state_dict()))
    for x in (opt, twin):
        x.eval()
        x.train()
    assert losses(model, opt) == losses(twin_model, twin)


@pytest.mark.parametrize("exact", [False, True])
def test_a_released_optimizer_passes_them_over(exact):
    torch.manual_seed(0)
    model = Quantized()
    other = copy.deepcopy(model)
    x = torch.randn(5, 3)
    opts = [ravine.AdamW(m.parameters(), lr=1e-2, mods=[EMA(0.9), ClipNorm(1e3)]) for m in (model, other)]
    released = ravine.release(model, opts[0], exact=exact)
    for _ in range(3):
        for m, opt in zip((model, other), opts, strict=True):
            loss = m(x).square().mean()
            if exact and m is model:
                released.measure(loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
    same(*opts)
    opts[0].load_state_dict(opts[0].state_dict())
    released.remove()


def test_a_state_for_one_of_them_is_refused():
    a = ravine.Adam(parameters([(2, 3)]))
    walk(a, 1)
    b = ravine.Adam([torch.nn.Parameter(torch.ones(2, 3, dtype=torch.int8), requires_grad=False)])
    with pytest.raises(ValueError, match=r"parameter 0 is torch\.int8, which never moves"):
        b.load_state_dict(a.state_dict())
    assert list(b.load_state_dict(a.state_dict(), strict=False).unfit) == ["parameter 0"]
