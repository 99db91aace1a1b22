"""What an optimizer remembers survives files, pickles and copies, and goes on bit for bit."""

import copy
import pickle

import pytest
import torch
from cases import COVER, equal, every_program, parameters, same_states, some, states, walk
from ordinary import SHAPES, copied, of, saved

import ravine
from ravine.words import norm, number, scalar, zeros


@some(3, among=COVER)
def test_a_loaded_state_continues_bit_for_bit(cls, hyper):
    a = cls(parameters(SHAPES), **hyper)
    walk(a, 3, live=[0, 1, 3])
    walk(a, 3, first=3)
    b = cls(copied(of(a)))
    b.load_state_dict(saved(a))
    same_states(a, b)
    walk(a, 3, first=6)
    walk(b, 3, first=6)
    same_states(a, b)


@every_program
def test_a_pickled_optimizer_continues_bit_for_bit(cls):
    a = cls(parameters(SHAPES), backend="reference")
    walk(a, 3)
    b = pickle.loads(pickle.dumps(a))
    assert b.backend == "reference"
    walk(a, 3, first=3)
    walk(b, 3, first=3)
    same_states(a, b)


@every_program
def test_model_and_optimizer_are_copied_together(cls):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    a = cls(model.parameters())
    walk(a, 3)
    twin, b = copy.deepcopy((model, a))
    assert [id(p) for p in of(b)] == [id(p) for p in twin.parameters()]
    before = [p.detach().clone() for p in of(a)]
    walk(b, 3, first=3)
    for p, old in zip(of(a), before, strict=True):
        equal(p.detach(), old)
    walk(a, 3, first=3)
    same_states(a, b)


@every_program
@pytest.mark.parametrize("storage", [None, "float32"])
def test_states_keep_their_type_when_loaded(cls, storage):
    a = cls(parameters(SHAPES, dtype=torch.bfloat16), storage=storage)
    walk(a, 3)
    b = cls(copied(of(a)))
    b.load_state_dict(saved(a))
    for p in of(b):
        assert {x.dtype for x in states(b, p).values()} <= {torch.bfloat16 if storage is None else torch.float32}
    same_states(a, b)
    walk(a, 2, first=3)
    walk(b, 2, first=3)
    same_states(a, b)


@every_program
def test_parameters_do_not_share_numbers_in_a_state_dict(cls):
    opt = cls(parameters(SHAPES))
    walk(opt, 2)
    seen = [x.data_ptr() for state in opt.state_dict()["state"].values() for x in state.values()]
    assert len(seen) == len(set(seen))


@every_program
def test_a_state_dict_is_not_changed_by_loading_nor_by_steps_after_it(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    given = copy.deepcopy(a.state_dict())
    kept = copy.deepcopy(given)
    b = cls(copied(of(a)))
    b.load_state_dict(given)
    walk(b, 2)
    assert given["param_groups"] == kept["param_groups"]
    for i, state in kept["state"].items():
        for k, x in state.items():
            equal(x, given["state"][i][k])


def test_hooks_around_loading_have_the_last_word():
    a = ravine.Adam(parameters(SHAPES))
    walk(a, 2)

    def without_first(_, given):
        return given | {"state": {i: x for i, x in given["state"].items() if i}}

    b = ravine.Adam(copied(of(a)))
    b.register_load_state_dict_pre_hook(without_first)
    b.register_load_state_dict_post_hook(lambda opt: opt.state[of(opt)[1]].update(exp_avg=torch.full((7,), 5.0)))
    b.load_state_dict(a.state_dict())
    assert len(b.state) == 3 and of(b)[0] not in b.state
    equal(b.state[of(b)[1]]["exp_avg"], torch.full((7,), 5.0))


def test_a_loaded_state_lies_beside_its_parameter_and_numbers_on_the_cpu():
    class Both(ravine.Optimizer):
        """A state of each shape."""

        def init(self, s, p):
            s.m, s.longest, s.product = zeros(p), scalar(0.0), number(1.0)

        def update(self, s, p, g, t):
            s.m, s.longest, s.product = s.m + g, s.longest + norm(g), s.product * 0.5
            return p - self.lr * s.product * s.m / s.longest

    a = Both(parameters([(), (3,)]))
    walk(a, 1)
    b = Both([torch.nn.Parameter(torch.empty(p.shape, device="meta")) for p in of(a)])
    b.load_state_dict(a.state_dict())
    for p in of(b):
        found = {k: x.device.type for k, x in b.state[p].items()}
        assert found == {"m": "meta", "longest": "meta", "product": "cpu", "step": "cpu"}
