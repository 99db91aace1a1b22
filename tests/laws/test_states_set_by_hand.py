"""What users do to opt.state: it begins anew where it was cleared, and what was put there counts or is refused."""

import pytest
import torch
from cases import TWINS, equal, every_program, near, parameters, same_states, walk
from ordinary import SHAPES, of

import ravine


@every_program
def test_a_cleared_state_begins_anew(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a = cls(p)
    walk(a, 3)
    a.state.clear()
    with torch.no_grad():
        for x, y in zip(p, q, strict=True):
            y.copy_(x)
    b = cls(q)
    walk(a, 2)
    walk(b, 2)
    same_states(a, b)


@pytest.mark.parametrize("cls", TWINS.values(), ids=TWINS.keys())
def test_a_replaced_state_is_noticed(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p), cls.twin(q)
    for opt in (a, b):
        walk(opt, 3)
        for x in of(opt):
            for k, v in opt.state[x].items():
                if torch.is_tensor(v) and v.shape == x.shape and k not in ("step", "mu_product"):
                    opt.state[x][k] = v.clone().mul_(2)
        opt.state[of(opt)[1]]["step"] = torch.tensor(7.0)
        walk(opt, 2)
    for x, y in zip(p, q, strict=True):
        near(x, y, 2e-6)


def test_a_state_of_another_shape_is_named():
    opt = ravine.Adam(parameters(SHAPES))
    walk(opt, 1)
    opt.state[of(opt)[1]]["exp_avg"] = torch.zeros(9)
    before = [p.detach().clone() for p in of(opt)]
    with pytest.raises(RuntimeError, match=r"parameter 1 .*exp_avg.*\(9,\)"):
        walk(opt, 1)
    for p, old in zip(of(opt), before, strict=True):
        equal(p.detach(), old)
