"""Gains against integrals and torch, variances against the papers' equations, and what feeds each layer."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ravine.instruments import check_scale, gain, initialize

# gains


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_torch_is_asked_first(name):
    assert gain(name) == torch.nn.init.calculate_gain(name)


@pytest.mark.parametrize("f", [F.relu, F.gelu, F.silu, F.elu, F.mish, F.softplus, F.selu, torch.tanh])
def test_the_gain_is_that_of_many_normal_numbers(f):
    z = torch.randn(2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert gain(f) == pytest.approx(1 / f(z).square().mean().sqrt().item(), rel=3e-3)


def test_gains_in_closed_form():
    assert gain(F.relu) == pytest.approx(math.sqrt(2), abs=1e-5)
    assert gain(lambda z: F.leaky_relu(z, 0.3)) == pytest.approx(gain("leaky_relu", 0.3), abs=1e-5)
    assert gain(nn.LeakyReLU(0.3)) == gain("leaky_relu", 0.3)
    assert gain(nn.PReLU(init=0.3)) == pytest.approx(gain("leaky_relu", 0.3), abs=1e-6)
    assert gain(torch.erf) == pytest.approx(1 / math.sqrt(2 / math.pi * math.asin(2 / 3)), abs=1e-6)
    assert gain(F.selu) == pytest.approx(1, abs=1e-6) and gain("gelu") == gain(nn.GELU()) == gain(F.gelu)
    with pytest.raises(ValueError, match="has no 'rely'"):
        gain("rely")


# the equations


def drawn(layer, **how):
    initialize(nn.Sequential(layer), generator=torch.Generator().manual_seed(0), **how)
    return layer.weight.detach()


BIG = {
    "linear": lambda: (nn.Linear(300, 500), 300, 500),
    "convolution": lambda: (nn.Conv2d(20, 60, 5), 20 * 25, 60 * 25),
    "groups": lambda: (nn.Conv2d(64, 128, 5, groups=4), 16 * 25, 32 * 25),
    "stride": lambda: (nn.Conv2d(32, 64, 4, stride=2), 32 * 16, 64 * 16 / 4),
    "transposed": lambda: (nn.ConvTranspose2d(64, 32, 4, stride=2), 64 * 16 / 4, 32 * 16),
    "in one dimension": lambda: (nn.Conv1d(100, 200, 5), 500, 1000),
}


@pytest.mark.parametrize("make", BIG.values(), ids=BIG.keys())
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_variances_are_those_of_the_equations(make, distribution):
    for method, mode in (("he", "fan_in"), ("he", "fan_out"), ("glorot", "fan_in")):
        layer, n_in, n_out = make()
        w = drawn(layer, method=method, mode=mode, distribution=distribution, activation="relu")
        var = 2 * 2 / (n_in + n_out) if method == "glorot" else 2 / (n_in if mode == "fan_in" else n_out)
        assert w.var().item() == pytest.approx(var, rel=0.03)
        if distribution == "uniform":
            assert w.abs().max().item() == pytest.approx(math.sqrt(3 * var), rel=1e-2)
        else:
            assert (w.abs() > 3 * math.sqrt(var)).any()
        assert not layer.bias.any()


@pytest.mark.parametrize("make", BIG.values(), ids=BIG.keys())
def test_counts_keep_the_scale_of_what_goes_in(make):
    """Forward with fan_in and backward with fan_out, in the middle of an image, whatever stride and groups."""
    torch.manual_seed(0)
    layer, *_ = make()
    size = {nn.Linear: (), nn.Conv1d: (64,)}.get(type(layer), (40, 40))
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    x = torch.randn(64 if not size else 4, channels, *size, requires_grad=True)
    inner = (slice(None), slice(None), *(slice(6, -6) for _ in size))
    initialize(layer, activation="linear")
    assert layer(x)[inner[: 2 + len(size)]].std().item() == pytest.approx(1, rel=0.1)
    initialize(layer, mode="fan_out", activation="linear")
    out = layer(x)
    (g,) = torch.autograd.grad(out, x, torch.randn_like(out))
    assert g[inner].square().mean().sqrt().item() == pytest.approx(1, rel=0.1)


def test_as_torch_has_it_where_torch_has_it():
    for make in (lambda: nn.Linear(30, 50), lambda: nn.Conv2d(6, 8, 3)):
        ours, theirs = make(), make()
        for how, torchs in (
            ({"method": "he"}, lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g)),
            ({"mode": "fan_out"}, lambda w, g: nn.init.kaiming_normal_(w, 0, "fan_out", "relu", generator=g)),
            ({"method": "glorot"}, lambda w, g: nn.init.xavier_normal_(w, math.sqrt(2), generator=g)),
        ):
            initialize(ours, activation="relu", generator=torch.Generator().manual_seed(1), **how)
            torchs(theirs.weight, torch.Generator().manual_seed(1))
            torch.testing.assert_close(ours.weight, theirs.weight)


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Mish, nn.SELU, nn.LeakyReLU])
def test_every_layer_has_the_scale_of_the_first(act):
    torch.manual_seed(0)
    model = nn.Sequential(*[x for _ in range(8) for x in (nn.Linear(512, 512), act())])
    initialize(model)
    stds = [x.std for x in check_scale(model, torch.randn(256, 512)).rows if x.weighs]
    assert len(stds) == 8 and all(0.75 < x < 1.3 for x in stds), stds


# what feeds a layer


class Written(nn.Module):
    """As people write models: functions, a residual, a norm, pooling, attention, tied weights, a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        self.first, self.second, self.third = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.side, self.normed, self.leaky, self.selu = (nn.Linear(16, 16) for _ in range(4))
        self.norm, self.lstm = nn.LayerNorm(16), nn.LSTM(16, 16)
        self.attention = nn.MultiheadAttention(16, 2)
        self.unreached = nn.Linear(16, 16)
        self.act = nn.GELU()
        self.head = nn.Linear(16, 10)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.first(self.embed(tokens))
        x = F.relu(x)
        x = self.second(F.dropout(x, 0.5, self.training)) + self.side(x.flatten(0, 1)).view_as(x)
        x = self.third(F.max_pool1d(torch.tanh(x).mT, 1).mT.contiguous())
        x = self.normed(self.norm(self.act(x)))
        x = self.leaky(F.leaky_relu(x, 0.3, inplace=True))
        x = self.selu(F.selu(x))
        x = self.lstm(self.attention(x, x, x)[0])[0]
        return self.head(x)


def test_a_batch_tells_what_feeds_each_layer():
    torch.manual_seed(0)
    model = Written()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    done = initialize(model, batch=torch.randint(0, 10, (3, 4)))
    fed = {x.layer: x.fed_by for x in done}
    assert fed == {
        "first": "linear",
        "second": "relu",
        "side": "relu",
        "third": "tanh",
        "normed": "linear",
        "leaky": "leaky_relu",
        "selu": "elu",
    }
    gains = {x.layer: x.gain for x in done}
    assert gains["third"] == 5 / 3 and gains["leaky"] == pytest.approx(gain("leaky_relu", 0.3), abs=1e-5)
    assert gains["selu"] == pytest.approx(1, abs=1e-6)
    for name, p in model.named_parameters():
        mine = name.split(".")[0] in fed
        assert torch.equal(p, before[name]) != mine, name
    assert model.training and not model.first._forward_pre_hooks and not model.act._forward_hooks
    assert str(done).splitlines()[2].split() == ["second", "relu", "1.414", "0.3536"]


def test_a_sequence_tells_without_a_batch_and_others_must_be_told():
    model = nn.Sequential(
        *(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.SiLU()),
        ),
        *(nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        *(nn.PReLU(), nn.Linear(2, 2), nn.Linear(2, 2)),
    )
    by_order = initialize(model)
    assert [x.fed_by for x in by_order] == ["linear", "relu", "silu", "linear", "prelu", "linear"]
    by_run = initialize(model, batch=(torch.randn(2, 3, 12, 12), None))
    assert [(x.layer, x.gain) for x in by_run] == [(x.layer, x.gain) for x in by_order]
    with pytest.raises(ValueError, match="order of layers in Written is known when it runs"):
        initialize(Written())
    with pytest.raises(ValueError, match="method is 'xavier'"):
        initialize(model, "xavier")  # pyright: ignore
    told = initialize(Written(), activation=F.mish)
    assert {x.fed_by for x in told} == {"mish"}
    assert {"unreached", "first"} < {x.layer for x in told} and not any("attention" in x.layer for x in told)


def test_parametrized_weights_are_set_through_what_makes_them():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(400, 300))
    initialize(layer, activation="relu")
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.03)
