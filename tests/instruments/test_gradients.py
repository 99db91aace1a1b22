"""A wrong backward is named and nothing around it; right models of all kinds are silent and stay as they are."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ravine
from ravine.instruments import GradientError, check_gradients
from ravine.instruments.differences import compare


class Scaled(torch.autograd.Function):
    """x², whose gradient is `off` times what it should be."""

    @staticmethod
    def forward(ctx, x, off):
        ctx.save_for_backward(x)
        ctx.off = off
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.off * g * ctx.saved_tensors[0], None


class Square(nn.Module):
    def __init__(self, off):
        super().__init__()
        self.off = off

    def forward(self, x):
        return Scaled.apply(x, self.off)


class Product(torch.autograd.Function):
    """A linear map that forgets what it is told to."""

    @staticmethod
    def forward(ctx, x, w, b, wrong):
        ctx.save_for_backward(x, w)
        ctx.wrong = wrong
        return x @ w.T + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx, gw, gb = g @ w, g.T @ x, g.sum(0)
        if ctx.wrong == "transposed":
            gx = g @ w.T
        if ctx.wrong == "mean":
            gb = g.mean(0)
        if ctx.wrong == "element":
            gw[3, 4] *= 1.5
        return gx, gw, gb, None


class Dense(nn.Linear):
    wrong = ""

    def forward(self, x):
        return Product.apply(x, self.weight, self.bias, self.wrong)


class Step(torch.autograd.Function):
    """ReLU that lets gradients through a little below zero, too."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > -0.1)


class Rectified(nn.Module):
    def forward(self, x):
        return Step.apply(x)


class Straight(nn.Module):
    """A straight-through estimator: wrong, and meant so."""

    def forward(self, x):
        return x + (x.round() - x).detach()


class Half(nn.Module):
    """Computes in float32 whatever it is given."""

    def __init__(self, off):
        super().__init__()
        self.off = off

    def forward(self, x):
        return Scaled.apply(x.float(), self.off).to(x.dtype)


def dense(wrong):
    layer = Dense(20, 20)
    layer.wrong = wrong
    return layer


def stack(layer):
    return nn.Sequential(
        nn.Linear(10, 20), nn.Tanh(), nn.Sequential(layer, nn.Linear(20, 20)), nn.ReLU(), nn.Linear(20, 3)
    )


def batch():
    return torch.randn(16, 10), torch.randint(0, 3, (16,))


WRONG = {
    "half of it": lambda: Square(0.5),
    "a thousandth off": lambda: Square(1.001),
    "zero": lambda: Square(0.0),
    "the input's": lambda: dense("transposed"),
    "the bias's": lambda: dense("mean"),
    "one element of 400": lambda: dense("element"),
    "on one side of a kink": Rectified,
    "straight through": Straight,
    "a tenth off in float32": lambda: Half(1.1),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_layer_is_named_and_no_other(make):
    model = stack(make())
    for seed in range(3):
        with pytest.raises(
            GradientError, match=rf"the backward of 2\.0 \({type(model[2][0]).__name__}\) is not"
        ) as told:
            check_gradients(model, batch(), F.cross_entropy, seed=seed)
        assert told.value.report.wrong == ("2.0",)
    for row in told.value.report.rows:
        if row.layer.startswith(("0", "1", "2.1", "3", "4")):
            assert row.verdict == "right"


@pytest.mark.parametrize("make", [lambda: Square(1.0), lambda: dense(""), nn.ReLU])
def test_the_same_layers_done_right_are_silent(make):
    report = check_gradients(stack(make()), batch(), F.cross_entropy)
    assert {row.verdict for row in report.rows} == {"right"} and report.wrong == ()
    of = {(row.layer, row.of) for row in report.rows}
    assert {("0", "weight"), ("0", "bias"), ("2", "all inside"), ("2.0", "input"), ("", "all inside")} < of


def test_what_computes_in_float32_is_not_accused():
    for seed in range(5):
        rows = check_gradients(stack(Half(1.0)), batch(), F.cross_entropy, seed=seed).rows
        assert [row.verdict for row in rows if row.layer == "2.0"] == ["right"]


def test_the_element_the_numbers_and_what_to_do_are_told():
    with pytest.raises(GradientError) as told:
        check_gradients(nn.Sequential(nn.Linear(3, 2), Square(0.25)), torch.randn(4, 3), samples=8)
    bad = [row for row in told.value.report.rows if row.layer == "1"]
    assert [row.of for row in bad] == ["input"] and bad[0].differences == pytest.approx(4 * bad[0].backward, rel=1e-5)
    assert f"{bad[0].differences:.6g}" in str(told.value) and "skip=[" in str(told.value)
    with pytest.raises(GradientError, match="Where backward says 0, the way may be cut"):
        check_gradients(nn.Sequential(nn.Linear(3, 2), Square(0.0)), torch.randn(4, 3))


class Holding(nn.Module):
    """Whose own forward is wrong, not the layers in it."""

    def __init__(self, cut=False):
        super().__init__()
        self.first, self.second, self.cut = nn.Linear(10, 20), nn.Linear(20, 3), cut

    def forward(self, x):
        z = self.first(x)
        return self.second(z.detach() + torch.tanh(z) if self.cut else Scaled.apply(z, 0.5))


@pytest.mark.parametrize("cut", [False, True])
def test_what_holds_others_is_named_where_they_are_right(cut):
    with pytest.raises(GradientError, match="The layers inside are right") as told:
        check_gradients(nn.Sequential(Holding(cut), nn.Tanh()), batch()[0])
    assert told.value.report.wrong == ("0",)
    told_of = {row.of for row in told.value.report.rows if row.layer == "0" and row.verdict == "wrong"}
    assert told_of == {"all inside", "first.weight", "first.bias"}


def test_a_wrong_loss_is_named():
    def loss(out, y):
        return Scaled.apply(out, 0.3).sum()

    with pytest.raises(GradientError, match="the backward of the loss is not") as told:
        check_gradients(stack(nn.ReLU()), batch(), loss)
    assert told.value.report.wrong == ("(loss)",)
    with pytest.raises(GradientError) as told:
        check_gradients(stack(Square(0.5)), batch(), loss)
    assert told.value.report.wrong == ("2.0",)  # that first
    with pytest.raises(GradientError, match="nan"):
        check_gradients(nn.Linear(3, 1), torch.randn(4, 3), lambda out: (0 * out).sqrt().sum())


# right ones


class Language(nn.Module):
    """A padded embedding, an LSTM with dropout, outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 8, 2, dropout=0.3, batch_first=True)

    def forward(self, x):
        out, (h, _) = self.lstm(self.embed(x))
        return {"out": out, "state": h, "tokens": x}


class Transformer(nn.Module):
    """Tied weights, a causal mask with infinities, a call by keywords."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens, targets):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        out = self.head(self.layers(self.embed(tokens), mask=mask))
        return out, F.cross_entropy(out.flatten(0, 1), targets.flatten())


class Recurrent(nn.Module):
    """A cell that is called many times, checkpointed."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        h = torch.zeros(x.shape[1], 4)  # of the default type
        for t in x:
            h = checkpoint(self.cell, t, h, use_reentrant=False)
        return h


class Chance(nn.Module):
    """Stochastic depth by Python's own random numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(10, 10) for _ in range(6)])

    def forward(self, x):
        for layer in self.layers:
            x = x + (random.random() < 0.7) * layer(x)
        return x


class Masked(nn.Module):
    """Scores of minus infinity come out of it, as before a softmax."""

    def forward(self, x):
        return x.masked_fill(torch.ones(x.shape[-1], x.shape[-1]).triu(1).bool(), -torch.inf)


class Counting(nn.Module):
    """Uses a buffer that it changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.ones(()))

    def forward(self, x):
        self.count += 1
        return x * self.count


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, dtype=torch.complex64))

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x) * self.w, n=10)


class Odd(nn.Module):
    """A number, an empty weight, a frozen one, unused ones."""

    def __init__(self):
        super().__init__()
        self.used, self.aside = nn.Linear(3, 3), nn.Linear(3, 3)
        self.scale, self.none = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(0))
        self.used.bias.requires_grad_(False)

    def forward(self, x):
        return self.used(x) * self.scale


def convolutional():
    x = torch.rand(4, 3, 12, 12)
    x[:, :, :4] = 0  # black borders: equal windows everywhere
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(32, 4)),
    )
    nn.init.zeros_(model[0].bias)
    return model, (x, torch.randint(0, 4, (4,))), nn.CrossEntropyLoss(weight=torch.ones(4))


RIGHT = {
    "CNN": convolutional,
    "LSTM": lambda: (Language(), torch.randint(0, 5, (3, 5)), None),
    "Transformer": lambda: (
        Transformer(),
        {"tokens": (x := torch.randint(0, 20, (2, 4))), "targets": x},
        lambda out, batch: out[1],
    ),
    "recurrent": lambda: (Recurrent(), torch.randn(5, 2, 3), None),
    "chance": lambda: (Chance(), torch.randn(4, 10), None),
    "masked": lambda: (nn.Sequential(nn.Linear(4, 4), Masked(), nn.Softmax(-1)), torch.randn(2, 4, 4), None),
    "counting": lambda: (nn.Sequential(nn.Linear(4, 4), Counting()), torch.randn(2, 4), None),
    "zeros into pooling": lambda: (
        nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Sequential(nn.MaxPool1d(4), nn.Linear(16, 2))),
        torch.randn(16, 32),
        None,
    ),
    "complex": lambda: (nn.Sequential(nn.Linear(10, 10), Complex()), torch.randn(4, 10), None),
    "sparse": lambda: (
        nn.Sequential(nn.Embedding(20, 5, sparse=True), nn.Flatten()),
        torch.randint(0, 20, (3, 4)),
        None,
    ),
    "weight norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(10, 3)), torch.randn(4, 10), None),
    "zero at first": lambda: (nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.ReLU()), torch.zeros(4, 5), None),
    "evaluating": lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), torch.randn(2, 3, 8), None),
}


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT.keys())
def test_right_models_are_silent_and_exact(make):
    model, batch, loss = make()
    report = check_gradients(model, batch, loss)
    assert {row.verdict for row in report.rows} == {"right"}
    assert max(row.error for row in report.rows) < 1e-5
    assert {id(p) for p in model.parameters()} and len(report.rows) >= len([*model.parameters()])


def test_zeros_of_relu_keep_no_direction_from_being_decided():
    model, x, _ = RIGHT["zeros into pooling"]()
    assert {row.verdict for row in check_gradients(model, x, samples=0).rows} == {"right"}


def test_the_row_for_padding_has_no_gradient_and_that_is_right():
    report = check_gradients(nn.Embedding(4, 3, padding_idx=1), torch.arange(4), samples=12)
    assert {row.verdict for row in report.rows} == {"right"}


def test_unused_weights_are_told_from_wrong_ones():
    rows = {row.of: row.verdict for row in check_gradients(Odd(), torch.randn(4, 3)).rows if row.layer == ""}
    assert rows == {"scale": "right", "aside.weight": "unused", "aside.bias": "unused", "all inside": "right"}


def test_nothing_of_the_model_or_the_world_changes():
    model, batch, loss = convolutional()
    model[1].eval()
    model(batch[0]).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    given = batch[0].clone()
    random.seed(123)
    state, python = torch.get_rng_state(), random.getstate()
    check_gradients(model, batch, loss)
    assert torch.equal(torch.get_rng_state(), state) and random.getstate() == python
    assert torch.get_default_dtype() == torch.float32 and torch.equal(given, batch[0])
    for (name, x), y in zip(model.state_dict().items(), before.values(), strict=True):
        assert torch.equal(x, y) and x.dtype == y.dtype, name
    for p, g in zip(model.parameters(), grads, strict=True):
        assert torch.equal(p.grad, g)
    assert model.training and not model[1].training and not model[1]._forward_pre_hooks
    assert loss.weight.dtype == torch.float32


def test_the_same_seed_gives_the_same_table():
    model = stack(nn.Dropout())
    one, again, other = (str(check_gradients(model, batch()[0], seed=seed)) for seed in (0, 0, 1))
    assert one != other and one.count("\n") == again.count("\n")
    x = batch()[0]
    assert str(check_gradients(model, x)) == str(check_gradients(model, x))


def test_forms_of_batches():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, a, b):
            return self.linear(a) * b

    a, b = torch.randn(2, 4, 3)
    for report in (
        check_gradients(Two(), {"a": a, "b": b}),
        check_gradients(Two(), (a, b), forward=lambda model, batch: model(*batch)),
        check_gradients(Two(), (a, b), lambda out, batch: F.mse_loss(out, batch[1]), forward=lambda m, x: m(*x)),
    ):
        assert {row.verdict for row in report.rows} == {"right"}


def test_what_is_meant_so_can_be_left_out():
    model = stack(Straight())
    report = check_gradients(model, batch(), F.cross_entropy, skip=["2.0"])
    assert {row.layer for row in report.rows} == {"0", "1", "2.1", "3", "4"}
    with pytest.raises(ValueError, match=r"skip has \['7'\]"):
        check_gradients(model, batch(), skip=["7"])


def test_what_cannot_be_repeated_is_named():
    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(ValueError, match=r"two runs of 2\.0 \(Noise\) with the same numbers differ"):
        check_gradients(stack(Noise()), batch())


def test_an_error_in_a_model_comes_with_where_it_was():
    class Picky(nn.Module):
        def forward(self, x):
            assert torch.is_grad_enabled() and x.dtype == torch.float64
            if x.ndim == 2 and not hasattr(self, "once"):
                self.once = True
                return x
            raise RuntimeError("once only")

    with pytest.raises(RuntimeError, match="once only") as told:
        check_gradients(stack(Picky()), batch())
    assert told.value.__notes__ == ["check_gradients: in 2.0 (Picky), called alone, in a float64 copy"]


# differences


def sample(f):
    """f, as compare wants it, and its value at zero."""

    def rows(t):
        return torch.tensor([f(t)], dtype=torch.float64)

    return rows, rows(0.0)


@pytest.mark.parametrize(
    ("f", "backward", "verdict"),
    [
        (lambda t: t + 3 * t * t, 1.0, "right"),
        (lambda t: t + 3 * t * t, 1.001, "wrong"),
        (lambda t: abs(t), 0.0, "right"),
        (lambda t: abs(t), 0.7, "undecided"),  # on a kink: any slope between −1 and 1
        (lambda t: abs(t), 1.5, "undecided"),
        (lambda t: abs(t), 2.5, "wrong"),  # but not this
        (lambda t: max(t, 3e-6), 0.0, "right"),  # a kink near by
        (lambda t: max(t, 3e-6), 1.0, "undecided"),  # flat only near by: it might be a rounding
        (lambda t: max(t, 2e-2), 1.0, "wrong"),
        (lambda t: 0.0, 0.0, "right"),
        (lambda t: 0.0, 1.0, "wrong"),
        (lambda t: 0.0, float("nan"), "wrong"),
        (lambda t: t if t >= 0 else float("nan"), 1.0, "undecided"),
        (lambda t: torch.tensor(1.0 + t).float().item(), 1.0, "right"),  # float32 inside
        *((lambda t, k=k: torch.tensor(1.0 + k * t).float().item(), 1.3 * k, "wrong") for k in (1.0, 0.1, 0.01)),
    ],
)
def test_differences(f, backward, verdict):
    rows, here = sample(f)
    assert compare(rows, here, backward, abs(backward), 1e-15, 1e-5).verdict == verdict


@pytest.mark.parametrize("k", [1.0, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-6, 1e-9])
def test_float32_is_never_accused(k):
    rows, here = sample(lambda t: torch.tensor(1.0 + k * t).float().item())
    assert compare(rows, here, k, k, 1e-15, 1e-5).verdict != "wrong"


def test_what_drowns_in_rounding_is_not_right_for_that():
    rows, here = sample(abs)
    assert compare(rows, here, 0.7, 0.7, 3e-9, 1e-5).verdict == "undecided"


def test_the_front_door():
    assert ravine.check_gradients is check_gradients
