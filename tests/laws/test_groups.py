"""However parameters are ordered and grouped, each moves by itself and counts its own steps."""

from functools import partial

import pytest
from cases import equal, every_program, gathers, give, near, parameters
from ordinary import SHAPES, count_of_programs, of


@every_program
def test_permuted_parameters_give_the_permuted_result(cls):
    order = [2, 0, 3, 1]
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p), cls([q[i] for i in order])
    for t in range(4):
        give(p, t)
        give(q, t)
        a.step()
        b.step()
    # a sum over all tensors is added up in their order, in float64: its last bit may be another
    same = partial(near, tolerance=2e-7) if gathers(a) else equal
    for x, y in zip(p, q, strict=True):
        same(x.detach(), y.detach())
        for k, v in a.state[x].items():
            same(v, b.state[y][k])


@every_program
def test_one_list_is_many_groups(cls):
    a, b = cls(parameters(SHAPES)), cls([{"params": [p]} for p in parameters(SHAPES)])
    for opt in (a, b):
        for t in range(4):
            give(of(opt), t, live=[0, 1, 2] if t == 1 else None)
            opt.step()
    for p, q in zip(of(a), of(b), strict=True):
        equal(p.detach(), q.detach())
        assert a.state[p]["step"] == b.state[q]["step"]
    assert len(b._arranged.batches) == count_of_programs(b)  # and still one launch
    late = {(id(a.compiled(a.param_groups[0], p)), int(a.state[p]["step"])) for p in of(a)}  # one has missed a step
    assert sum(len(batch.rows) for batch in a._arranged.batches) == len(late)


@every_program
def test_each_parameter_counts_its_own_steps(cls):
    opt = cls(parameters(SHAPES))
    for t in range(6):
        give(of(opt), t, live=[i for i in range(len(SHAPES)) if t >= i])
        opt.step()
    assert [float(opt.state[p]["step"]) for p in of(opt)] == [6, 5, 4, 3]


@every_program
def test_groups_have_their_own_hyperparameters(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a = cls([{"params": p[:2], "lr": 0.1}, {"params": p[2:], "lr": 0.01}])
    if gathers(a):
        pytest.skip("its groups share a sum over all tensors")
    b, c = cls(q[:2], lr=0.1), cls(q[2:], lr=0.01)
    for t in range(3):
        give(p, t)
        give(q, t)
        for opt in (a, b, c):
            opt.step()
    assert len(a._arranged.batches) == count_of_programs(a)
    for x, y in zip(p, q, strict=True):
        equal(x.detach(), y.detach())
