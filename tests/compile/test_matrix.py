"""Matrix operations: rules as a user writes them, each against the same thing in plain torch and float64."""

import math
import re

import pytest
import torch
from torch import nn

import ravine
from ravine import Optimizer
from ravine.words import (
    col_max,
    col_total,
    cols,
    diagonal,
    every,
    eye,
    matrix_op,
    matrix_total,
    minimum,
    norm,
    number,
    row_total,
    rows,
    sqrt,
    total,
    trace,
    turn,
    where,
    zeros,
)

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])
SHAPES = [(5,), (3, 4), (6, 3), (2, 3, 2, 2)]


def waves(shape, count=4, seed=1):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(count)]


def as_matrix(x):
    return x.reshape(x.shape[0], -1) if x.dim() > 1 else x.reshape(-1, 1)


def steps(cls, shape, backend="llvm", count=4, dtype=torch.float64, **hyper):
    """The parameter after some steps from ones, and the optimizer."""
    p = nn.Parameter(torch.ones(shape, dtype=dtype))
    opt = cls([p], backend=backend, **hyper)
    for g in waves(shape, count):
        p.grad = g.to(dtype)
        opt.step()
    return p.detach(), opt


def plain(direction, shape, count=4, lr=0.1):
    """The same in torch: `direction(state, g, t)` of the gradient as a matrix."""
    p, state = torch.ones(shape, dtype=torch.float64), {}
    for t, g in enumerate(waves(shape, count), 1):
        p = p - lr * direction(state, as_matrix(g), t).reshape(shape)
    return p


# the words of these rules


@matrix_op("n n -> n n")
def inverse_root(a, eps, power=4):
    w, q = torch.linalg.eigh(a)
    return q * (w.clamp(min=0) + eps)[..., None, :] ** (-1 / power) @ q.mT


@matrix_op("n n, n n -> n n")
def power_step(a, q):
    """One step of the power iteration for the eigenvectors of a, from q."""
    return torch.linalg.qr(a @ q).Q


@matrix_op("n n -> n, n n")
def eigen(a):
    return torch.linalg.eigh(a)


@matrix_op("r c -> r k")
def leading(x, k):
    return torch.linalg.svd(x, full_matrices=False).U[..., :k]


@matrix_op("r c -> c 2")
def two(x):
    return x.mT[..., :2]


@matrix_op("r c, r -> r")
def rowwise(x, v):
    return x.sum(-1) * v


class Shampoo(Optimizer):
    """Roots every `interval` steps."""

    lr: float = 0.1
    eps: float = 1e-2
    interval: int = 1

    def init(self, s, p):
        s.L, s.R, s.PL, s.PR = zeros("r r"), zeros("c c"), eye("r"), eye(cols(p))

    def update(self, s, p, g, t):
        due = turn(t, self.interval)
        s.L, s.R = s.L + g @ g.T, 0.9 * s.R + g.T @ g
        s.PL = inverse_root(s.L, self.eps, power=4, due=due, old=s.PL)
        s.PR = inverse_root(s.R, self.eps, due=due, old=s.PR)
        return p - self.lr * (s.PL @ g @ s.PR)


def shampoo(interval=1, eps=1e-2):
    def direction(s, g, t):
        s["L"] = s.get("L", 0) + g @ g.T
        s["R"] = 0.9 * s.get("R", 0) + g.T @ g
        if (t - 1) % interval == 0:
            s["PL"], s["PR"] = inverse_root(s["L"], eps), inverse_root(s["R"], eps)
        return s["PL"] @ g @ s["PR"]

    return direction


class Soap(Optimizer):
    """Adam in a basis that follows the eigenvectors of g gᵀ."""

    lr: float = 0.1

    def init(self, s, p):
        s.L, s.Q, s.v = zeros("r r"), eye(rows(p)), zeros(p)

    def update(self, s, p, g, t):
        s.L = 0.9 * s.L + 0.1 * g @ g.T
        s.Q = power_step(s.L + 0.1 * eye("r"), s.Q)
        turned = s.Q.T @ g
        s.v = 0.9 * s.v + 0.1 * turned**2
        return p - self.lr * (s.Q @ (turned / (sqrt(s.v) + 0.1)))


def soap(s, g, t):
    identity = torch.eye(len(g), dtype=g.dtype)
    s["L"] = 0.9 * s.get("L", 0) + 0.1 * g @ g.T
    s["Q"] = power_step(s["L"] + 0.1 * identity, s.get("Q", identity))
    turned = s["Q"].T @ g
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * turned**2
    return s["Q"] @ (turned / (s["v"].sqrt() + 0.1))


class Spectral(Optimizer):
    """Eigenvalues and eigenvectors of both factors, put together again."""

    lr: float = 0.1

    def init(self, s, p):
        s.w, s.Q = zeros("r"), zeros("r r")

    def update(self, s, p, g, t):
        s.w, s.Q = eigen(g @ g.T)
        w, q = eigen(g.T @ g)
        return p - self.lr * (((s.Q * s.w.T) @ s.Q.T) @ g @ ((q * w) @ q.T))


class LowRank(Optimizer):
    """The gradient projected on a few directions."""

    lr: float = 0.1
    rank: int = 2

    def init(self, s, p):
        self.k = minimum(minimum(self.rank, rows(p)), cols(p))
        s.U = zeros("r k", k=self.k)

    def update(self, s, p, g, t):
        s.U = leading(g, k=minimum(minimum(rows(p), self.rank), cols(p)))
        return p - self.lr * (s.U @ (s.U.T @ g))


def low_rank(s, g, t):
    u = torch.linalg.svd(g, full_matrices=False).U[:, :2]
    return u @ u.T @ g


class Numbers(Optimizer):
    """Sums of factors, and numbers of rows and columns that matrix work makes."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        left, right = g @ g.T, g.T @ g
        scale = 1 + norm(left) + total(right) + trace(left) + matrix_total(right) + total(col_max(right))
        by_row = diagonal(left) + row_total(left) + col_total(left).T + rowwise(g, diagonal(left))
        by_col = diagonal(right) + col_total(right) + row_total(right).T
        return p - self.lr * (g / scale + by_row / (1 + by_col**2))


def numbers(s, g, t):
    left, right = g @ g.T, g.T @ g
    scale = 1 + left.norm() + right.sum() + left.trace() + right.sum() + right.amax(0).sum()
    by_row = left.diagonal() + left.sum(1) + left.sum(0) + g.sum(1) * left.diagonal()
    by_col = right.diagonal() + right.sum(0) + right.sum(1)
    return g / scale + by_row[:, None] / (1 + by_col**2)


RULES = {
    "shampoo": (Shampoo, shampoo()),
    "soap": (Soap, soap),
    "spectral": (Spectral, lambda s, g, t: g @ g.T @ g @ g.T @ g),
    "low rank": (LowRank, low_rank),
    "numbers": (Numbers, numbers),
}


@BACKENDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_a_rule_is_its_transcription(cls, direction, shape, backend):
    p, _ = steps(cls, shape, backend, lr=0.1)
    torch.testing.assert_close(p, plain(direction, shape), rtol=1e-9, atol=1e-9)


@pytest.mark.ci
@BACKENDS
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_many_tensors_are_each_by_itself(cls, direction, backend):
    params = [nn.Parameter(torch.ones(s, dtype=torch.float64)) for s in SHAPES]
    opt = cls(params, backend=backend, lr=0.1)
    for gradients in zip(*(waves(s) for s in SHAPES), strict=True):
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        opt.step()
    for p, shape in zip(params, SHAPES, strict=True):
        torch.testing.assert_close(p.detach(), plain(direction, shape), rtol=1e-9, atol=1e-9)


@pytest.mark.ci
@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("cls", "direction"), RULES.values(), ids=RULES.keys())
def test_a_rule_in_other_types_is_near_it(cls, direction, dtype, backend):
    p, _ = steps(cls, (3, 4), backend, dtype=dtype, lr=0.001)
    near = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(p.double(), plain(direction, (3, 4), lr=0.001), rtol=near, atol=near)


def test_sums_of_what_torch_has_made_need_no_pass_over_memory():
    opt = Summed([nn.Parameter(torch.ones(3, 4))])
    assert len(opt.compiled(opt.param_groups[0]).plan.kernels) == 1


class Summed(Optimizer):
    def update(self, s, p, g, t):
        return p - g / (total(diagonal(g @ g.T)) + trace(g.T @ g) + total(col_max(g @ g.T)) + norm(g @ g.T))


# shapes


@BACKENDS
def test_sizes_that_are_whole_numbers(backend):
    class Wide(Optimizer):
        def init(self, s, p):
            s.x = zeros("c 2")

        def update(self, s, p, g, t):
            s.x = s.x + two(g)
            return p - self.lr * g @ s.x @ s.x.T

    _, opt = steps(Wide, (3, 4), backend)
    (state,) = opt.state.values()
    torch.testing.assert_close(state["x"], sum(g.T[:, :2] for g in waves((3, 4))))


def test_a_rank_larger_than_the_matrix_is_cut():
    _, opt = steps(LowRank, (3, 4), rank=8)
    (state,) = opt.state.values()
    assert state["U"].shape == (3, 3)


def of(word, *args, **options):
    """A rule whose update is one call."""
    return lambda self, s, p, g, t: p - word(*(x(p, g) if callable(x) else x for x in args), **options)


@matrix_op("r c -> r r")
def misshapen(x):
    return x


@matrix_op
def misshapen_too(x):
    return x.mT


@matrix_op("n n -> n, n n")
def one_of_two(x):
    return x


BAD = {
    "a matrix that is not square": (of(inverse_root, lambda p, g: g, 1e-3), "n would be r and c"),
    "sizes that differ": (of(power_step, lambda p, g: g @ g.T, lambda p, g: g.T @ g), "n would be r and c"),
    "too few matrices": (of(power_step, lambda p, g: g @ g.T), "takes 2 matrices, as 'n n, n n -> n n' says"),
    "a number for a matrix": (of(inverse_root, lambda p, g: norm(g), 1e-3), "takes 1 matrices"),
    "rows for a matrix": (of(rowwise, lambda p, g: g, lambda p, g: g), "shape ('r', 'c') is given where"),
    "a size that nobody knows": (of(leading, lambda p, g: g, 2), "k in 'r c -> r k' is no size of what it takes"),
    "a matrix as an option": (lambda self, s, p, g, t: p - misshapen(g, x=g), "arrays come first, by place"),
    "a comparison as an option": (lambda self, s, p, g, t: p - misshapen(g, t > 3), "a comparison is no number"),
    "a tensor as an option": (of(misshapen, lambda p, g: g, torch.ones(2)), "an argument is a tensor of shape (2,)"),
    "a wrong result": (lambda self, s, p, g, t: p - misshapen(g) @ g, "misshapen returned shape (3, 4), and by its"),
    "a wrong result without shapes": (lambda self, s, p, g, t: p - misshapen_too(g), "one matrix like its first, here"),
    "one result for two": (lambda self, s, p, g, t: p - one_of_two(g @ g.T)[1] @ g, "one_of_two returned a Tensor"),
    "never due, and nothing that stands": (of(misshapen_too, lambda p, g: g, due=False), "due= needs old="),
    "due that is no condition": (lambda self, s, p, g, t: p - misshapen_too(g, due=t, old=g), "turn(t, 10)"),
    "due, and nothing that stands": (lambda self, s, p, g, t: p - misshapen_too(g, due=t > 2), "due= needs old="),
    "due of elements": (lambda self, s, p, g, t: p - misshapen_too(g, due=g > 2, old=g), "numbers of the host or"),
    "what stands has another shape": (lambda self, s, p, g, t: p - misshapen_too(g, due=t > 2, old=g.T), "old="),
    "a staggered turn elsewhere": (lambda self, s, p, g, t: p - where(turn(t, 3, stagger=True), g, p), "leave stagger"),
    "an identity of nothing": (lambda self, s, p, g, t: p - eye(self.lr) @ g, "eye() takes rows(p)"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_does_not_match_is_one_error_and_nothing_changes(bad):
    update, text = bad
    p = nn.Parameter(torch.ones(3, 4))
    p.grad = torch.full((3, 4), 0.5)
    with pytest.raises(TypeError, match=re.escape(text)):
        type("Toy", (Optimizer,), {"update": update})([p]).step()
    assert torch.equal(p, torch.ones(3, 4))


@pytest.mark.parametrize("shapes", ["r c", "-> r", "r c d -> r", "R c -> r", "rc -> r c", "r 0 -> r"])
def test_shapes_that_are_none(shapes):
    with pytest.raises(ValueError, match="are no shapes of a matrix_op"):
        matrix_op(shapes)


@pytest.mark.parametrize("begin", [lambda: zeros("r k"), lambda: zeros("r c c"), lambda: zeros("r k", k=0.5)])
def test_shapes_of_states_that_are_none(begin):
    with pytest.raises(TypeError, match="is no shape of a state"):
        begin()


def test_a_word_on_tensors_is_the_function():
    a = torch.diag(torch.tensor([4.0, 16.0]))
    assert torch.allclose(inverse_root(a, 0.0, power=2), torch.diag(torch.tensor([0.5, 0.25])))
    assert inverse_root(a, 0.0, due=False, old=a) is a
    assert inverse_root.__doc__ is None and power_step.__doc__.startswith("One step")


# what a function is given

GIVEN = []


@matrix_op("r c -> r c", stack=False)
def noted(x, *args, **options):
    GIVEN.append((args, options))
    return x


class Asks(Optimizer):
    lr: float = 0.5
    coefficients: tuple[float, float] = (2.0, -1.0)
    count: int = 3

    def update(self, s, p, g, t):
        return p - noted(
            g, self.lr, t * 2, norm(g), rows(p), minimum(cols(p), 3), coefficients=self.coefficients,
            count=self.count, fixed=1e-6, flag=True, one=1, word="schulz", mixed=[(self.lr, 2), None],
        )  # fmt: skip


@BACKENDS
def test_numbers_are_numbers_when_it_runs_and_options_are_what_was_written(backend):
    GIVEN.clear()
    p = nn.Parameter(torch.ones(3, 4))
    opt = Asks([p], backend=backend)
    for lr in (0.5, 0.25):
        opt.param_groups[0]["lr"] = lr
        p.grad = torch.ones(3, 4)
        opt.step()
    options = {
        "coefficients": (2.0, -1.0), "count": 3, "fixed": 1e-6, "flag": True, "one": 1, "word": "schulz",
    }  # fmt: skip
    for t, (lr, (args, found)) in enumerate(zip((0.5, 0.25), GIVEN, strict=True), 1):
        assert args == (lr, 2.0 * t, pytest.approx(math.sqrt(12)), 3, 3)
        assert list(map(type, args)) == [float, float, float, int, int]
        assert found == {**options, "mixed": ((lr, 2), None)}
        assert {k: type(x) for k, x in found.items()} == {k: type(x) for k, x in (options | {"mixed": ()}).items()}
        assert type(found["mixed"][0][0]) is float and all(type(x) is float for x in found["coefficients"])
    assert len(opt._watched) == 1


def test_options_that_are_equal_and_not_the_same_are_told_apart():
    class Apart(Optimizer):
        def update(self, s, p, g, t):
            return p - noted(g, 1) - noted(g, 1.0) - noted(g, True) - noted(g, 0.0) - noted(g, -0.0)

    GIVEN.clear()
    steps(Apart, (2, 2), count=1)
    assert sorted(map(repr, (args for args, _ in GIVEN))) == ["(-0.0,)", "(0.0,)", "(1,)", "(1.0,)", "(True,)"]


class Careful(Optimizer):
    """The length over all tensors, in an argument."""

    def update(self, s, p, g, t):
        return p - noted(g, sqrt(every(total(g**2)))) - noted(g, sqrt(every(total(g @ g.T))))


@BACKENDS
def test_sums_over_all_tensors_are_arguments_too(backend):
    GIVEN.clear()
    params = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(2, 2))]
    opt = Careful(params, backend=backend)
    for p in params:
        p.grad = torch.ones_like(p)
    opt.step()
    expected = [4.0, 4.0, math.sqrt(36 + 8), math.sqrt(36 + 8)]
    assert sorted(x for ((x,), _) in GIVEN) == pytest.approx(expected)


# when it is due


CALLS = []


@matrix_op("n n -> n n", stack=False)
def counted(a, who=0):
    CALLS.append(a)
    return inverse_root(a, 1e-2)


class Rare(Optimizer):
    """A root that is made anew every few steps."""

    lr: float = 0.1
    interval: int = 3
    stagger: bool = False

    def init(self, s, p):
        s.L, s.P = zeros("r r"), eye("r")

    def update(self, s, p, g, t):
        s.L = s.L + g @ g.T
        s.P = counted(s.L, due=turn(t, self.interval, stagger=self.stagger), old=s.P)
        return p - self.lr * s.P @ g


def rare(interval):
    def direction(s, g, t):
        s["L"] = s.get("L", 0) + g @ g.T
        if (t - 1) % interval == 0:
            s["P"] = inverse_root(s["L"], 1e-2)
        return s["P"] @ g

    return direction


@BACKENDS
@pytest.mark.parametrize("interval", [1, 3, 100])
def test_what_is_not_due_is_not_run(interval, backend):
    CALLS.clear()
    p, _ = steps(Rare, (3, 4), backend, count=7, interval=interval)
    assert len(CALLS) == len(range(0, 7, interval))
    torch.testing.assert_close(p, plain(rare(interval), (3, 4), 7), rtol=1e-12, atol=1e-12)


@BACKENDS
def test_an_interval_of_several_results(backend):
    class Several(Optimizer):
        def init(self, s, p):
            s.w, s.Q = zeros("r"), eye("r")

        def update(self, s, p, g, t):
            s.w, s.Q = eigen(g @ g.T, due=t > 2, old=(s.w, s.Q))
            return p - self.lr * s.w * (s.Q @ g)

    _, opt = steps(Several, (3, 4), backend, count=2)
    (state,) = opt.state.values()
    assert torch.equal(state["Q"], torch.eye(3).double()) and not state["w"].any()
    _, opt = steps(Several, (3, 4), backend, count=3)
    (state,) = opt.state.values()
    g = waves((3, 4), 3)[2]
    torch.testing.assert_close(state["w"][:, 0], torch.linalg.eigvalsh(g @ g.T))


def test_a_turn_may_be_staggered_so_that_no_step_is_a_spike():
    params = [nn.Parameter(torch.ones(s)) for _ in range(24) for s in ((4, 3), (4,))]  # as layers with biases
    opt = Rare(params, interval=8, stagger=True)
    made = []
    for _ in range(25):
        for p in params:
            p.grad = torch.ones_like(p)
        CALLS.clear()
        opt.step()
        made.append(sum(a.shape == (4, 4) for a in CALLS))
    assert made[0] == 48 and made[1:9] == made[9:17] == made[17:]
    assert sum(made[1:9]) == 48 and max(made[1:]) <= 8, made


def test_a_turn_is_the_tensors_own_and_stays_when_others_have_no_gradient():
    def asked(skipped):
        params = [nn.Parameter(torch.ones(3, 2)) for _ in range(5)]
        opt = Rare(params, interval=4, stagger=True)
        found = []
        for t in range(9):
            for i, p in enumerate(params):
                p.grad = None if i in skipped else torch.full((3, 2), float(i + 1))
            CALLS.clear()
            opt.step()
            found.append({round((a[0, 0] / (t + 1) / 2).sqrt().item()) - 1 for a in CALLS})
        return found

    whole, less = asked(()), asked((1, 2))
    assert [x - {1, 2} for x in whole] == less


def test_a_tensor_may_say_itself_when_it_is_due():
    class Driven(Optimizer):
        def init(self, s, p):
            s.P = eye("r")

        def update(self, s, p, g, t):
            s.P = counted(g @ g.T, due=norm(g) > 5, old=s.P)
            return p - self.lr * s.P @ g

    CALLS.clear()
    params = [nn.Parameter(torch.ones(2, 2)) for _ in range(3)]
    opt = Driven(params)
    for i, p in enumerate(params):
        p.grad = torch.full((2, 2), 2.0 * i)
    opt.step()
    assert len(CALLS) == 1 and CALLS[0][0, 0] == 32.0


@pytest.mark.parametrize("t", range(1, 12))
@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_turn_of_plain_numbers(t, k):
    assert turn(t, k) == ((t - 1) % k == 0)


def test_a_turn_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="k is 0 and must be 1 or more"):
        turn(1, 0)


@BACKENDS
def test_a_turn_goes_with_where_too(backend):
    class Pulsed(Optimizer):
        def init(self, s, p):
            s.n = number(0.0)

        def update(self, s, p, g, t):
            s.n = s.n + where(turn(t, 3), 1, 0)
            return p - where(turn(t, 3), g, 0 * g)

    p, opt = steps(Pulsed, (2, 2), backend, count=7)
    g = waves((2, 2), 7)
    torch.testing.assert_close(p, 1 - g[0] - g[3] - g[6])
    (state,) = opt.state.values()
    assert state["n"] == 3


def test_false_and_true_are_conditions_too():
    class Never(Optimizer):
        def update(self, s, p, g, t):
            return p - counted(g @ g.T, due=False, old=g @ g.T) @ g + 0 * counted(g @ g.T, due=True) @ g

    CALLS.clear()
    steps(Never, (2, 2), count=1)
    assert len(CALLS) == 1


# states


@BACKENDS
@pytest.mark.parametrize("storage", [None, "bf16", "float32"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_factors_are_in_float32_at_least_and_stay_so(dtype, storage, backend):
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    p, opt = steps(Soap, (3, 4), backend, dtype=dtype, storage=storage)
    (state,) = opt.state.values()
    assert state["L"].dtype == state["Q"].dtype == expected
    mutual = state["Q"].T @ state["Q"] - torch.eye(3)
    assert mutual.abs().max() < 1e-5
    q = nn.Parameter(p.clone())
    other = Soap([q], backend=backend, storage=storage)
    other.load_state_dict(opt.state_dict())
    assert other.state[q]["Q"].dtype == expected and torch.equal(other.state[q]["Q"], state["Q"])
    (before,) = opt.state
    for g in waves((3, 4), 2, seed=5):
        before.grad, q.grad = g.to(dtype), g.to(dtype)
        opt.step()
        other.step()
    assert torch.equal(q, before)


@BACKENDS
def test_an_identity_in_a_state_is_not_rounded_with_the_weights(backend):
    class Begins(Optimizer):
        def init(self, s, p):
            s.L = 0.1 * eye("r")

        def update(self, s, p, g, t):
            s.L = s.L + 0 * g @ g.T
            return p - self.lr * s.L @ g

    _, opt = steps(Begins, (3, 4), backend, dtype=torch.bfloat16)
    (state,) = opt.state.values()
    torch.testing.assert_close(state["L"], 0.1 * torch.eye(3), rtol=1e-7, atol=0)


def test_a_scaler_and_gradient_release_make_the_same_steps():
    def walk(drive):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        opt = Rare(model.parameters(), interval=2, stagger=True)
        drive(model, opt)
        return [p.detach() for p in model.parameters()]

    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(2))

    def ordinary(model, opt):
        for _ in range(5):
            opt.zero_grad()
            model(x).square().sum().backward()
            opt.step()

    def released(model, opt):
        ravine.release(model, opt)
        for _ in range(5):
            model(x).square().sum().backward()

    def scaled(model, opt):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for _ in range(5):
            opt.zero_grad()
            scaler.scale(model(x).square().sum()).backward()
            scaler.step(opt)
            scaler.update()

    expected = walk(ordinary)
    for drive in (released, scaled):
        torch.testing.assert_close(walk(drive), expected, rtol=0, atol=0)


def test_explain_writes_calls():
    text = Shampoo([nn.Parameter(torch.ones(3, 4))], interval=10).explain()
    assert "PLₜ = (inverse root(Lₜ, ε) if " in text and "else PLₜ₋₁)" in text
    assert "(inverse root)" not in text


def test_a_step_that_is_skipped_calls_no_matrix_operation():
    """A function of torch may raise for what is not finite, as eigh does: the guard comes first."""
    calls = []

    @matrix_op("r c -> r c")
    def strict(x):
        assert x.isfinite().all()
        calls.append(1)
        return x

    class Strict(ravine.Optimizer):
        def update(self, s, p, g, t):
            return p - self.lr * strict(g)

    for backend in ("llvm", "reference"):
        p = torch.nn.Parameter(torch.ones(3, 2))
        opt = Strict([p], lr=1.0, nonfinite="skip", backend=backend)
        for bad in (torch.nan, 1.0):
            p.grad = torch.full((3, 2), bad)
            opt.step()
        assert opt.skipped == 1
        assert not p.any()
    assert len(calls) == 2
