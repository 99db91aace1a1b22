"""Kronecker factors of layers, and K-FAC with them: beside curvlinops, written out, and where the Fisher is known."""

import json
from copy import deepcopy
from pathlib import Path

import factored
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, one_hot

import ravine
from ravine.instruments import exact_fisher, solved
from ravine.matrix.kronecker import damped_inverses
from ravine.sources import KroneckerFactors
from ravine.sources.layers import layer_of

LOSSES = {"cross_entropy": cross_entropy, "mse": mse_loss, "bce": binary_cross_entropy_with_logits}
RECORDED = json.loads((Path(__file__).parent / "recorded" / "curvlinops.json").read_text())["factors"]


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def loss_of(name, out, y):
    """torch's, of outputs (…, classes)."""
    return LOSSES[name](out.flatten(0, -2), y.flatten()) if name == "cross_entropy" else LOSSES[name](out, y)


def measured(model, x, y=None, *, loss="cross_entropy", fisher="exact", parts=1, rows=None, **hyper):
    """The states of weights after one step at lr 0, by the names of layers, and what each parameter was given as u."""
    source = KroneckerFactors(model, loss=loss, fisher=fisher)
    opt = ravine.KFAC(model.parameters(), lr=0.0, sources=[source], **hyper)
    for i, part in enumerate(x.chunk(parts)):
        out = model(part)
        given = {} if fisher != "empirical" else {"targets": y.chunk(parts)[i]}
        source.backward(out, rows=rows, **given)
        want = torch.zeros_like(out) if y is None else y.chunk(parts)[i]
        made = out.sum() if y is None and loss == "cross_entropy" else loss_of(loss, out, want)
        (made * len(part) / len(x)).backward()
    opt.step()
    states = {k.removesuffix(".weight"): opt.state[p] for k, p in model.named_parameters() if k.endswith("weight")}
    source.remove()
    return states, {k: opt.state[p]["u"] for k, p in model.named_parameters()}


# beside curvlinops


def like_theirs(setting, made):
    """Assert that our factors and second moments are these."""
    name, fisher, form = setting
    model, x, y, loss = factored.problem(name)
    for ekfac in (False, True):
        states, _ = measured(model, x, y, loss=loss, fisher=fisher, approximation=form, ekfac=ekfac)
        for k, (a, g, v) in made.items():
            close(states[k]["input_factor"][0], a)
            close(states[k]["output_factor"][0], g)
            if ekfac and v is not None:  # the first average has as much of the factors' own
                wg, wa = torch.linalg.eigvalsh(g).clamp(min=0), torch.linalg.eigvalsh(a).clamp(min=0)
                some = (wg > 1e-10)[:, None] & (wa > 1e-10)  # eigenvectors of 0 are any
                close((2 * states[k]["second_moments"][0] - wg[:, None] * wa)[some], v[some], 1e-8)


@pytest.mark.parametrize("setting", factored.SETTINGS, ids="-".join)
def test_factors_are_those_that_curvlinops_made(setting):
    made = RECORDED["-".join(setting)]
    like_theirs(
        setting,
        {
            k: [None if x is None else torch.tensor(x, dtype=torch.float64) for x in arrays]
            for k, arrays in made.items()
        },
    )


@pytest.mark.parametrize("setting", factored.SETTINGS, ids="-".join)
def test_factors_are_those_that_curvlinops_makes_now(setting):
    pytest.importorskip("curvlinops", reason="curvlinops-for-pytorch is no part of the test extras here")
    like_theirs(setting, factored.theirs(*setting))


# what a layer is


LAYERS = [
    (lambda: nn.Linear(3, 2), (5, 3)),
    (lambda: nn.Linear(3, 2, bias=False), (5, 3)),
    (lambda: nn.Linear(3, 2), (3,)),
    (lambda: nn.Linear(3, 2), (5, 4, 2, 3)),
    (lambda: nn.Conv2d(2, 4, 3), (5, 2, 6, 7)),
    (lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (5, 2, 6, 7)),
    (lambda: nn.Conv2d(4, 6, 3, groups=2, padding="same"), (5, 4, 6, 7)),
    (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=2, padding_mode="circular", bias=False), (5, 4, 6, 7)),
    (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (2, 6, 7)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_the_gradient_is_the_sum_of_the_products_of_its_rows(make, shape):
    torch.manual_seed(0)
    module, x = make().double(), torch.randn(shape).double()
    y = module(x)
    delta = torch.randn_like(y)
    (y * delta).sum().backward()
    layer = layer_of("layer", module)
    close(torch.einsum("nkbr,nkbc->brc", layer.outputs(delta), layer.inputs(x)), layer.gradient())
    for p, back in layer.parts(layer.gradient()).items():
        assert torch.equal(p.grad, back)


@pytest.mark.parametrize("ekfac", [False, True])
def test_an_embedding_is_a_linear_layer_of_what_is_one_hot(ekfac):
    torch.manual_seed(0)
    numbers = torch.tensor([0, 2, 3, 2, 2, 0])
    table, linear = nn.Embedding(5, 3).double(), nn.Linear(5, 3, bias=False).double()
    linear.weight.data = table.weight.data.T.clone()
    last, y = nn.Linear(3, 4).double(), torch.tensor([0, 1, 2, 3, 1, 0])
    (states, u), (_, w) = (
        measured(nn.Sequential(first, deepcopy(last)), x, y, ekfac=ekfac)
        for first, x in ((table, numbers), (linear, one_hot(numbers, 5).double()))
    )
    close(u["0.weight"], w["0.weight"].T)
    close(states["0"]["input_factor"], torch.tensor([[2, 0, 3, 1, 0]]).double() / 6)


def test_an_embeddings_padding_is_not_counted_and_entries_not_seen_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Flatten(), nn.Linear(6, 2))
    for ekfac in (False, True):
        model.zero_grad()
        states, u = measured(model, torch.tensor([[0, 2], [3, 2]]), torch.tensor([0, 1]), ekfac=ekfac)
        assert states["0"]["input_factor"].tolist() == [[0.0, 0.0, 0.5, 0.25, 0.0]]
        assert (u["0.weight"][[0, 1, 4]] == 0).all() and (u["0.weight"][[2, 3]] != 0).all()


def test_groups_are_layers_by_themselves():
    torch.manual_seed(0)
    whole, parts = nn.Conv2d(4, 6, 2, groups=2), [nn.Conv2d(2, 3, 2) for _ in range(2)]
    for i, part in enumerate(parts):
        part.weight.data, part.bias.data = whole.weight.data[3 * i :][:3], whole.bias.data[3 * i :][:3]

    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(parts)

        def forward(self, x):
            return torch.cat([part(half) for part, half in zip(self.parts, x.split(2, 1), strict=True)], 1)

    x, y = torch.randn(5, 4, 5, 5), torch.arange(5) % 3
    last = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(96, 3))
    _, u = measured(nn.Sequential(whole, deepcopy(last)), x, y)
    _, v = measured(nn.Sequential(Side(), deepcopy(last)), x, y)
    close(u["0.weight"], torch.cat([v[f"0.parts.{i}.weight"] for i in range(2)]), 1e-5)
    close(u["0.bias"], torch.cat([v[f"0.parts.{i}.bias"] for i in range(2)]), 1e-5)


def test_a_convolution_of_single_pixels_is_a_linear_layer():
    """Where each place has a loss of its own "expand" is that of as many rows, and of a mean "reduce" that of it."""
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(3, 4, 1).double(), nn.Linear(3, 4).double()
    linear.weight.data, linear.bias.data = conv.weight.data.view(4, 3), conv.bias.data
    x = torch.randn(5, 3, 2, 2).double()

    class Places(nn.Module):
        def forward(self, x):
            return x.flatten(2).mT

    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(2)

    for after, rows, form in ((Places(), x.flatten(2).mT.reshape(20, 3), "expand"), (Mean(), Mean()(x), "reduce")):
        there, u = measured(nn.Sequential(conv, after), x, approximation=form)
        here, v = measured(nn.Sequential(linear), rows, approximation=form)
        products = [torch.kron(*(s["0"][k][0] for k in ("output_factor", "input_factor"))) for s in (there, here)]
        close(*products)
        if form == "expand":
            continue
        conv.zero_grad(), linear.zero_grad()
        close(u["0.weight"].view(4, 3), v["0.weight"])


# which δ


def test_the_mean_of_sampled_factors_is_the_exact_one_and_the_empirical_is_another():
    for loss in ("cross_entropy", "mse", "bce"):
        name = {"cross_entropy": "mlp", "mse": "regression", "bce": "bits"}[loss]
        model, x, y, _ = factored.problem(name)
        exact, _ = measured(model, x, y, loss=loss)
        empirical, _ = measured(model, x, y, loss=loss, fisher="empirical")
        source = KroneckerFactors(model, loss=loss)
        opt = ravine.KFAC(model.parameters(), lr=0.0, sources=[source])
        for _ in range(600):  # as a batch that is accumulated
            out = model(x)
            source.backward(out)
        loss_of(loss, out, y).backward()
        opt.step()
        want, got = exact["layer0"]["output_factor"], opt.state[model.layer0.weight]["output_factor"]
        assert (got - want).abs().max() < 0.1 * want.abs().max()
        assert (empirical["layer0"]["output_factor"] - want).abs().max() > 0.1 * want.abs().max()
        source.remove()


def test_parts_of_a_batch_count_as_one():
    for name in ("mlp", "regression", "convolution", "tokens"):
        model, x, y, loss = factored.problem(name)
        for hyper in ({}, {"ekfac": True}, {"approximation": "reduce"}):
            _, whole = measured(model, x, y, loss=loss, fisher="empirical", **hyper)
            model.zero_grad()
            _, parts = measured(model, x, y, loss=loss, fisher="empirical", parts=2, **hyper)
            model.zero_grad()
            for k in whole:
                close(whole[k], parts[k], 1e-8)


def test_a_sum_is_told_by_what_it_divides_by_and_its_step_is_that_of_the_mean():
    model, x, y, _ = factored.problem("regression")
    steps = []
    for reduction, rows in (("mean", None), ("sum", 1)):
        model.zero_grad()
        source = KroneckerFactors(model, loss="mse", fisher="exact")
        opt = ravine.KFAC(model.parameters(), lr=0.0, damping=0.0, sources=[source])
        out = model(x)
        source.backward(out, rows=rows)
        mse_loss(out, y, reduction=reduction).backward()
        opt.step()
        steps.append([opt.state[p]["u"] for p in model.parameters()])
        source.remove()
    for a, b in zip(*steps, strict=True):
        close(a, b, 1e-8)


# the step


def looped(p, x, y):
    """Of two layers with tanh between them, by loops over examples and classes: the factors A, G of each layer, its
    gradient, and (chance, gradient of each layer) of each example and class."""
    (w1, b1, w2, b2), n = p, len(x)
    a0 = torch.cat([x, torch.ones(n, 1, dtype=x.dtype)], 1)
    z1 = torch.cat([w1, b1[:, None]], 1) @ a0.T
    a1 = torch.cat([z1.tanh().T, torch.ones(n, 1, dtype=x.dtype)], 1)
    pi = (a1 @ torch.cat([w2, b2[:, None]], 1).T).softmax(1)
    factors = [torch.zeros(k, k, dtype=x.dtype) for k in (a0.shape[1], len(b1), a1.shape[1], len(b2))]
    grads = [torch.zeros(len(b1), a0.shape[1], dtype=x.dtype), torch.zeros(len(b2), a1.shape[1], dtype=x.dtype)]
    each = []
    for i in range(n):
        factors[0] += torch.outer(a0[i], a0[i]) / n
        factors[2] += torch.outer(a1[i], a1[i]) / n
        for k in range(len(b2)):
            d2 = pi[i] - torch.eye(len(b2), dtype=x.dtype)[k]
            d1 = (w2.T @ d2) * (1 - z1[:, i].tanh() ** 2)
            factors[1] += pi[i, k] * torch.outer(d1, d1) / n
            factors[3] += pi[i, k] * torch.outer(d2, d2) / n
            each.append((pi[i, k] / n, (torch.outer(d1, a0[i]), torch.outer(d2, a1[i]))))
            if k == y[i]:
                grads[0] += torch.outer(d1, a0[i]) / n
                grads[1] += torch.outer(d2, a1[i]) / n
    return factors, grads, each


def kfac_written_out(p, x, y, past, t, damping, interval, decay):
    """u and g of all four parameters, by inverses of whole Kronecker products."""
    factors, grads, _ = looped(p, x, y)
    keep = min(1 - 1 / (t + 1), decay)
    old = past.get("factors", factors)
    past["factors"] = [keep * a + (1 - keep) * b for a, b in zip(old, factors, strict=True)]
    if t % interval == 0:
        past["inverse"] = []
        for a, g in (past["factors"][:2], past["factors"][2:]):
            ratio = ((a.trace() / len(a)) / (g.trace() / len(g))).sqrt()
            eye_a, eye_g = torch.eye(len(a), dtype=x.dtype), torch.eye(len(g), dtype=x.dtype)
            damped = torch.kron(g + damping**0.5 / ratio * eye_g, a + ratio * damping**0.5 * eye_a)
            past["inverse"].append(torch.linalg.inv(damped))
    found = [(v @ g.flatten()).view(g.shape) for v, g in zip(past["inverse"], grads, strict=True)]
    return [[x for g in some for x in (g[:, :-1], g[:, -1])] for some in (found, grads)]


def ekfac_written_out(p, x, y, past, t, damping, interval, decay):
    """The same by whole matrices V diag(S) Vᵀ in the eigenbasis V of the Kronecker product."""
    factors, grads, each = looped(p, x, y)
    keep, slow = min(1 - 1 / (t + 1), decay), min(1 - 1 / (t + 2), decay)
    old = past.get("factors", factors)
    past["factors"] = [keep * a + (1 - keep) * b for a, b in zip(old, factors, strict=True)]
    found = []
    for i, grad in enumerate(grads):
        a, g = past["factors"][2 * i : 2 * i + 2]
        if t % interval == 0:
            v = torch.kron(torch.linalg.eigh(g)[1], torch.linalg.eigh(a)[1])
            whole = past[i] if i in past else torch.kron(g, a)
            past[f"V{i}"] = v
            past[i] = v @ torch.diag((v.T @ whole @ v).diagonal()) @ v.T
        v = past[f"V{i}"]
        new = sum(chance * (v.T @ of[i].flatten()) ** 2 for chance, of in each)
        past[i] = slow * past[i] + (1 - slow) * v @ torch.diag(new) @ v.T
        damped = past[i] + damping * torch.eye(len(v), dtype=x.dtype)
        found.append(torch.linalg.solve(damped, grad.flatten()).view(grad.shape))
    return [[x for g in some for x in (g[:, :-1], g[:, -1])] for some in (found, grads)]


@pytest.mark.parametrize(
    ("written_out", "backend"),
    [(kfac_written_out, "llvm"), (kfac_written_out, "reference"), (ekfac_written_out, "llvm")],
)
def test_it_is_kfac_written_out(written_out, backend):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    source = KroneckerFactors(model, fisher="exact")
    hyper = {"damping": 0.01, "interval": 3, "factor_decay": 0.7, "ekfac": written_out is ekfac_written_out}
    opt = ravine.KFAC(model.parameters(), lr=0.3, momentum=0.5, norm_constraint=0.3, backend=backend,
                      sources=[source], **hyper)  # fmt: skip
    m, past, cut = [torch.zeros_like(p) for p in model.parameters()], {}, 0
    for t in range(8):
        x, y = torch.randn(6, 3).double(), torch.randint(3, (6,))
        p = [p.detach().clone() for p in model.parameters()]
        u, g = written_out(p, x, y, past, t, 0.01, 3, 0.7)
        size = 0.3**2 * sum((a * b).sum() for a, b in zip(u, g, strict=True))
        nu = min(1.0, (0.3 / size.item()) ** 0.5)
        cut += nu < 1
        m = [0.5 * a + nu * b for a, b in zip(m, u, strict=True)]
        opt.zero_grad()
        out = model(x)
        source.backward(out)
        cross_entropy(out, y).backward()
        with torch.no_grad():
            deepcopy(model)(x)  # a copy is not watched
        opt.step()
        for now, before, step in zip(model.parameters(), p, m, strict=True):
            close(now.detach(), before - 0.3 * step, 1e-9)
    assert 0 < cut < 8


def test_of_one_linear_layer_and_squared_errors_it_is_the_natural_gradient_which_is_newtons():
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3).double(), torch.randn(30, 4).double(), torch.randn(30, 3).double()
    for ekfac in (False, True):
        nn.init.normal_(model.weight)
        source = KroneckerFactors(model, loss="mse", fisher="exact")
        opt = ravine.create("kfac", model, lr=1.0, damping=0.0, momentum=0.0, norm_constraint=0.0, ekfac=ekfac,
                            sources=[source])  # fmt: skip
        opt.zero_grad()
        out = model(x)
        source.backward(out)
        mse_loss(out, y).backward()
        opt.step()
        best = torch.linalg.lstsq(torch.cat([x, torch.ones(30, 1).double()], 1), y).solution.T
        close(torch.cat([model.weight, model.bias[:, None]], 1).detach(), best, 1e-8)
        source.remove()


def test_of_a_linear_classifier_at_equal_odds_ekfac_is_the_exact_damped_natural_gradient():
    """There G does not depend on x, and the Fisher matrix is a Kronecker product."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3).double(), torch.randn(9, 4).double(), torch.arange(9) % 3
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    _, u = measured(model, x, y, ekfac=True, damping=0.03)
    want = solved(exact_fisher(model(x), model.parameters()), model.parameters(), 0.03)
    for k, p in model.named_parameters():
        close(u[k], want[p], 1e-9)


def test_damping_leaves_factors_as_they_are_and_multiplies_out():
    torch.manual_seed(0)
    a, g = (x @ x.mT for x in (torch.randn(2, 4, 9).double(), torch.randn(2, 3, 9).double()))
    before = a.clone(), g.clone()
    pa, pg = damped_inverses(a, g, 0.04)
    assert torch.equal(a, before[0]) and torch.equal(g, before[1])
    for i in range(2):
        pi = ((a[i].trace() / 4) / (g[i].trace() / 3)).sqrt()
        close(torch.linalg.inv(pa[i]), a[i] + pi * 0.2 * torch.eye(4).double())
        close(torch.linalg.inv(pg[i]), g[i] + 0.2 / pi * torch.eye(3).double())
    zero = torch.zeros(1, 2, 2)
    for x in damped_inverses(zero, zero, 0.04):
        close(x[0], 5 * torch.eye(2))
    flat, _ = damped_inverses(torch.tensor([[1.0, 3.0]]), torch.eye(2)[None], 0.04, diagonal=True)
    full, _ = damped_inverses(torch.diag(torch.tensor([1.0, 3.0]))[None], torch.eye(2)[None], 0.04)
    close(full[0].diagonal(), flat[0], 1e-6)


# training


def trained(model, source, opt, steps, first=0):
    for t in range(first, first + steps):
        x, y = factored.wave((6, 3), 1.1 + t), torch.arange(6) % 3
        opt.zero_grad()
        out = model(x)
        source.backward(out)
        cross_entropy(out, y).backward()
        opt.step()


def own(model, **hyper):
    source = KroneckerFactors(model, seed=1)
    return source, ravine.create("kfac", model, sources=[source], **hyper)


@pytest.mark.parametrize("ekfac", [False, True])
def test_it_goes_on_from_a_checkpoint_bit_for_bit(ekfac, tmp_path):
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()
    source, opt = own(one, lr=0.1, ekfac=ekfac, interval=3, factor_interval=2)
    trained(one, source, opt, 5)
    torch.save({"model": one.state_dict(), "opt": opt.state_dict()}, tmp_path / "saved")
    two = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()
    again, other = own(two, lr=0.1, ekfac=ekfac, interval=3, factor_interval=2)
    saved = torch.load(tmp_path / "saved")
    two.load_state_dict(saved["model"]), other.load_state_dict(saved["opt"])
    trained(one, source, opt, 6, 5)
    trained(two, again, other, 6, 5)
    assert all(map(torch.equal, one.parameters(), two.parameters()))


@pytest.mark.parametrize("ekfac", [False, True])
def test_a_new_optimizer_has_places_for_all_that_a_checkpoint_has(ekfac):
    """torch.distributed.checkpoint makes a step of zeros at lr 0, for states to load into."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(4, 3), nn.LayerNorm(3))
    x, y = torch.randn(5, 2, 3, 3), torch.arange(5) % 3
    source, opt = own(model, lr=0.0, ekfac=ekfac, rest={"lr": 0.0})
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    opt.step()
    made = {k: {n: v.shape for n, v in opt.state[p].items()} for k, p in model.named_parameters()}
    opt.state.clear()
    out = model(x)
    source.backward(out)
    cross_entropy(out, y).backward()
    opt.step()
    assert made == {k: {n: v.shape for n, v in opt.state[p].items()} for k, p in model.named_parameters()}


def test_factors_and_inverses_are_made_in_their_turns_and_between_them_backward_does_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    source, opt = own(model.double(), factor_interval=2, interval=3)
    seen = []
    for t in range(7):
        kept = {k: x.clone() for k, x in opt.state[model[0].weight].items()}
        trained(model, source, opt, 1, t)
        now = opt.state[model[0].weight]
        seen.append(
            "".join(
                k[0]
                for k in ("factor", "inverse")
                if not torch.equal(now[f"input_{k}"], kept.get(f"input_{k}", torch.zeros(1)))
            )
        )
    assert seen == ["fi", "", "f", "i", "f", "", "fi"]


def test_what_is_changed_in_place_after_a_layer_is_measured_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    x, y = torch.randn(5, 3).double(), torch.arange(5) % 3
    _, want = measured(model, x, y)
    model.zero_grad()
    model[1].inplace = True
    _, got = measured(model, x, y)
    for k in want:
        close(want[k], got[k])


def test_a_measurement_that_is_not_finite_is_passed_over():
    model, x, y, _ = factored.problem("mlp")
    source = KroneckerFactors(model)
    opt = ravine.KFAC(model.parameters(), nonfinite="skip", sources=[source])
    for t in range(3):
        opt.zero_grad()
        out = model(x * (torch.nan if t == 1 else 1.0))
        source.backward(out)
        cross_entropy(out, y).backward()
        opt.step()
        kept = [x.clone() for x in (opt.state[model.layer0.weight]["input_factor"], model.layer0.weight)]
        assert all(x.isfinite().all() for x in kept)
    assert opt.skipped == 1


def test_factors_of_bf16_weights_are_in_float32_and_what_the_rule_is_given_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).bfloat16()
    states, u = measured(model, torch.randn(5, 3).bfloat16(), torch.arange(5) % 3)
    assert {x.dtype for x in states["0"].values() if x.dim() > 2} == {torch.float32}
    assert all(x.dtype == torch.float32 for x in u.values())


def test_adaptive_damping_falls_where_the_model_foretells_the_loss_and_rises_where_it_does_not():
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3).double(), torch.randn(30, 4).double(), torch.randn(30, 3).double()
    source = KroneckerFactors(model, loss="mse", fisher="exact", adaptive=True)
    opt = ravine.KFAC(model.parameters(), lr=1.0, damping=0.1, momentum=0.0, norm_constraint=0.0, sources=[source])
    ratios = []
    for t in range(11):
        opt.zero_grad()
        out = model(x)
        source.backward(out)
        loss = mse_loss(out, y)
        loss.backward()
        opt.step()
        assert source.adapts == (t % 5 == 0)
        if source.adapts:
            after = mse_loss(model(x), y).item() if t < 6 else loss.item() + 1
            ratios.append(source.adapt(loss, after))
    assert ratios[:2] == pytest.approx([1.0, 1.0]) and ratios[2] < 0
    assert opt.param_groups[0]["damping"] == pytest.approx(0.1 * 0.9**5)
    with pytest.raises(RuntimeError, match=r"adapt\(\) is of a step for which adapts is true"):
        source.adapt(1.0, 1.0)


# who is served, and what is refused


def test_layers_without_factors_go_to_adamw_and_the_routes_say_why():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.tied, self.wide = nn.Embedding(9, 4), nn.Linear(4, 9), nn.Linear(4, 9000)
            self.tied.weight = self.table.weight
            self.attention, self.norm, self.inside = nn.MultiheadAttention(4, 2), nn.LayerNorm(4), nn.Linear(4, 4)
            self.frozen = nn.Linear(4, 4)
            self.frozen.weight.requires_grad_(False)

    model = Model()
    layers, rest = ravine.groups.factored(model)
    assert [name for name, _ in layers] == ["inside.weight", "inside.bias"]
    assert rest.why == {
        "table.weight": "Embedding, tied",
        "tied.bias": "Linear, tied",
        "wide.weight": "Linear, a factor of 9000 rows",
        "wide.bias": "Linear, a factor of 9000 rows",
        "attention.in_proj_weight": "MultiheadAttention",
        "attention.in_proj_bias": "MultiheadAttention",
        "attention.out_proj.weight": "NonDynamicallyQuantizableLinear",
        "attention.out_proj.bias": "NonDynamicallyQuantizableLinear",
        "norm.weight": "LayerNorm",
        "norm.bias": "LayerNorm",
        "frozen.weight": "Linear, frozen but for its bias",
        "frozen.bias": "Linear, frozen but for its bias",
    }
    routes = {x.name: x.rule for x in ravine.create("kfac", model, sources=[KroneckerFactors(model)]).routes()}
    assert {k for k, rule in routes.items() if rule == "KFAC"} == {"inside.weight", "inside.bias"}
    table = nn.Embedding(9, 4)
    assert not ravine.groups.factored(table)[0] and ravine.groups.factored(table, embeddings=True)[0]
    assert not ravine.groups.factored(nn.Embedding(9, 4, max_norm=1.0), embeddings=True)[0]


def test_mistakes_are_named_and_nothing_moves():
    model, x, y, _ = factored.problem("mlp")
    normed = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)).double()
    with pytest.raises(ValueError, match=r"ReLU has no nn.Linear, nn.Conv2d or nn.Embedding"):
        KroneckerFactors(nn.ReLU())
    with pytest.raises(ValueError, match="loss is 'nll'; it must be one of"):
        KroneckerFactors(model, loss="nll")
    source = KroneckerFactors(normed)
    opt = ravine.KFAC(normed.parameters(), sources=[source])
    before = [p.clone() for p in normed.parameters()]
    cross_entropy(normed(x), y).backward()
    with pytest.raises(ValueError, match=r"'?1.weight'? of shape \(3,\) has no Kronecker factors; ravine.create"):
        opt.step()
    assert all(map(torch.equal, before, normed.parameters()))
    source = KroneckerFactors(model)
    opt = ravine.KFAC(model.parameters(), sources=[source])
    cross_entropy(model(x), y).backward()
    with pytest.raises(RuntimeError, match=r"backward\(outputs\) was not called in a step that takes new factors"):
        opt.step()
    with pytest.raises(ValueError, match="fisher='sampled' takes no targets"):
        source.backward(model(x), y)
    model(x)
    with pytest.raises(ValueError, match=r"outputs of shape .* have no graph"):
        source.backward(model(x).detach())
    opt = ravine.KFAC(model.parameters())
    with pytest.raises(TypeError, match=r"(?s)given no 'u'.*ravine.sources.KroneckerFactors\(model\)"):
        opt.step()


def test_a_layer_whose_weight_is_used_without_a_call_is_named():
    class Uses(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(nn.functional.linear(x, self.first.weight, self.first.bias))

    model, x = Uses().double(), torch.randn(5, 3).double()
    with pytest.raises(RuntimeError, match="'first' has a gradient, and outputs were not made of it"):
        measured(model, x, torch.arange(5) % 3)


def test_a_layer_that_is_called_twice_counts_both():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 3).double(), torch.randn(4, 3).double()
    states, _ = measured(nn.Sequential(layer, nn.Tanh(), layer), x, torch.arange(4) % 3)
    rows = torch.cat([torch.cat([a, torch.ones(4, 1).double()], 1) for a in (x, layer(x).tanh().detach())])
    close(states["0"]["input_factor"][0], rows.T @ rows / 8)
