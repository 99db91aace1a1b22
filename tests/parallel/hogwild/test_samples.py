"""The compiled loop over samples: the optimizer's own rule on what each sample touches, and on nothing else."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from ravine.mods import ClipNorm, ClipValue
from ravine.parallel.hogwild import MatrixCompletion, SparseLinear
from ravine.words import sqrt

ADDS = ["plain", "atomic", "locked"]


def rows(samples=60, width=40, seed=0):
    """Samples as lists of (column, value); some are empty, and every column comes once in a sample."""
    made = np.random.default_rng(seed)
    out = []
    for i in range(samples):
        columns = np.sort(made.choice(width - 3, 0 if i % 13 == 5 else made.integers(1, 7), replace=False))
        out.append([(int(c), float(made.standard_normal())) for c in columns])
    return out  # the last 3 columns are in no sample


def csr(samples):
    starts = np.cumsum([0, *(len(x) for x in samples)])
    columns = np.array([c for x in samples for c, _ in x], dtype=np.int64)
    return starts, columns, np.array([v for x in samples for _, v in x])


def signs(count, seed=1):
    return np.where(np.random.default_rng(seed).random(count) < 0.5, -1.0, 1.0)


def begin(width=40, dtype=torch.float64, seed=2):
    made = torch.Generator().manual_seed(seed)
    return nn.Parameter((torch.randn(width, generator=made, dtype=torch.float64) / 3).to(dtype))


def slope(loss, z, y):
    return {
        "logistic": lambda: -y / (1 + math.exp(y * z)),
        "hinge": lambda: -y if y * z < 1 else 0.0,
        "squared": lambda: z - y,
    }[loss]()


def sgd(w, s, v, g, t, lr=0.1):
    w[v] -= lr * g


def momentum(w, s, v, g, t, lr=0.1):
    g = g + 0.01 * w[v]
    s["m"][v] = g if t == 1 else 0.9 * s["m"][v] + g
    w[v] -= lr * s["m"][v]


def adagrad(w, s, v, g, t, lr=0.1):
    s["G"][v] += g * g
    w[v] -= lr / (1 + (t - 1) * 0.01) * g / (math.sqrt(s["G"][v]) + 1e-10)


def adam(w, s, v, g, t, lr=0.1):
    s["m"][v] = 0.9 * s["m"][v] + (1 - 0.9) * g
    s["v"][v] = 0.999 * s["v"][v] + (1 - 0.999) * g * g
    w[v] -= lr * (s["m"][v] / (1 - 0.9**t)) / (math.sqrt(s["v"][v] / (1 - 0.999**t)) + 1e-8)


RULES = [
    (ravine.SGD, {}, sgd, ()),
    (ravine.SGD, {"momentum": 0.9, "weight_decay": 0.01}, momentum, ("m",)),
    (ravine.Adagrad, {"lr_decay": 0.01}, adagrad, ("G",)),
    (ravine.Adam, {}, adam, ("m", "v")),
]
NAMES = {"m": ("momentum_buffer", "exp_avg"), "G": ("sum",), "v": ("exp_avg_sq",)}


def near(a, b, tolerance):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max()), np.abs(a - b).max()


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"])
@pytest.mark.parametrize("adds", ADDS)
@pytest.mark.parametrize(("cls", "hyper", "rule", "states"), RULES, ids=["sgd", "momentum", "adagrad", "adam"])
def test_a_walk_is_the_plain_loop(cls, hyper, rule, states, adds, loss):
    samples, y, p = rows(), signs(60), begin()
    w, kept = p.detach().numpy().copy(), {k: np.zeros(40) for k in states}
    opt = cls([p], lr=0.1, **hyper)
    problem = SparseLinear(csr(samples), y, opt, loss=loss, seed=3)
    orders = [problem.order(e).tolist() for e in range(3)]
    problem.fit(3, backoff=0.5, adds=adds)
    t = 0
    for epoch, order in enumerate(orders):
        assert sorted(order) == list(range(60))
        for i in order:
            t += 1
            s = slope(loss, sum(v * w[c] for c, v in samples[i]), y[i])
            for c, v in samples[i]:
                rule(w, kept, c, s * v, t, lr=0.1 * 0.5**epoch)
    near(p.detach(), w, 1e-11)
    for k in states:
        near(opt.state[p][next(n for n in NAMES[k] if n in opt.state[p])], kept[k], 1e-11)
    assert float(opt.state[p]["step"]) == 180
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1 / 8)
    assert orders[0] != orders[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize(("cls", "hyper"), [x[:2] for x in RULES], ids=["sgd", "momentum", "adagrad", "adam"])
def test_a_walk_is_single_steps_of_the_optimizer(cls, hyper, loss, dtype):
    """Bit for bit; with powers of t, which torch computes for many steps at once, to the last bits."""
    samples, y, p, q = rows(), signs(60), begin(dtype=dtype), begin(dtype=dtype)
    mine, single = cls([p], lr=0.1, **hyper), cls([q], lr=0.1, **hyper)
    problem = SparseLinear(csr(samples), y, mine, loss=loss)
    for i in problem.order(0).tolist():
        columns = torch.tensor([c for c, _ in samples[i]], dtype=torch.int64)
        values = torch.tensor([v for _, v in samples[i]], dtype=torch.float64).to(dtype)
        z = 0.0
        for x, weight in zip(values.tolist(), q.detach()[columns].tolist(), strict=True):
            z += x * weight
        g = torch.tensor(slope(loss, z, y[i]), dtype=dtype) * values
        q.grad = torch.sparse_coo_tensor(columns[None], g, q.shape, check_invariants=True)
        single.step()
    problem.fit()
    for k, x, y in [("p", p.detach(), q.detach()), *((k, mine.state[p][k], y) for k, y in single.state[q].items())]:
        if cls is ravine.Adam:
            near(x, y, 1e-13 if dtype == torch.float64 else 1e-6)
        else:
            assert torch.equal(x, y), k


def test_steps_and_walks_take_turns():
    samples, y = rows(), signs(60)
    p, q = begin(), begin()
    mine, other = ravine.Adam([p], lr=0.1), ravine.Adam([q], lr=0.1)
    walk, twin = SparseLinear(csr(samples), y, mine), SparseLinear(csr(samples), y, other)
    for problem, x, opt in ((walk, p, mine), (twin, q, other)):
        for _ in range(2):
            problem.fit()
            x.grad = torch.ones_like(x)
            opt.step()
    assert float(mine.state[p]["step"]) == 122
    assert torch.equal(p, q)
    saved = mine.state_dict()
    r = nn.Parameter(p.detach().clone())
    third = ravine.Adam([r], lr=0.1)
    third.load_state_dict(saved)
    again = SparseLinear(csr(samples), y, third)
    again.epochs = walk.epochs
    again.fit()
    walk.fit()
    assert torch.equal(r, p)


def test_what_no_sample_touches_stays_bit_for_bit():
    p = begin()
    before = p.detach().clone()
    opt = ravine.AdamW([p], lr=0.1, weight_decay=0.5)
    SparseLinear(csr(rows()), signs(60), opt).fit(4)
    assert torch.equal(p[37:], before[37:]) and not torch.equal(p[:37], before[:37])
    assert not opt.state[p]["exp_avg"][37:].any() and not opt.state[p]["exp_avg_sq"][37:].any()


@pytest.mark.parametrize("adds", ADDS)
def test_a_column_that_comes_twice_counts_with_the_sum(adds):
    twice = ([0, 3, 5], [4, 1, 4, 2, 2], [0.5, 1.0, 0.25, -2.0, 1.0])
    once = ([0, 2, 3], [1, 4, 2], [1.0, 0.75, -1.0])
    p, q = begin(6), begin(6)
    for x, data in ((p, twice), (q, once)):
        SparseLinear(data, [1, -1], ravine.Adagrad([x], lr=0.1)).fit(3, adds=adds)
    assert torch.equal(p, q)


def test_samples_of_every_form():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.zeros((60, 40))
    for i, sample in enumerate(rows()):
        for c, v in sample:
            dense[i, c] = v
    coo = sparse.coo_matrix(dense)
    index = np.stack([coo.row, coo.col])[:, ::-1].copy()
    forms = {
        "csr": sparse.csr_matrix(dense),
        "csc": sparse.csc_matrix(dense),
        "coo": torch.sparse_coo_tensor(torch.from_numpy(index), coo.data[::-1].copy(), (60, 40), check_invariants=True),
        "dense": torch.from_numpy(dense),
        "three": csr(rows()),
    }
    results = {}
    for name, data in forms.items():
        p = begin()
        problem = SparseLinear(data, signs(60), ravine.SGD([p], lr=0.1))
        near(problem.scores(), dense @ p.detach().numpy(), 1e-13)
        problem.fit(2)
        results[name] = p.detach()
    assert all(torch.equal(x, results["csr"]) for x in results.values())


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_samples_as_a_csr_tensor():
    made = torch.eye(5, dtype=torch.float64).to_sparse_csr()
    p = nn.Parameter(torch.zeros(5))
    problem = SparseLinear(made, torch.ones(5), ravine.SGD([p], lr=1.0), loss="squared")
    problem.fit()
    assert torch.equal(p, torch.ones(5)) and problem.loss() == 0


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"])
def test_the_loss_is_the_formula(loss):
    y, z = signs(60), np.array([sum(v * float(begin().detach()[c]) for c, v in x) for x in rows()])
    found = SparseLinear(csr(rows()), y, ravine.SGD([begin()]), loss=loss).loss()
    wanted = {"logistic": np.log1p(np.exp(-y * z)), "hinge": np.maximum(0, 1 - y * z), "squared": (z - y) ** 2 / 2}
    near(found, wanted[loss].mean(), 1e-13)


def test_the_exponential_is_right_at_all_sizes():
    """One sample of one column: after a step of rate 1 the weight tells the slope."""
    for z in [0.0, 1e-300, -1e-9, *np.linspace(-40, 40, 161), -700.0, 700.0, -800.0, 1e5, -1e300]:
        for y in (1.0, -1.0):
            p = nn.Parameter(torch.tensor([z], dtype=torch.float64))
            opt = ravine.SGD([p], lr=1.0, momentum=1.0)  # the momentum is the slope
            SparseLinear(([0, 1], [0], [1.0]), [y], opt).fit()
            got = float(opt.state[p]["momentum_buffer"])
            wanted = -y * (0.0 if y * z > 709 else 1 / (1 + math.exp(y * z)))
            assert abs(got - wanted) <= 4e-16 * abs(wanted) + 1e-300, (z, y, got, wanted)


def test_a_weight_that_is_nan_is_seen():
    for loss in ("logistic", "hinge", "squared"):
        p = nn.Parameter(torch.tensor([math.nan, 1.0]))
        problem = SparseLinear(([0, 2], [0, 1], [1.0, 1.0]), [1.0], ravine.SGD([p], lr=1.0), loss=loss)
        problem.fit()
        assert math.isnan(problem.loss()) and bool(p[0].isnan())


class Mine(ravine.Optimizer):
    """A rule of one's own."""

    def update(self, s, p, g, t):
        return p - self.lr / sqrt(t) * g / sqrt(1 + g**2)


def test_a_rule_of_ones_own_and_modifiers():
    samples, y, p = rows(), signs(60), begin()
    w = p.detach().numpy().copy()
    problem = SparseLinear(csr(samples), y, Mine([p], lr=0.1, mods=[ClipValue(0.3)]), loss="squared")
    for t, i in enumerate(problem.order(0).tolist(), 1):
        s = slope("squared", sum(v * w[c] for c, v in samples[i]), y[i])
        for c, v in samples[i]:
            g = min(max(s * v, -0.3), 0.3)
            w[c] -= 0.1 / math.sqrt(t) * g / math.sqrt(1 + g * g)
    problem.fit()
    near(p.detach(), w, 1e-12)


@pytest.mark.parametrize("adds", ADDS)
@pytest.mark.parametrize(("cls", "hyper", "rule", "states"), RULES, ids=["sgd", "momentum", "adagrad", "adam"])
def test_completion_is_the_plain_loop(cls, hyper, rule, states, adds):
    made = np.random.default_rng(5)
    at, value = (made.integers(0, 9, 50), made.integers(0, 7, 50)), made.standard_normal(50)
    left, right = (begin(n * 3, seed=n).detach().view(n, 3).clone() for n in (10, 8))
    factors = [x.numpy().copy() for x in (left, right)]
    kept = [{k: np.zeros_like(x) for k in states} for x in factors]
    params = [nn.Parameter(x) for x in (left, right)]
    opt = cls(params, lr=0.1, **hyper)
    problem = MatrixCompletion(*at, value, opt)
    orders = [problem.order(e).tolist() for e in range(2)]
    problem.fit(2, adds=adds)
    for t, i in enumerate((i for order in orders for i in order), 1):
        u, v = at[0][i], at[1][i]
        s = float(factors[0][u] @ factors[1][v]) - value[i]
        gradients = s * factors[1][v], s * factors[0][u]
        for x, state, row, g in zip(factors, kept, (u, v), gradients, strict=True):
            for k in range(3):
                rule(x[row], {name: a[row] for name, a in state.items()}, k, g[k], t)
    for p, x in zip(params, factors, strict=True):
        near(p.detach(), x, 1e-11)
        assert float(opt.state[p]["step"]) == 100
    assert torch.equal(params[0][9], left[9]) and torch.equal(params[1][7], right[7])  # no entry is there


def test_completion_finds_a_matrix_of_low_rank():
    made = torch.Generator().manual_seed(0)
    whole = torch.randn(30, 2, generator=made) @ torch.randn(2, 20, generator=made)
    at = torch.randperm(600, generator=made)[:400]
    params = [nn.Parameter(0.3 * torch.randn(n, 2, generator=made)) for n in (30, 20)]
    problem = MatrixCompletion(at // 20, at % 20, whole.flatten()[at], ravine.SGD(params, lr=0.05))
    problem.fit(200)
    assert problem.loss() < 1e-6
    rest = torch.ones(600, dtype=torch.bool).index_fill_(0, at, False)
    found = (params[0] @ params[1].T).detach().flatten()
    assert (found - whole.flatten())[rest].square().mean() < 1e-3


@pytest.mark.parametrize("adds", ADDS)
def test_threads_reach_the_loss_of_one(adds):
    samples, y = rows(3000, 2000), np.ones(3000)
    y[[sum(v for _, v in x) < 0 for x in samples]] = -1
    losses = {}
    for threads in (1, 3):
        p = nn.Parameter(torch.zeros(2000))
        opt = ravine.Adagrad([p], lr=0.5)
        problem = SparseLinear(csr(samples), y, opt)
        problem.fit(10, threads=threads, adds=adds)
        losses[threads] = problem.loss()
        assert float(opt.state[p]["step"]) == 30_000
    assert losses[1] < 0.3 and abs(losses[3] - losses[1]) < 0.02


# what is refused


def fits(data=None, y=None, opt=None, **more):
    data = csr(rows()) if data is None else data
    return SparseLinear(data, signs(60) if y is None else y, opt or ravine.SGD([begin()]), **more)


STARTS, COLUMNS, VALUES = csr(rows())


def test_columns_out_of_range_are_one_error_and_no_write():
    around = torch.zeros(48, dtype=torch.float64)
    for column in (-1, 40, 2**31, 2**40):
        p = nn.Parameter(around[4:44])
        with pytest.raises(ValueError, match=r"SparseLinear: columns has numbers from .* must lie from 0 to 39"):
            fits((STARTS, np.where(np.arange(len(COLUMNS)) == 7, column, COLUMNS), VALUES), opt=ravine.SGD([p])).fit()
        assert not around.any()
    bad = torch.sparse_coo_tensor([[0, 70], [0, 1]], torch.ones(2), (60, 40), check_invariants=False)
    with pytest.raises(ValueError, match=r"rows has numbers from 0 to 70"):
        fits(bad)
    for at in ([0, 10], [0, 0]), ([0, 1], [-1, 0]):
        params = [nn.Parameter(torch.ones(10, 2)), nn.Parameter(torch.ones(8, 2))]
        with pytest.raises(ValueError, match=r"MatrixCompletion: .* has numbers from"):
            MatrixCompletion(*at, [1.0, 1.0], ravine.SGD(params))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"data": (STARTS[:-1], COLUMNS, VALUES)}, "row starts must go from 0"),
        ({"data": (STARTS[::-1].copy(), COLUMNS, VALUES)}, "row starts must go from 0"),
        ({"data": (STARTS, COLUMNS[:-1], VALUES)}, r"columns for \d+ values"),
        ({"data": (STARTS, COLUMNS + 0.5, VALUES)}, "columns is .* whole numbers"),
        ({"data": (STARTS, COLUMNS, np.where(VALUES > 1, np.nan, VALUES))}, "values has NaN"),
        ({"data": torch.zeros(60, 41)}, "41 columns and the weights 40"),
        ({"data": torch.zeros(60)}, "two dimensions"),
        ({"y": np.ones(59)}, "59 targets for 60 samples"),
        ({"y": np.arange(60) % 2}, "must be −1 or 1"),
        ({"data": ([0], [], []), "y": []}, "no sample"),
        ({"loss": "log"}, "loss is 'log'"),
        ({"opt": ravine.SGD([begin(), begin()])}, "it must have one"),
        ({"opt": ravine.LAMB([begin()])}, "LAMB looks at more than one"),
        ({"opt": ravine.SGD([begin()], mods=[ClipNorm(1.0)])}, "looks at more than one"),
        ({"opt": ravine.NAdam([begin()])}, "carries a number"),
        ({"opt": ravine.Adam([begin()], storage="bf16")}, "rounds"),
        ({"opt": ravine.SGD([begin(dtype=torch.bfloat16)])}, "float32 or float64"),
    ],
)
def test_bad_input_is_one_error(given, match):
    with pytest.raises(ValueError, match=match):
        fits(**given)


def test_other_bad_input():
    for opt in (torch.optim.SGD([begin()]), None, "SGD"):
        with pytest.raises(TypeError, match="must be one of ravine's"):
            SparseLinear(csr(rows()), signs(60), opt)
    with pytest.raises(TypeError, match="give a CSR matrix"):
        fits(data=[1, 2])
    problem = fits()
    for given in ({"epochs": -1}, {"threads": 0}, {"backoff": 1.5}, {"adds": "none"}, {"threads": 2, "processes": 2}):
        with pytest.raises(ValueError, match="SparseLinear: "):
            problem.fit(**given)
    with pytest.raises(TypeError, match="epochs"):
        problem.fit(1.5)
    problem.optimizer.param_groups[0]["params"][0].data = torch.zeros(30, dtype=torch.float64)
    with pytest.raises(ValueError, match="were made for 40"):
        problem.fit()
    params = [nn.Parameter(torch.ones(10, 2)), nn.Parameter(torch.ones(8, 3))]
    with pytest.raises(ValueError, match="must have two"):
        MatrixCompletion([0], [0], [1.0], ravine.SGD(params))
