"""What an optimizer remembers survives: saving, loading, copying, regrouping, new hyperparameters."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from cases import (
    ALL,
    COVER,
    TWINS,
    equal,
    every_program,
    gathers,
    give,
    near,
    parameters,
    same_states,
    slow,
    some,
    states,
    walk,
)

import ravine
from ravine.rule import programs
from ravine.words import norm, number, scalar, zeros

SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2)]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def saved(opt):
    """A state_dict that has been through a file."""
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def copied(params):
    return [torch.nn.Parameter(p.detach().clone()) for p in params]


# round trips


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


# what is not this optimizer's


def refused(opt, state, *words):
    """Loading raises an error with these words and leaves everything as it was."""
    before, params = copy.deepcopy(opt.state_dict()), [p.detach().clone() for p in of(opt)]
    with pytest.raises(ValueError) as raised:
        opt.load_state_dict(state)
    assert all(word in str(raised.value) for word in (type(opt).__name__, *words)), raised.value
    after = opt.state_dict()
    assert after["param_groups"] == before["param_groups"] and after["state"].keys() == before["state"].keys()
    for i, state in before["state"].items():
        assert state.keys() == after["state"][i].keys()
        for k, x in state.items():
            equal(x, after["state"][i][k])
    for p, old in zip(of(opt), params, strict=True):
        equal(p.detach(), old)


@every_program
@pytest.mark.parametrize("far", [1, 2, *slow(3, 5, 8, 13, 21, 34)])
def test_a_state_of_another_optimizer_is_refused(cls, far):
    """That of the one so many places further in the alphabet."""
    others = list(ALL.values())
    a, b = cls(parameters(SHAPES)), others[(others.index(cls) + far) % len(others)](parameters(SHAPES))
    walk(a, 2)
    walk(b, 2)
    if a.state[of(a)[0]].keys() == b.state[of(b)[0]].keys():
        pytest.skip("they remember the same things")
    refused(b, a.state_dict())


@every_program
def test_a_state_of_other_shapes_is_refused(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    if states(a, of(a)[1]):
        refused(cls(parameters([(), (8,), (3, 5), (2, 3, 2, 2)])), a.state_dict(), "(7,)", "(8,)")


@every_program
def test_a_state_of_other_groups_is_refused(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    p = parameters(SHAPES)
    refused(cls([{"params": p[:2]}, {"params": p[2:]}]), a.state_dict(), "1", "2")
    refused(cls(p[:3]), a.state_dict(), "4", "3")


@pytest.mark.parametrize("wrong", ["text", [1.0], torch.ones(3, 5, dtype=torch.int8)], ids=str)
def test_a_state_of_the_wrong_kind_is_refused(wrong):
    a = ravine.Adam(parameters(SHAPES))
    walk(a, 2)
    given = a.state_dict()
    given["state"][2]["exp_avg"] = wrong
    refused(ravine.Adam(parameters(SHAPES)), given, "exp_avg")


@pytest.mark.parametrize("lr", [-1.0, float("nan"), "0.1"])
def test_hyperparameters_out_of_range_are_refused_when_loaded(lr):
    a = ravine.Adam(parameters(SHAPES))
    walk(a, 2)
    given = a.state_dict()
    given["param_groups"][0]["lr"] = lr
    with pytest.raises((ValueError, TypeError), match="lr"):
        ravine.Adam(parameters(SHAPES)).load_state_dict(given)


def test_hyperparameters_that_do_not_go_together_are_refused_when_loaded():
    a = ravine.SGD(parameters(SHAPES), momentum=0.9, nesterov=True)
    given = a.state_dict()
    given["param_groups"][0]["momentum"] = 0.0
    refused(ravine.SGD(parameters(SHAPES)), given, "nesterov")


def test_adamw_stays_adamw_whatever_is_loaded():
    a, b = torch.optim.Adam(parameters(SHAPES)), ravine.AdamW(parameters(SHAPES))
    c = torch.optim.AdamW(parameters(SHAPES))
    b.load_state_dict(a.state_dict())
    c.load_state_dict(b.state_dict())
    for opt in (b, c):
        assert opt.param_groups[0]["decoupled_weight_decay"] is True
        opt.param_groups[0]["weight_decay"] = 0.5
        walk(opt, 2)
    for p, q in zip(of(b), of(c), strict=True):
        near(p, q, 2e-6)


# where a loaded state lies


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


# order and groups


def test_states_are_loaded_by_name():
    shapes = {"a": (3,), "b": (3,)}
    a = ravine.Adam(list(zip(shapes, parameters(shapes.values()), strict=True)))
    walk(a, 2)
    for names in (["b", "a"], ["a", "b"]):
        b = ravine.Adam([(k, torch.nn.Parameter(torch.zeros(3))) for k in names])
        b.load_state_dict(saved(a))
        assert b.param_groups[0]["param_names"] == names
        for k, p in zip(names, of(b), strict=True):
            equal(b.state[p]["exp_avg"], a.state[of(a)["ab".index(k)]]["exp_avg"])
    plain = ravine.Adam(parameters(shapes.values()))  # without names by place
    plain.load_state_dict(saved(a))
    equal(plain.state[of(plain)[1]]["exp_avg"], a.state[of(a)[1]]["exp_avg"])
    other = ravine.Adam(list(zip("ac", parameters(shapes.values()), strict=True)))
    refused(other, a.state_dict(), "names", "b only in the state_dict", "c only here")


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


def count_of_programs(opt, more=()):
    """How many programs a group has: two for a rule that asks which are vectors, three if it asks for kernels too."""
    tensors = [*more, *(p for group in opt.param_groups for p in group["params"])]
    return len({id(opt.compiled(opt.param_groups[0], p)) for p in tensors})


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


# hyperparameters that change


@pytest.fixture
def compilations(monkeypatch):
    """Names of the rules compiled so far."""
    made, compile_rule = [], programs.compile_rule

    def counting(rule, *given):
        made.append(rule.__name__)
        return compile_rule(rule, *given)

    monkeypatch.setattr(programs, "compile_rule", counting)
    monkeypatch.setattr(programs, "_programs", {})
    return made


@every_program
def test_a_new_rate_does_not_recompile(cls, compilations):
    opt = cls(parameters(SHAPES))
    walk(opt, 1)
    arranged = opt._arranged
    group = opt.param_groups[0]
    for t, lr in enumerate([0.1, 0.03, torch.tensor(0.02), torch.tensor([0.01]), 1, 0]):
        group["lr"] = lr
        for name, x in group.items():
            if name != "lr" and isinstance(x, float) and x:
                group[name] = 0.99 * x
            if isinstance(x, tuple):
                group[name] = tuple(0.999 * v if isinstance(v, float) else v for v in x)
        walk(opt, 1, first=t)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, 1)
    for t in range(3):
        walk(opt, 1, first=t)
        scheduler.step()
    assert compilations == [cls.__name__] * count_of_programs(opt, [None])  # without a tensor a tall matrix is meant
    assert opt._arranged is arranged


@every_program
def test_a_whole_number_or_a_list_in_a_group_is_as_good_as_floats(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p), cls(q)
    for name, x in a.defaults.items():
        if isinstance(x, float) and x in (0.0, 1.0):
            a.param_groups[0][name] = int(x)
        if isinstance(x, tuple):
            a.param_groups[0][name] = list(x)
    for opt, rates in ((a, (1, 0.5, 2)), (b, (1.0, 0.5, 2.0))):
        programs._programs.clear()
        for lr in rates:
            opt.param_groups[0]["lr"] = lr
            walk(opt, 1)
    for x, y in zip(p, q, strict=True):
        equal(x.detach(), y.detach())


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


@pytest.mark.parametrize("cls", [ravine.SGD, ravine.RMSprop], ids=["sgd", "rmsprop"])
def test_momentum_switched_on_compiles_once_and_goes_on_as_torch(cls, compilations):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p, lr=0.1), cls.twin(q, lr=0.1)
    for t, momentum in enumerate([0.0, 0.0, 0.9, 0.9, 0.8, 0.0, 0.9]):
        for opt in (a, b):
            opt.param_groups[0]["momentum"] = momentum
            if momentum and isinstance(opt, torch.optim.RMSprop) and "momentum_buffer" not in opt.state[q[0]]:
                for x in q:  # torch makes it only at the first step
                    opt.state[x]["momentum_buffer"] = torch.zeros_like(x)
            give(of(opt), t)
            opt.step()
    for x, y in zip(p, q, strict=True):
        near(x, y, 2e-6)
    assert compilations == [cls.__name__] * 2


def test_flags_changed_in_a_group_are_followed():
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = ravine.Adam(p), torch.optim.Adam(q)
    for t, maximize in enumerate([False, True, True, False]):
        for opt in (a, b):
            opt.param_groups[0]["maximize"] = maximize
            give(of(opt), t)
            opt.step()
    for x, y in zip(p, q, strict=True):
        near(x, y, 2e-6)


def test_a_rule_with_a_tuple_of_any_length_has_a_program_for_each_length():
    class Many(ravine.Optimizer):
        """The mean of several momenta."""

        lr: float = 1  # an int for a float: must not be fixed
        betas: tuple[float, ...] = (0.5, 0.9)

        def init(self, s, p):
            s.m = [0.0 * p for _ in self.betas]

        def update(self, s, p, g, t):
            s.m = [b * m + g for b, m in zip(self.betas, s.m, strict=True)]
            return p - self.lr * sum(s.m) / len(s.m)

    p = parameters([(3,)] * 3)
    start = [x.detach().clone() for x in p]
    opt = Many(
        [{"params": [x], "betas": betas} for x, betas in zip(p, [(0.5,), (0.5, 0.9), (0.1, 0.2, 0.3)], strict=True)]
    )
    for lr in (1.0, 0.5):
        for x in p:
            x.grad = torch.ones(3)
        for group in opt.param_groups:
            group["lr"] = lr
        opt.step()
    for x, old, betas in zip(p, start, [(0.5,), (0.5, 0.9), (0.1, 0.2, 0.3)], strict=True):
        near(x, old - 1 - 0.5 * (1 + sum(betas) / len(betas)), 1e-6)


# what users do to opt.state


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


# a kept state_dict


@every_program
def test_a_kept_state_dict_is_live_and_a_deep_copy_is_not(cls):
    a = cls(parameters(SHAPES))
    walk(a, 2)
    live, then = a.state_dict(), copy.deepcopy(a.state_dict())
    params = copied(of(a))
    walk(a, 2, first=2)
    walk(a, 1, first=4, live=[0, 2])  # a step of which some take no part
    for given, p, first in ((live, copied(of(a)), 5), (then, params, 2)):
        b = cls(p)
        b.load_state_dict(given)
        if given is then:
            walk(b, 2, first=2)
            walk(b, 1, first=4, live=[0, 2])
        same_states(a, b)
        if given is live:
            c = copy.deepcopy(a)
            walk(b, 2, first=first)
            walk(c, 2, first=first)
            same_states(b, c)
    assert [float(x["step"]) for x in live["state"].values()] == [5, 4, 5, 4]
    assert [float(x["step"]) for x in then["state"].values()] == [2, 2, 2, 2]


def test_a_kept_state_dict_of_a_released_optimizer_is_live():
    model = torch.nn.Linear(3, 2)
    opt = ravine.NAdam(model.parameters())
    ravine.release(model, opt)
    model(torch.ones(4, 3)).square().sum().backward()
    live = opt.state_dict()
    model(torch.ones(4, 3)).square().sum().backward()
    opt.step()
    for i, p in enumerate(of(opt)):
        for k, x in opt.state[p].items():
            equal(live["state"][i][k], x)
    assert float(live["state"][0]["step"]) == 2


def test_a_decoded_state_dict_is_a_copy():
    opt = ravine.Adam(parameters([(64, 80), (3,)]), storage="int8")
    walk(opt, 2)
    given = opt.state_dict(decoded=True)
    kept = copy.deepcopy(given)
    walk(opt, 2, first=2)
    for i, state in kept["state"].items():
        for k, x in state.items():
            equal(given["state"][i][k], x)


def test_what_nobody_keeps_is_forgotten():
    opt = ravine.Adam(parameters(SHAPES))
    walk(opt, 1)
    for _ in range(3):
        opt.state_dict()
    walk(opt, 1)
    assert not opt._given


def test_state_dicts_without_steps_between_them_do_not_add_up():
    opt = ravine.Adam(parameters(SHAPES))
    walk(opt, 1)
    kept = opt.state_dict()
    for _ in range(50):
        opt.state_dict()
    assert len(opt._given) <= 3 * len(kept["state"])
    walk(opt, 1)
    assert [float(x["step"]) for x in kept["state"].values()] == [2.0] * len(kept["state"])


def test_what_is_done_to_a_kept_state_dict_does_not_stop_steps():
    opt = ravine.Adam(parameters(SHAPES))
    walk(opt, 1)
    kept = [state["step"] for state in opt.state_dict()["state"].values()]
    kept[0].requires_grad_()
    kept[1].untyped_storage().resize_(0)
    kept[2].data = torch.ones(3)
    walk(opt, 1)
    assert float(kept[0].detach()) == float(kept[3]) == float(opt.state[of(opt)[0]]["step"]) == 2
