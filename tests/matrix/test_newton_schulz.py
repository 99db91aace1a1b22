"""Polynomials that bring singular values to 1: equal to what their authors print, and each within its band."""

import math
from itertools import pairwise

import pytest
import torch

from ravine.matrix import newton_schulz
from ravine.matrix.newton_schulz import chosen
from ravine.matrix.polynomials import JORDAN, cans, cubic, polar_express, quintic, value

TABLE_OF_EIGHT = [  # Amsel et al. 2025, Implementation 1, before the safety factor
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
]
TABLE_OF_FIVE = [  # modded-nanogpt, "num_iters=5, safety_factor=2e-2, cushion=2"
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]
BANDS = {  # the smallest singular value that is brought there, and between what
    "given": (1e-2, 0.681, 1.135),
    "modula": (1e-1, 0.989, 1.019),
    "polar_express": (1e-3, 0.866, 1.134),
    "cans": (1e-3, 0.946, 1.054),
    "aol": (3e-2, 0.977, 1.032),
    "deepseek": (1e-3, 0.999, 1.001),
}


def spectrum(values, rows, cols, seed=0, dtype=torch.float64):
    """A matrix of random singular vectors with these singular values, and its polar factor."""
    made = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(rows, len(values), dtype=torch.float64, generator=made)).Q
    v = torch.linalg.qr(torch.randn(cols, len(values), dtype=torch.float64, generator=made)).Q
    s = torch.tensor(values, dtype=torch.float64)
    return ((u * s) @ v.T).to(dtype), (u @ v.T).to(dtype)


@pytest.mark.parametrize(
    ("made", "printed", "tolerance"),
    [
        (polar_express(8, cushion=0.02407327424182761, safety=1.0), TABLE_OF_EIGHT, 1e-8),
        (polar_express(5, cushion=0.02, safety=1.02), TABLE_OF_FIVE, 1e-12),
    ],
    ids=["of eight", "of five"],
)
def test_polar_express_is_the_printed_table(made, printed, tolerance):
    assert len(made) == len(printed)
    for mine, theirs in zip(made, printed, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("low", [1e-3, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(("best", "turns"), [(quintic, 4), (cubic, 3)], ids=["quintic", "cubic"])
def test_the_best_polynomial_errs_alike_at_as_many_places_as_it_has_numbers_and_one(best, turns, low):
    """Chebyshev's mark of a best approximation: the error is ±E, in turn."""
    x = torch.linspace(low, 1.0, 100_001, dtype=torch.float64)
    error = 1 - value(best(low, 1.0), x)
    most = error.abs().max()
    places = error.abs() > most * (1 - 1e-6)
    signs = [s for s, seen in zip(error.sign().tolist(), places.tolist(), strict=True) if seen]
    assert 1 + sum(a != b for a, b in pairwise(signs)) == turns


def test_no_cubic_and_no_quintic_nearby_is_nearer():
    x = torch.linspace(0.2, 1.0, 10_001, dtype=torch.float64)
    made = torch.Generator().manual_seed(0)
    for best in (quintic, cubic):
        p = best(0.2, 1.0)
        least = (1 - value(p, x)).abs().max()
        for _ in range(200):
            a, b, c = (v * (1 + 1e-3 * torch.randn(1, generator=made).item()) for v in p)  # 0 stays 0
            assert (1 - value((a, b, c), x)).abs().max() > least


@pytest.mark.parametrize("rows, cols", [(8, 8), (8, 20), (20, 8), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("name", BANDS)
def test_singular_values_land_in_the_band(name, rows, cols):
    least, low, high = BANDS[name]
    values = torch.logspace(
        math.log10(3 * least), 0, min(rows, cols)
    ).tolist()  # normalizing makes them up to 3 times less
    x, polar = spectrum(values, rows, cols)
    y = newton_schulz(x, chosen(name, 5), aol=name == "aol")
    s = torch.linalg.svdvals(y)
    assert low <= s.min() and s.max() <= high, s
    if name != "aol":  # whose polar factor is that of the rescaled rows
        torch.testing.assert_close(y, polar, rtol=0, atol=1.001 * max(1 - low, high - 1))
        both = torch.linalg.svd(y, full_matrices=False)
        torch.testing.assert_close(both.U @ both.Vh, polar, rtol=0, atol=1e-8)


def test_aol_rescales_rows_until_their_spectrum_is_at_most_1():
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = newton_schulz(x, (), aol=True)
    ratio = y / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert torch.linalg.svdvals(y)[0] <= 1 + 1e-12 < torch.linalg.svdvals(y)[0] * 2


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (3, 0)])
def test_a_stack_is_its_matrices_and_what_is_given_stays(shape, dtype):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    kept, version = x.clone(), x._version
    y = newton_schulz(x, polar_express(5), dtype=dtype)
    assert torch.equal(x, kept) and x._version == version and y.shape == x.shape and y.dtype == x.dtype
    for i in range(2):
        for j in range(3):
            one = newton_schulz(x[i, j], polar_express(5), dtype=dtype)
            torch.testing.assert_close(y[i, j], one, rtol=0, atol=1e-5 if dtype is None else 0.02)


def test_bf16_is_as_near_as_its_precision():
    x, polar = spectrum(torch.linspace(0.05, 1, 24).tolist(), 24, 40, dtype=torch.float32)
    y = newton_schulz(x, polar_express(8), dtype=torch.bfloat16)
    assert (y - polar).abs().max() < 0.02
    assert (torch.linalg.svdvals(y) - 1).abs().max() < 0.03


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1e20, 1e37])
def test_no_size_of_gradient_overflows_or_is_lost(scale):
    x, polar = spectrum([0.3, 0.5, 1.0], 3, 5, dtype=torch.float32)
    y = newton_schulz(x * scale, polar_express(8), eps=1e-45)
    torch.testing.assert_close(y, polar, rtol=0, atol=1e-3)
    zero = newton_schulz(torch.zeros(3, 5), polar_express(8))
    assert not zero.any()
    assert not newton_schulz(torch.zeros(3, 5), chosen("aol", 5), aol=True).any()


def test_eps_is_the_least_norm_that_is_made_one():
    """As torch's clamp: below it a step is shorter, above it ε does nothing."""
    x, _ = spectrum([0.6, 0.8], 2, 3)
    y = newton_schulz(1e-3 * x, ((1.0, 0.0, 0.0),), eps=0.1)
    torch.testing.assert_close(y, 1e-2 * x)
    assert torch.equal(newton_schulz(x, (JORDAN,), eps=1e-7), newton_schulz(x, (JORDAN,), eps=0.5))


def test_more_steps_of_the_derived_sets_are_nearer():
    for made in (polar_express, cans):
        x = torch.logspace(-3, 0, 1000, dtype=torch.float64)
        worst = []
        for steps in (3, 5, 8, 12):
            y = x
            for p in made(steps):
                y = value(p, y)
            worst.append((1 - y).abs().max().item())
        assert worst == sorted(worst, reverse=True) and worst[-1] < 1e-4, worst


@pytest.mark.parametrize("name", ["given", "polar_express", "modula", "cans", "aol", "deepseek"])
@pytest.mark.parametrize("shape", [(128, 300), (300, 128)])
def test_polynomials_applied_to_one_gram_matrix_are_those_applied_one_by_one(name, shape):
    x, _ = spectrum(torch.logspace(-3, 0, 128).tolist(), *shape)
    stacked = newton_schulz(x[None], chosen(name, 5), aol=name == "aol")[0]  # of a stack each gets a new X Xᵀ
    torch.testing.assert_close(newton_schulz(x, chosen(name, 5), aol=name == "aol"), stacked, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("cond", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("shape", [(128, 512), (256, 256)])
def test_bf16_is_as_near_as_that_of_torch(cond, shape):
    """torch rounds the gradient, its norm and their quotient before the first product. Below a condition of 100, which
    momentum has not, two polynomials on one gram matrix may be up to twice as far."""
    from torch.optim._muon import _zeropower_via_newtonschulz as theirs

    x, _ = spectrum(torch.logspace(-math.log10(cond), 0, shape[0]).tolist(), *shape, dtype=torch.float32)
    exact = newton_schulz(x.double(), (JORDAN,) * 5)
    ours = newton_schulz(x, (JORDAN,) * 5, dtype=torch.bfloat16).double()
    assert (ours - exact).norm() <= 1.05 * (theirs(x, JORDAN, 5, 1e-7).double() - exact).norm()
    assert (newton_schulz(x, (JORDAN,) * 5).double() - exact).norm() <= 2e-5 * exact.norm()
