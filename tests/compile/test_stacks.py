"""Equal calls of matrix operations are one of a stack where a trial says so, and mean the same."""

import pytest
import torch
from torch import nn

from ravine import Optimizer
from ravine.blocks import Block, Heads
from ravine.compile import cache
from ravine.compile.launch import matrix
from ravine.words import eye, matrix_op, turn, zeros

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])
SEEN = []


@matrix_op("n n -> n n")
def inverse_root(a, eps):
    SEEN.append(tuple(a.shape))
    w, q = torch.linalg.eigh(a)
    return q * (w.clamp(min=0) + eps)[..., None, :] ** -0.25 @ q.mT


@matrix_op("n n -> n, n n")
def eigen(a):
    SEEN.append(tuple(a.shape))
    return torch.linalg.eigh(a)


class Shampoo(Optimizer):
    lr: float = 0.1
    eps: float = 1e-2
    interval: int = 1
    stagger: bool = False
    blocks: Block | None = None

    def init(self, s, p):
        s.L, s.R, s.PL, s.PR = zeros("r r"), zeros("c c"), eye("r"), eye("c")

    def update(self, s, p, g, t):
        due = turn(t, self.interval, stagger=self.stagger)
        s.L, s.R = s.L + g @ g.T, s.R + g.T @ g
        s.PL = inverse_root(s.L, self.eps, due=due, old=s.PL)
        s.PR = inverse_root(s.R, self.eps, due=due, old=s.PR)
        return p - self.lr * (s.PL @ g @ s.PR)


class Spectral(Optimizer):
    lr: float = 0.1

    def update(self, s, p, g, t):
        w, q = eigen(g @ g.T)
        return p - self.lr * (q @ (w * (q.T @ g)))


SHAPES = [(3, 4), (4, 4), (3, 4), (2, 2), (4, 4), (3, 4)]


@pytest.fixture(params=[True, False], ids=["as one", "one by one"])
def chosen(request, monkeypatch):
    """What every trial finds."""
    monkeypatch.setattr(matrix, "tried", lambda *_: request.param)
    SEEN.clear()
    return request.param


def steps(cls, shapes=SHAPES, count=3, start=0, **options):
    params = [nn.Parameter(torch.ones(s, dtype=torch.float64)) for s in shapes]
    opt = cls(params, **options)
    made = torch.Generator().manual_seed(1)
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=made, dtype=p.dtype)
        opt.step()
    return [p.detach() for p in params], opt


@BACKENDS
@pytest.mark.parametrize("options", [{}, {"interval": 2}, {"blocks": Heads(1)}], ids=str)
def test_a_stack_means_the_same(options, chosen, backend, monkeypatch):
    found, _ = steps(Shampoo, backend=backend, **options)
    monkeypatch.setattr(matrix, "faster", lambda _: False)
    expected, _ = steps(Shampoo, backend=backend, **options)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@BACKENDS
def test_several_results_are_each_tensors_own(chosen, backend, monkeypatch):
    found, _ = steps(Spectral, backend=backend)
    monkeypatch.setattr(matrix, "faster", lambda _: False)
    expected, _ = steps(Spectral, backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_equal_calls_of_a_step_are_one(chosen):
    """Those of both sides of a square matrix too."""
    steps(Shampoo, count=1)
    one = {(3, 3, 3): 1, (3, 4, 4): 1, (4, 4, 4): 1, (2, 2, 2): 1}
    alone = {(3, 3): 3, (4, 4): 3 + 4, (2, 2): 2}
    assert {x: SEEN.count(x) for x in SEEN} == (one if chosen else alone)


@pytest.mark.parametrize("chosen", [True], indirect=True)
def test_stacks_of_blocks_are_joined(chosen):
    steps(Shampoo, [(6, 4)] * 3, count=1, blocks=Heads(2))
    assert sorted(SEEN) == [(6, 3, 3), (6, 4, 4)]


@pytest.mark.parametrize("chosen", [True], indirect=True)
def test_a_call_of_what_a_call_made_is_stacked_too(chosen):
    def update(self, s, p, g, t):
        return p - inverse_root(inverse_root(g @ g.T, 1.0), 1.0) @ g

    steps(type("Twice", (Optimizer,), {"update": update}), [(3, 4)] * 2, count=1)
    assert SEEN == [(2, 3, 3), (2, 3, 3)]


@pytest.mark.parametrize("chosen", [True], indirect=True)
def test_calls_with_other_numbers_are_others(chosen):
    params = [nn.Parameter(torch.ones(3, 4)) for _ in range(4)]
    opt = Shampoo([{"params": params[:2]}, {"params": params[2:], "eps": 0.5}])
    for p in params:
        p.grad = torch.ones(3, 4)
    opt.step()
    assert sorted(SEEN) == [(2, 3, 3), (2, 3, 3), (2, 4, 4), (2, 4, 4)]


@pytest.mark.parametrize("chosen", [True], indirect=True)
def test_only_what_is_due_is_in_a_stack(chosen):
    steps(Shampoo, [(3, 4)] * 8, count=1, interval=4, stagger=True)
    assert sorted(SEEN) == [(8, 3, 3), (8, 4, 4)]
    SEEN.clear()
    steps(Shampoo, [(3, 4)] * 8, count=5, interval=4, stagger=True)
    later = [x for x in SEEN if x[0] != 8 or len(x) < 3]
    assert later and sum(x[0] if len(x) == 3 else 1 for x in later) == 16


def test_large_ones_are_not_stacked(monkeypatch):
    monkeypatch.setattr(matrix, "LARGEST", 20)
    monkeypatch.setattr(matrix, "tried", lambda *_: True)
    SEEN.clear()
    steps(Shampoo, [(3, 4)] * 3, count=1)
    assert sorted(SEEN) == [(3, 3)] * 3 + [(4, 4)] * 3


def test_a_function_that_will_not_be_stacked_is_not(monkeypatch):
    monkeypatch.setattr(matrix, "tried", lambda *_: True)
    counted = matrix_op("r c -> r c", stack=False)(lambda x: SEEN.append(tuple(x.shape)) or x)
    plain = matrix_op(lambda x: SEEN.append(tuple(x.shape)) or x)
    for word in (counted, plain):
        SEEN.clear()
        steps(type("Toy", (Optimizer,), {"update": lambda self, s, p, g, t, word=word: p - word(g)}), [(2, 3)] * 2, 1)
        assert SEEN == [(2, 3), (2, 3)]


def test_a_trial_is_made_once_and_kept(monkeypatch, tmp_path):
    trials = []
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path))
    monkeypatch.setattr(matrix, "_found", {})
    monkeypatch.setattr(matrix, "trial", lambda _, dues: bool(trials.append(len(dues))) or True)
    steps(Shampoo, [(5, 6)] * 3)
    assert trials == [2, 2]  # of (5, 5) and of (6, 6)
    steps(Shampoo, [(5, 6)] * 12, count=1)
    assert trials == [2, 2, 8, 8]
    matrix._found.clear()  # as another process begins
    steps(Shampoo, [(5, 6)] * 3)
    assert trials == [2, 2, 8, 8] and all(matrix._found.values())
    monkeypatch.setattr(cache, "read", lambda *_: None)
    steps(Shampoo, [(5, 6)] * 3)  # a disk that is gone changes nothing in this process
    assert len(trials) == 4


def test_a_trial_draws_no_random_number_of_the_steps(monkeypatch, tmp_path):
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path))
    monkeypatch.setattr(matrix, "_found", {})
    noisy = matrix_op("r c -> r c")(lambda x: x + torch.randn_like(x))
    cls = type("Toy", (Optimizer,), {"update": lambda self, s, p, g, t: p - noisy(g)})

    def drawn():
        torch.manual_seed(0)
        params, _ = steps(cls, [(40, 40)] * 2, 1)
        return params

    first = drawn()
    assert len(matrix._found) == 1
    torch.testing.assert_close(drawn(), first, rtol=0, atol=0)


def test_explain_says_what_was_one_call(chosen):
    _, opt = steps(Shampoo, [(3, 4)] * 2, 1)
    said = "2 as one call" if chosen else "2 one by one"
    text = opt.explain()
    assert f"inverse_root of (3, 3): {said}" in text and f"inverse_root of (4, 4): {said}" in text
    assert "matrix work in torch: inverse_root" in text


@pytest.mark.parametrize("options", [{}, {"blocks": Heads(1)}], ids=str)
def test_the_graph_is_asked_in_the_first_step_alone(options, monkeypatch):
    """Later steps know what to do, wherever gradients, parameters and states lie by then."""
    monkeypatch.setattr(matrix, "faster", lambda _: False)
    asked, makers = [], matrix.Interpreter.makers
    monkeypatch.setattr(matrix.Interpreter, "makers", lambda *a: asked.append(a) or makers(*a))

    def run(moved):
        _, opt = steps(Shampoo, count=1, interval=2, **options)
        first, made = len(asked), torch.Generator().manual_seed(2)
        params = opt.param_groups[0]["params"]
        for _ in range(4):
            for p in params:
                p.grad = torch.randn(p.shape, generator=made, dtype=p.dtype)
                for x in [p, *opt.state[p].values()] if moved else ():
                    if x.dim():
                        x.data = x.data.clone()
            opt.step()
        assert first and len(asked) == first
        asked.clear()
        return params

    torch.testing.assert_close(run(True), run(False), rtol=0, atol=0)
