"""The result depends neither on the number of threads nor on whose they are, nor on where in a tensor an element is."""

import ctypes

import pytest
import torch
from cases import every_program, parameters, same_states, walk

import ravine
from ravine.compile.expr import is_matrix
from ravine.compile.launch import elementwise, llvm
from ravine.compile.launch.llvm import SERIAL

SHAPES = [(5,), (SERIAL, 2), (4097,), (), (333, 77), (0,), (16,), (8191,)]  # blocks and shares meet at odd places
COUNTS = (2, 3, 7)
# After three steps a factor of (333, 77) has rank 231. The rest are eigenvalues of rounding, some 1e-4, which torch
# makes otherwise with other threads; their roots are those of rounding unless ε is larger.
EPS = {"Shampoo": {"eps": 0.1}}


def shapes(cls):
    """These; where a factor would have 32,768 rows, a vector of as many numbers."""
    start = cls([torch.nn.Parameter(torch.ones(2, 2))])
    start = start.compiled(start.param_groups[0]).program.start
    return [(2 * SERIAL,) if x == (SERIAL, 2) and any(map(is_matrix, start.values())) else x for x in SHAPES]


def run(cls, threads, dtype=torch.float32, **hyper):
    torch.set_num_threads(threads)
    hyper = EPS.get(cls.__name__, {}) | hyper
    opt = cls(parameters(shapes(cls), dtype=dtype), **hyper)
    walk(opt, 3)
    return opt


@pytest.fixture(autouse=True)
def always_a_team(monkeypatch):
    """On a busy machine, too, where it would be left."""
    monkeypatch.setattr(llvm, "ALONE", 0)


@pytest.fixture
def without_openmp(monkeypatch):
    """As on a machine where torch has brought no OpenMP runtime; notes who was asked to work."""
    asked, pool = [], llvm.pool

    def noted():
        asked.append(1)
        return pool()

    monkeypatch.setattr(llvm, "openmp", lambda: (0, 0))
    monkeypatch.setattr(llvm, "pool", noted)
    return asked


@every_program
def test_any_number_of_threads_gives_the_same_bits(cls):
    one = run(cls, 1)
    for threads in COUNTS:
        same_states(run(cls, threads), one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_program
def test_an_element_moves_alike_wherever_it_lies(cls, dtype):
    torch.set_num_threads(1)
    given = torch.randn(30, 19, dtype=dtype, generator=torch.Generator().manual_seed(0))
    p = torch.nn.Parameter(given[-1].clone())
    opt = cls([p])
    if not elementwise(opt.compiled(opt.param_groups[0], p).plan):
        pytest.skip("an element's step depends on the whole tensor")
    alone = [torch.nn.Parameter(x.clone()) for x in given[-1].split(1)]
    others = cls(alone)
    for g in given:
        p.grad = g.clone()
        for q, x in zip(alone, g.split(1), strict=True):
            q.grad = x.clone()
        opt.step()
        others.step()
    assert torch.equal(p, torch.cat(alone))


@pytest.mark.ci
@every_program
def test_python_threads_give_the_same_bits(cls, without_openmp):
    one = run(cls, 1)
    assert not without_openmp
    for threads in COUNTS:
        same_states(run(cls, threads), one)
    (group,) = one.param_groups
    kernels = len(one.compiled(group, max(group["params"], key=torch.Tensor.numel)).plan.kernels)
    assert len(without_openmp) == 3 * kernels * sum(n - 1 for n in COUNTS)


@every_program
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.ci
def test_of_every_type(cls, dtype):
    hyper = {"weight_decay": 0.1} if "weight_decay" in cls.__annotations__ else {}
    same_states(run(cls, 3, dtype, **hyper), run(cls, 1, dtype, **hyper))


@every_program
def test_the_number_may_change_between_steps(cls):
    one, many = run(cls, 1), cls(parameters(shapes(cls)), **EPS.get(cls.__name__, {}))
    for t, threads in enumerate((3, 1, 7)):
        torch.set_num_threads(threads)
        walk(many, 1, first=t)
    same_states(many, one)


def test_openmp_is_the_one_that_torch_uses():
    from ravine.compile.native import openmp

    assert all(openmp()), "torch on Linux brings an OpenMP runtime"


def test_a_team_that_lost_time_is_left_until_ten_times_that_is_worked_alone(monkeypatch):
    good, late, alone = (0, 0, 1, 1), (0, 0, 1, 3), (0, 0, 7, 7)  # a call begins, and its work; that ends, and the call
    now, teams = iter([*good, *late, *alone * 3, *good]), []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    def parallel(work, context, threads, flags):
        teams.append((t, threads))
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)(context)

    clock = ctypes.CFUNCTYPE(ctypes.c_double)(lambda: next(now))
    runtime = [ctypes.cast(f, ctypes.c_void_p).value for f in (parallel, clock)]
    monkeypatch.setattr(llvm, "openmp", lambda: runtime)
    monkeypatch.setattr(llvm, "ALONE", 10)
    torch.set_num_threads(2)
    opt = ravine.SGD(parameters([(SERIAL,)]))
    for t in range(6):
        walk(opt, 1, first=t)
    assert teams == [(0, 2), (1, 2), (5, 2)] and next(now, "over") == "over"
