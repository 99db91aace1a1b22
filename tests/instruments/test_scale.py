"""Planted bad initializations are flagged, good ones are silent, and the numbers are those computed by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ravine.instruments import check_scale, initialize


def mlp(depth, width, act, norm=False):
    torch.manual_seed(0)
    layers = [
        nn.Sequential(nn.Linear(width, width), *([nn.LayerNorm(width)] if norm else []), act()) for _ in range(depth)
    ]
    return nn.Sequential(*(x for layer in layers for x in layer), nn.Linear(width, 10))


def set_std(model, std):
    for x in model.modules():
        if isinstance(x, nn.Linear):
            nn.init.normal_(x.weight, std=std)
            nn.init.zeros_(x.bias)
    return model


BAD = {
    "tanh, std 0.01": (lambda: set_std(mlp(5, 64, nn.Tanh), 0.01), ["activations vanish", "gradients vanish"]),
    "tanh, std 1": (lambda: set_std(mlp(6, 64, nn.Tanh), 1.0), ["gradients explode"]),
    "relu, std 1": (lambda: set_std(mlp(6, 64, nn.ReLU), 1.0), ["activations explode", "gradients explode"]),
    "relu, torch's own": (lambda: mlp(10, 64, nn.ReLU), ["gradients vanish"]),
    "sigmoid": (lambda: mlp(6, 64, nn.Sigmoid), ["gradients vanish"]),
}


@pytest.mark.parametrize(("make", "problems"), BAD.values(), ids=BAD.keys())
def test_bad_initializations_are_flagged(make, problems):
    report = check_scale(make(), torch.randn(64, 64))
    assert [x.split(":")[0] for x in report.problems] == problems and not report.healthy
    assert str(report).endswith("\n".join(report.problems))
    for x in report.problems:
        ends = ("0 (Linear)", f"{len(make()) - 1} (Linear)")
        assert x.endswith("from {} to {}".format(*(ends if "activations" in x else ends[::-1])))


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.a, self.b = nn.Conv2d(a, b, 3, stride, 1), nn.Conv2d(b, b, 3, 1, 1)
        self.norm, self.last = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
        self.side = nn.Conv2d(a, b, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.side(x) + self.last(self.b(F.relu(self.norm(self.a(x))))))


def residual():
    blocks = [Block(a, b, s) for a, b, s in ((8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2))]
    return nn.Sequential(nn.Conv2d(3, 8, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))


def pooled():
    sizes = ((3, 16), (16, 16), None, (16, 32), (32, 32), None, (32, 64), (64, 64), None)
    parts = [[nn.MaxPool2d(2)] if s is None else [nn.Conv2d(*s, 3, padding=1), nn.ReLU()] for s in sizes]
    return nn.Sequential(*(x for part in parts for x in part), nn.Flatten(), nn.Linear(1024, 4))


def attention():
    layer = nn.TransformerEncoderLayer(32, 4, 128, batch_first=True, norm_first=True, dropout=0.0)
    return nn.Sequential(
        nn.Embedding(50, 32), nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), nn.Linear(32, 4)
    )


IMAGES = (8, 3, 32, 32)
GOOD = {
    **{
        act.__name__: (lambda act=act: mlp(10, 64, act), (64, 64))
        for act in (nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh)
    },
    "ReLU, depth 50": (lambda: mlp(50, 64, nn.ReLU), (64, 64)),
    "residual": (residual, IMAGES),
    "pooling": (pooled, IMAGES),
    "attention": (attention, None),
}


@pytest.mark.parametrize("method", ["he", "glorot"])
@pytest.mark.parametrize(("make", "shape"), GOOD.values(), ids=GOOD.keys())
def test_good_initializations_are_silent(make, shape, method):
    model, x = make(), torch.randint(0, 50, (4, 16)) if shape is None else torch.randn(shape)
    initialize(model, method, batch=x)
    report = check_scale(model, x)
    assert report.problems == () and report.healthy


def test_norms_keep_a_bad_initialization_from_a_trend():
    assert check_scale(set_std(mlp(10, 64, nn.Tanh, norm=True), 0.05), torch.randn(64, 64)).healthy


def test_the_numbers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    rows = {row.layer: row for row in check_scale(model, (x, y), F.mse_loss).rows}
    z = model[0](x)
    h = z.relu()
    out = model[2](h)
    gz, gh, gout = torch.autograd.grad(F.mse_loss(out, y), (z, h, out))
    for name, value, g in (("0", z, gz), ("1", h, gh), ("2", out, gout)):
        assert rows[name].mean == pytest.approx(value.mean().item(), rel=1e-5)
        assert rows[name].std == pytest.approx(value.std(correction=0).item(), rel=1e-5)
        assert rows[name].gradient == pytest.approx(g.norm().item() / 5**0.5, rel=1e-5)
    assert [row.weighs for row in rows.values()] == [True, False, True]


def test_what_is_broken_is_told_by_its_first_layer():
    model = mlp(4, 8, nn.ReLU)
    x = torch.randn(16, 8)
    nn.init.constant_(model[2].bias, -1e3)  # dead: nothing varies behind it, and nothing comes back
    assert check_scale(model, x).problems[:2] == (
        "the same for every example comes out of 3 (ReLU)",
        "no gradient but zero arrives at 2 (Linear)",
    )
    nn.init.constant_(model[2].bias, float("inf"))
    assert check_scale(model, x).problems[0] == "not finite comes out of 2 (Linear)"
    with pytest.raises(ValueError, match="nothing that comes out has a gradient"):
        check_scale(model.requires_grad_(False), x)


def test_the_model_is_not_changed():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        check_scale(model, torch.randn(8, 4, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(before.values(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert all(p.grad is None for p in model.parameters()) and not model[0]._forward_hooks
