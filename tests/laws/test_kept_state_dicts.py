"""A state_dict that is kept is live, as torch's is; a copy is not, and what nobody keeps is forgotten."""

import copy

import torch
from cases import equal, every_program, parameters, same_states, walk
from ordinary import SHAPES, copied, of

import ravine


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
