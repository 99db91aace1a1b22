"""From a rule to kernels: what is refused and how it is said, what is cut where, and that nothing is lost."""

import math
import re

import pytest
import torch
from torch import nn

import ravine
from ravine import Optimizer, words
from ravine.compile.check import POWERS
from ravine.compile.emit import host, llvm
from ravine.compile.expr import FULL, HOST, MATRIX, REDUCE, const, is_matrix, leaf, node, walk
from ravine.compile.geometry import extent
from ravine.compile.interpret import evaluate
from ravine.compile.plan import Host, Matrix, Reduce, Short, Sweep
from ravine.compile.simplify import rewrite, simplify
from ravine.optim import registry
from ravine.words import cols, eye, matrix_op, norm, number, numel, rows, scalar, sqrt, total, where, zeros

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])
SHAPES = [(), (5,), (3, 4), (4, 3), (2, 3, 2, 2)]


def rule(update, init=lambda self, s, p: None, **members):
    """An optimizer class with this update."""
    return type("Toy", (Optimizer,), {"init": init, "update": update, **members})


def compiled(cls):
    opt = cls([nn.Parameter(torch.ones(2, 2))])
    return opt.compiled(opt.param_groups[0])


def run(cls, gradients, shape=(3, 4), backend=None, **hyper):
    """The parameter after these gradients, from ones; and the optimizer."""
    p = nn.Parameter(torch.ones(shape, dtype=torch.float64))
    opt = cls([p], backend=backend, **hyper)
    for g in gradients:
        p.grad = g.to(p.dtype).expand(shape).clone()
        opt.step()
    return p.detach(), opt


def waves(shape, count=4):
    made = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(count)]


# errors that say what to write


def if_on_a_symbol(self, s, p, g, t):
    return p - g if g > 0 else p


def if_on_a_rate(self, s, p, g, t):
    return p - g if self.lr > 0.5 else p


def while_counting(self, s, p, g, t):
    while t < 3:
        t = t + 1
    return p


def unmade(self, s, p, g, t):
    s.m = s.m + g
    return p - s.m


def assigned_unmade(self, s, p, g, t):
    s.m = g
    return p - g


BAD = {
    "if on a symbol": (if_on_a_symbol, None, TypeError, "where"),
    "if on a hyperparameter's size": (if_on_a_rate, None, TypeError, "where"),
    "while on the step count": (while_counting, None, TypeError, "where"),
    "state used and not made": (unmade, None, AttributeError, "'m' is used but not made in init"),
    "state assigned and not made": (assigned_unmade, None, AttributeError, "'m' is assigned but not made in init"),
    "state never updated": (
        lambda self, s, p, g, t: p - s.m,
        lambda self, s, p: setattr(s, "m", zeros(p)),
        ValueError,
        "Toy: state m is made in init() but never updated",
    ),
    "state begins as a plain number": (
        lambda self, s, p, g, t: (setattr(s, "m", s.m + g), p - s.m)[1],
        lambda self, s, p: setattr(s, "m", 0.0),
        TypeError,
        "Toy: state m begins as 0.0, a plain float",
    ),
    "state becomes a plain number": (
        lambda self, s, p, g, t: (setattr(s, "m", 0.0), p - g)[1],
        lambda self, s, p: setattr(s, "m", zeros(p)),
        TypeError,
        "Toy: m is 0.0, a plain float",
    ),
    "a plain number": (lambda self, s, p, g, t: 3, None, TypeError, "Toy: p is 3, a plain int"),
    "nothing": (lambda self, s, p, g, t: None, None, TypeError, "Toy: p is None"),
    "a norm": (lambda self, s, p, g, t: norm(g), None, TypeError, "the new parameter has shape ()"),
    "a number of the host": (lambda self, s, p, g, t: self.lr * t, None, TypeError, "the new parameter has shape None"),
    "a transposed result": (lambda self, s, p, g, t: p.T, None, TypeError, "the new parameter has shape ('c', 'r')"),
    "shapes that do not line up": (lambda self, s, p, g, t: p - g @ g.T, None, TypeError, "do not line up"),
    "a matmul of the wrong sizes": (lambda self, s, p, g, t: p @ g, None, TypeError, "inner sizes c and r"),
    "a power of a tensor": (lambda self, s, p, g, t: p**self.lr, None, TypeError, "can be raised to"),
    "the norm of a number": (lambda self, s, p, g, t: p * total(self.lr + 0 * t), None, TypeError, "whole tensor"),
    "a number() from a tensor": (
        lambda self, s, p, g, t: (setattr(s, "n", norm(g)), p - s.n * g)[1],
        lambda self, s, p: setattr(s, "n", number(0.0)),
        TypeError,
        "n is a number() but depends on a tensor; make it scalar()",
    ),
    "a scalar() from an element": (
        lambda self, s, p, g, t: (setattr(s, "n", g), p - g)[1],
        lambda self, s, p: setattr(s, "n", scalar(0.0)),
        TypeError,
        "state n",
    ),
    "a number() under another name": (
        lambda self, s, p, g, t: (setattr(s, "k", s.k * 2), p - s.k * g)[1],
        lambda self, s, p: setattr(s, "k", number(1.0)),
        ValueError,
        "Toy: state k is a number(), which keeps its name",
        {"names": {"k": "kk"}},
    ),
    "a state called step": (
        lambda self, s, p, g, t: (setattr(s, "step", g), p - g)[1],
        lambda self, s, p: setattr(s, "step", zeros(p)),
        ValueError,
        "Toy: state step would be kept as 'step', which is the count of steps",
    ),
    "a condition that is none": (lambda self, s, p, g, t: where(g + p, p, g), None, TypeError, "comparison"),
    "equality": (lambda self, s, p, g, t: where(g == 0, p, p - g), None, TypeError, "cannot ask for equality"),
    "inequality": (lambda self, s, p, g, t: where(g != p, p, p - g), None, TypeError, "cannot ask for equality"),
    "a matrix that becomes a number": (
        lambda self, s, p, g, t: (setattr(s, "L", 0 * t), p - g)[1],
        lambda self, s, p: setattr(s, "L", eye(rows(p))),
        TypeError,
        "state L begins as a matrix",
    ),
    "matrix work on a number": (
        lambda self, s, p, g, t: p - matrix_op(torch.neg)(norm(g)) * g,
        None,
        TypeError,
        "a matrix_op takes a matrix, not shape ()",
    ),
    "a comparison in arithmetic": (lambda self, s, p, g, t: p - (g > 0) * g, None, TypeError, "where"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_illegal_rule_is_refused_in_words(bad):
    update, init, error, text, *members = bad
    cls = rule(update, init or (lambda self, s, p: None), **dict(*members))
    p = nn.Parameter(torch.ones(2, 2))
    p.grad = torch.ones(2, 2)
    with pytest.raises(error, match=re.escape(text)):
        cls([p]).step()
    assert torch.equal(p, torch.ones(2, 2))


def test_a_rule_without_update_is_named():
    with pytest.raises(NotImplementedError, match="Toy"):
        p = nn.Parameter(torch.ones(2))
        p.grad = torch.ones(2)
        type("Toy", (Optimizer,), {})([p]).step()


def test_a_trace_that_failed_leaves_nothing_behind():
    from ravine.compile.expr import traces

    with pytest.raises(TypeError):
        compiled(rule(if_on_a_symbol))
    assert not traces.stack


# simplify


def test_equal_nodes_are_one():
    p, g = leaf("p", "p", FULL), leaf("g", "g", FULL)
    assert p + g is p + g
    assert const(1) is const(1.0) and const(1.0) is not const(2.0)


@pytest.mark.parametrize("power", POWERS)
@BACKENDS
def test_powers(power, backend):
    cls = rule(lambda self, s, p, g, t: p - g**power)
    g = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    p, _ = run(cls, [g], (3,), backend)
    assert torch.allclose(p, 1 - g**power, rtol=1e-14, atol=0)


@pytest.mark.parametrize("cls", registry().values(), ids=registry().keys())
def test_simplify_keeps_the_values(cls):
    program = compiled(cls).program
    simple = simplify(program)
    made = torch.Generator().manual_seed(0)
    values = {}

    def read(x):
        key = (x.op, x.arg) if x.op == "every" else x  # what is summed may be simplified, its number is the same
        if key not in values:
            shape = extent(p, x.shape) if x.shape == FULL or is_matrix(x) else ()
            values[key] = torch.rand(shape, generator=made, dtype=torch.float64) * 0.5 + 0.25
            if x.op == "t":
                values[key] = torch.tensor(9.0, dtype=torch.float64)
        return values[key]

    p = torch.empty(3, 4, dtype=torch.float64)
    before = evaluate(program.outputs.values(), read, p)
    after = evaluate(simple.outputs.values(), read, p)
    for k in program.outputs:
        torch.testing.assert_close(
            after[simple.outputs[k]], before[program.outputs[k]], rtol=1e-12, atol=1e-13, equal_nan=True
        )


def test_rewrites():
    x, y, h, k = leaf("p", "p", FULL), leaf("g", "g", FULL), leaf("hyper", "h"), leaf("hyper", "k")
    assert rewrite(node("neg", -x)) is x
    assert rewrite(x + -y) is x - y and rewrite(x - -y) is x + y
    assert rewrite(x * h) is h * x
    assert rewrite(h * (k * x)) is (h * k) * x
    assert rewrite(x / h) is (1.0 / h) * x
    assert rewrite(1 * x) is x and rewrite(x**2) is x * x


# plan


def test_elementwise_rules_are_one_kernel_and_no_other_writes_before_the_last():
    for name, cls in registry().items():
        plan = compiled(cls).plan
        ops = {x.op for x in walk(plan.outputs.values())}
        assert ops & MATRIX or (len(plan.kernels) == 1) == (not ops & {*REDUCE}), name
        assert [x.stage for x in plan.phases if isinstance(x, Host)] == list(range(1 + len(plan.gathers)))
        assert isinstance(plan.phases[-1], Short | Sweep | Reduce | Matrix), name
        assert not any(k.stores for k in plan.kernels[:-1])


def test_lamb_is_two_kernels():
    plan = compiled(ravine.LAMB).plan
    assert len(plan.kernels[0].sums) == 2 and not plan.kernels[1].sums
    assert list(plan.reads(plan.kernels[0])) == ["p", "m", "v", "g"] and list(plan.writes(plan.kernels[1])) == [
        "p",
        "m",
        "v",
    ]


def test_what_depends_on_the_count_and_hyperparameters_is_done_on_the_host():
    for cls in (ravine.Adam, ravine.NAdam, ravine.RAdam):
        plan = compiled(cls).plan
        inner = [x for k in plan.kernels for x in plan.needs(k) if x.shape == FULL]
        assert not any(x.op == "pow" for x in inner)
        assert sum(x.op in ("div", "sqrt") for x in inner) <= 2


def test_norms_of_norms_take_a_kernel_each():
    def update(self, s, p, g, t):
        u = g / norm(g)
        v = u * norm(u + p)
        return p - self.lr * v / norm(v)

    cls = rule(update)
    assert len(compiled(cls).plan.kernels) == 4
    (g,) = waves((3, 4), 1)
    u = g / g.norm()
    v = u * (u + 1).norm()
    for backend in ("llvm", "reference"):
        p, _ = run(cls, [g], backend=backend, lr=0.1)
        assert torch.allclose(p, 1 - 0.1 * v / v.norm(), rtol=1e-13)


def test_emitted_ir_has_no_flag_that_hides_a_nan():
    for cls in registry().values():
        plan = compiled(cls).plan
        text = llvm.emit(plan, dict.fromkeys(plan.arrays, "float32"))
        assert not re.search(r"\b(nnan|ninf|fast|afn|arcp)\b", text)


# matrix work


@matrix_op
def orthogonal(x, steps=5):
    """Nearly the nearest orthogonal matrix."""
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


@matrix_op
def inverse_root(a, order=4):
    w, q = torch.linalg.eigh(a)
    return q * w.clamp(min=1e-12) ** (-1 / order) @ q.mT


@matrix_op
def careless(x):
    """Changes what it is given: its caller's tensors must not see it."""
    return x.mul_(2)


class Muon(Optimizer):
    """Momentum made orthogonal."""

    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.1
    steps: int = 5

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = self.momentum * s.m + (1 - self.momentum) * g
        u = orthogonal(g + self.momentum * (s.m - g), steps=self.steps)
        scale = sqrt(words.maximum(1, rows(p) / cols(p)))
        return (1 - self.lr * self.weight_decay) * p - self.lr * scale * u


class Shampoo(Optimizer):
    """Rows and columns preconditioned by past gradients; the step has the gradient's length."""

    lr: float = 0.1
    eps: float = 1e-2

    def init(self, s, p):
        s.L, s.R = self.eps * eye(rows(p)), self.eps * eye(cols(p))

    def update(self, s, p, g, t):
        s.L = s.L + g @ g.T
        s.R = 0.9 * s.R + g.T @ g
        u = inverse_root(s.L) @ g @ inverse_root(s.R)
        return p - self.lr * u * norm(g) / norm(u)


def muon(shape, gradients):
    p, m = torch.ones(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    r = shape[0] if shape else 1
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        u = orthogonal((g + 0.9 * (m - g)).reshape(r, -1)).reshape(shape)
        p = (1 - 0.02 * 0.1) * p - 0.02 * math.sqrt(max(1, r / (p.numel() / r))) * u
    return p


def shampoo(shape, gradients):
    p, r = torch.ones(shape, dtype=torch.float64), shape[0] if shape else 1
    c = p.numel() // r
    left, right = 1e-2 * torch.eye(r, dtype=torch.float64), 1e-2 * torch.eye(c, dtype=torch.float64)
    for g in gradients:
        g = g.reshape(r, c)
        left, right = left + g @ g.T, 0.9 * right + g.T @ g
        u = inverse_root(left) @ g @ inverse_root(right)
        p = p - (0.1 * u * g.norm() / u.norm()).reshape(shape)
    return p


@BACKENDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cls", "plain"), [(Muon, muon), (Shampoo, shampoo)], ids=["muon", "shampoo"])
def test_matrix_rules_are_the_plain_loop(cls, plain, shape, backend):
    gradients = waves(shape)
    p, _ = run(cls, gradients, shape, backend)
    torch.testing.assert_close(p, plain(shape, gradients), rtol=1e-9, atol=1e-9)


def test_matrix_rules_over_many_tensors_and_odd_memory():
    params = [
        nn.Parameter(torch.ones(4, 3, dtype=torch.float64).t()),
        nn.Parameter(torch.ones(2, 5, dtype=torch.float64)),
    ]
    opt = Shampoo(params)
    gradients = [waves(p.shape) for p in params]
    for g in zip(*gradients, strict=True):
        for p, x in zip(params, g, strict=True):
            p.grad = torch.empty_like(p).copy_(x)  # in the parameter's order
        opt.step()
    for p, g in zip(params, gradients, strict=True):
        torch.testing.assert_close(p.detach(), shampoo(tuple(p.shape), g), rtol=1e-9, atol=1e-9)


@BACKENDS
@pytest.mark.parametrize("cls", [Muon, Shampoo])
def test_matrix_rules_save_and_load(cls, backend):
    gradients = waves((3, 4), 6)
    whole, _ = run(cls, gradients, backend=backend)
    half, opt = run(cls, gradients[:3], backend=backend)
    p = nn.Parameter(half.clone())
    other = cls([p], backend=backend)
    other.load_state_dict(opt.state_dict())
    for g in gradients[3:]:
        p.grad = g.clone()
        other.step()
    assert torch.equal(p, whole)


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_matrix_rules_in_other_types(backend, dtype):
    for cls in (Muon, Shampoo):
        p = nn.Parameter(torch.ones(3, 4, dtype=dtype))
        opt = cls([p], backend=backend, storage="float32")
        for g in waves((3, 4)):
            p.grad = g.to(dtype)
            opt.step()
        q, _ = run(cls, waves((3, 4)))
        assert (p.double() - q).abs().max() < (0.05 if dtype == torch.bfloat16 else 1e-4)


@BACKENDS
def test_matrix_work_that_writes_into_its_argument_harms_nobody(backend):
    cls = rule(lambda self, s, p, g, t: p - careless(g) - careless(g + p) - g)
    p = nn.Parameter(torch.ones(3, 4))
    p.grad = torch.full((3, 4), 0.5)
    cls([p], backend=backend).step()
    assert (p == 1 - 1 - 3 - 0.5).all() and (p.grad == 0.5).all()


@BACKENDS
def test_a_matrix_may_become_another_one_as_it_was_or_begin_anew(backend):
    class Chain(Optimizer):
        """s.K is what s.L was; s.N is made anew."""

        def init(self, s, p):
            s.L, s.K, s.N = 0.0 * eye(rows(p)), 0.0 * eye(rows(p)), 0.0 * eye(rows(p))

        def update(self, s, p, g, t):
            s.K = s.L
            s.L = s.L + g @ g.T
            s.N = eye(rows(p))
            return p - self.lr * (s.L @ g)

    _, opt = run(Chain, [torch.ones(2, 3)] * 3, (2, 3), backend)
    (state,) = opt.state.values()
    assert (state["L"] == 9).all() and (state["K"] == 6).all() and torch.equal(state["N"], torch.eye(2).double())


def test_kernels_and_matrix_work_alternate():
    assert [type(x) for x in compiled(Muon).plan.phases] == [Host, Sweep, Matrix, Sweep]


# states that are one number


class Capped(Optimizer):
    """The step is never longer than the longest gradient so far is times lr: a number per tensor."""

    lr: float = 0.1

    def init(self, s, p):
        s.longest = scalar(1.0)

    def update(self, s, p, g, t):
        s.longest = words.maximum(0.9 * s.longest, norm(g))
        return p - self.lr * g / s.longest


class Counted(Optimizer):
    """The rate shrinks by a product that the host keeps."""

    lr: float = 0.1
    decay: float = 0.9

    def init(self, s, p):
        s.product = number(1.0)

    def update(self, s, p, g, t):
        s.product = s.product * self.decay
        return p - self.lr * s.product * g


@BACKENDS
@pytest.mark.parametrize("shape", [*SHAPES, (9000,)], ids=str)
def test_a_number_of_each_tensor(backend, shape):
    gradients = waves(shape)
    p, opt = run(Capped, gradients, shape, backend)
    plain, longest = torch.ones(shape, dtype=torch.float64), 1.0
    for g in gradients:
        longest = max(0.9 * longest, g.norm().item())
        plain = plain - 0.1 * g / longest
    torch.testing.assert_close(p, plain, rtol=1e-12, atol=1e-12)
    (state,) = opt.state.values()
    assert state["longest"].shape == () and abs(state["longest"].item() - longest) < 1e-9


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_number_of_each_tensor_is_kept_in_float32_at_least(backend, dtype):
    params = [nn.Parameter(torch.ones(s, dtype=dtype)) for s in SHAPES]
    opt = Capped(params, backend=backend)
    for t in range(3):
        for p, shape in zip(params, SHAPES, strict=True):
            p.grad = waves(shape, 3)[t].to(dtype)
        opt.step()
    for p, shape in zip(params, SHAPES, strict=True):
        assert opt.state[p]["longest"].dtype == torch.float32
        longest = 1.0
        for g in waves(shape, 3):
            longest = max(0.9 * longest, g.to(dtype).double().norm().item())
        assert abs(opt.state[p]["longest"].item() - longest) < 1e-5 * longest


@BACKENDS
def test_a_number_of_the_host(backend):
    gradients = waves((3, 4))
    p, opt = run(Counted, gradients, backend=backend)
    plain = 1 - sum(0.1 * 0.9 ** (t + 1) * g for t, g in enumerate(gradients))
    torch.testing.assert_close(p, plain, rtol=1e-13, atol=1e-13)
    (state,) = opt.state.values()
    assert state["product"].dtype == torch.float64 and abs(state["product"].item() - 0.9**4) < 1e-15


@BACKENDS
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (6, 1)], ids=str)
def test_sizes(backend, shape):
    cls = rule(lambda self, s, p, g, t: p + 100 * rows(p) + 10 * cols(p) + numel(p))
    p, _ = run(cls, [torch.ones(shape)], shape, backend)
    r = shape[0] if shape else 1
    c = math.prod(shape[1:])
    assert (p == 1 + 100 * r + 10 * c + r * c).all()


@BACKENDS
def test_words_are_torchs_functions(backend):
    x = torch.tensor([-2.0, -0.0, 0.0, 0.5, 3.0, math.inf, -math.inf, math.nan], dtype=torch.float64)
    pairs = {
        "abs": (words.abs, torch.abs),
        "sqrt": (sqrt, torch.sqrt),
        "sign": (words.sign, lambda x: torch.where(x.isnan(), x, x.sign())),  # torch hides a NaN here
        "maximum": (lambda g: words.maximum(g, 0.25), lambda x: torch.maximum(x, torch.tensor(0.25).double())),
        "minimum": (lambda g: words.minimum(0.25, g), lambda x: torch.minimum(x, torch.tensor(0.25).double())),
        "where": (lambda g: where(g <= 0.5, g, 7.0), lambda x: torch.where(x <= 0.5, x, 7.0)),
        "lerp": (lambda g: words.lerp(g, 2.0, 0.25), lambda x: x + 0.25 * (2 - x)),
        "neg": (lambda g: -g, torch.neg),
    }
    for mine, theirs in pairs.values():
        cls = rule(lambda self, s, p, g, t, mine=mine: 0 * p + mine(g))
        p, _ = run(cls, [x], x.shape, backend)
        torch.testing.assert_close(p, theirs(x), rtol=3e-16, atol=0, equal_nan=True)  # torch's own root is 1 ulp off


# the host


T = leaf("t", "t")
A, B = leaf("hyper", "a"), leaf("hyper", "b")
NUMBERS = {
    "powers": A**T - B ** (T + 1),
    "a negative base": (-1.0) ** T,
    "a negative base, computed": (A - 2) ** T,
    "a negative exponent": T**-0.5,
    "division by nothing": 1 / (A - A),
    "nothing by nothing": (A - A) / (A - A),
    "the root of less than nothing": sqrt(A - 10),
    "a root that is not taken": where(A > 1, sqrt(1 - A), B),
    "a power too large": (A * 1e200) ** 2,
    "a broken power of less than nothing": (A - 10) ** 0.5,
    "the larger of something and NaN": words.maximum(B, sqrt(A - 10)),
    "the larger of NaN and something": words.maximum(sqrt(A - 10), B),
    "the smaller of something and NaN": words.minimum(B, sqrt(A - 10)),
    "whole numbers": words.floor(T / 3 - B) + words.floor(-T * A),
    "the whole part of infinity": words.floor(1 / (A - A)),
    "the whole part of nothing": words.floor((A - A) / (A - A)),
    "infinity": where(T > 2, math.inf, A),
    "minus infinity": words.maximum(-math.inf, A),
    "a state": leaf("state", "s") * A,
    "a comparison": where(A >= B, A, -B),
    "less": where(A < B, words.abs(-A), 2.0),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("t", [1.0, 2.0, 3.0, 1000.0])
def test_the_host_computes_as_torch_does(name, t):
    hyper, state, x = {"a": 0.9, "b": 0.999}, {"s": 0.3}, NUMBERS[name]
    assert x.shape is HOST

    def read(x):
        found = t if x.op == "t" else state["s"] if x.op == "state" else hyper[x.arg]
        return torch.tensor(found, dtype=torch.float64)

    expected = evaluate([x], read, torch.empty(0))[x].item()
    (found,) = host.build([x])(t, state, hyper)
    assert isinstance(found, float)
    assert found == pytest.approx(expected, rel=1e-14, nan_ok=True)


def test_explain_is_a_page_and_the_code_comes_where_it_is_asked_for():
    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt = ravine.Adam([p, q])
    text, whole = opt.explain(), opt.explain(code=True)
    for word in ("Adam on cpu in float32", "Equations", "Plan", "28 bytes moved per element", "in float64", "56 bytes"):
        assert word in text and word in whole
    for word in ("On the host", "def numbers(t, state, hyper", "Source", "define internal void"):
        assert word not in text and word in whole
    assert len(text.splitlines()) < 40 < len(whole.splitlines())
    assert not text.endswith("\n") and "\n\n\n" not in text


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_debug_prints_stages(level, monkeypatch, capsys):
    monkeypatch.setenv("RAVINE_DEBUG", level)
    work = {"1": words.abs, "2": sqrt, "3": lambda g: -words.abs(sqrt(g))}[level]  # source that no test made before
    cls = rule(lambda self, s, p, g, t: p - self.lr * work(g))
    run(cls, waves((2,), 1), (2,))
    text = capsys.readouterr().err
    assert "1 kernel(s)" in text
    assert ("def numbers" in text) == (level >= "2") and ("define internal void" in text) == (level >= "3")


def test_explain_takes_the_types_that_the_states_have():
    p, q = nn.Parameter(torch.ones(3, dtype=torch.bfloat16)), nn.Parameter(torch.ones(3))
    opt = ravine.Adam([p, q], storage="float32")
    for _ in range(2):  # before the states are made and after
        text = opt.explain(code=True)
        assert "22 bytes moved per element" in text and "28 bytes moved per element" in text
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        opt.step()
    types = [batch.launch.types for batch in opt._arranged.batches]
    assert all(llvm.emit(opt.compiled(opt.param_groups[0]).plan, x) in text for x in types)
    z = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    assert "56 bytes moved per element" in ravine.Adam([z]).explain()


@pytest.mark.parametrize("level", ["yes", "5", "-1"])
def test_a_wrong_debug_level_is_named(level, monkeypatch):
    monkeypatch.setenv("RAVINE_DEBUG", level)
    with pytest.raises(ValueError, match=f"RAVINE_DEBUG is '{level}'; it must be 1, 2, 3 or 4"):
        compiled(rule(lambda self, s, p, g, t: p - g))


def test_minus_zero_is_not_zero():
    zero, minus = const(0.0), const(-0.0)
    assert math.copysign(1, zero.arg) == 1 and math.copysign(1, minus.arg) == -1 and const(0.0) is zero


def test_an_unknown_operation_is_refused():
    with pytest.raises(TypeError, match="unknown operation 'erf'"):
        compiled(rule(lambda self, s, p, g, t: node("erf", p)))
