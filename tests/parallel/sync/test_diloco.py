"""DiLoCo with one worker against SNOO, Lookahead and its paper; fragments; its state through files; what is refused."""

import copy as copying
import pickle

import pytest
import torch
from roads import start, values
from walks import copy, equal, near, through_a_file, walk

import ravine
from ravine.parallel.sync.diloco import DiLoCo
from ravine.parallel.sync.fragments import balanced, offsets
from ravine.strategies import SNOO, Lookahead

libraries = pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
inners = pytest.mark.parametrize(("name", "hyper"), [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.05})])


def nesterov(lr, momentum, library=ravine.optim):
    return lambda params: library.SGD(params, lr=lr, momentum=momentum, nesterov=momentum > 0)


def made(x=None, inner=None, **how):
    params = start() if x is None else x
    return DiLoCo(inner or ravine.SGD(params, lr=0.1), **how), params


@inners
@libraries
def test_one_worker_is_snoo(name, hyper, library):
    params, others = start(), start()
    opt = DiLoCo(getattr(library, name)(params, **hyper), nesterov(0.68, 0.37, library), sync_every=4)
    other = SNOO(getattr(library, name)(others, **hyper), k=4, lr=0.68, momentum=0.37)
    for t in range(19):
        near(walk(opt, params, 1, t), walk(other, others, 1, t))
        near([opt.state[p]["diloco.anchor"] for p in params], [other.state[p]["snoo.slow"] for p in others])
    opt.eval()
    other.eval()
    near(params, others)


@inners
def test_without_momentum_it_is_lookahead(name, hyper):
    params, others = start(), start()
    opt = DiLoCo(getattr(ravine, name)(params, **hyper), nesterov(0.5, 0.0), sync_every=5)
    near(walk(opt, params, 23), walk(Lookahead(getattr(ravine, name)(others, **hyper), k=5), others, 23))


def test_torchs_sgd_outside_is_ours():
    ours, theirs, third = start(), start(), start()
    near(
        walk(made(ours, sync_every=3)[0], ours, 14),
        walk(made(theirs, outer=nesterov(0.7, 0.9, torch.optim), sync_every=3)[0], theirs, 14),
    )
    walk(made(third, outer=lambda x: ravine.NAG(x, lr=0.7, momentum=0.9), sync_every=3)[0], third, 14)
    near(ours, third, 1e-11)  # NAG's own points look ahead: the same walk in another order of words


@pytest.mark.parametrize("how", [{}, {"mix": 1.0}, {"fragments": 4, "mix": 1.0, "overlap": 2}])
def test_all_of_the_own_way_kept_is_the_inner_optimizer_alone(how):
    params, alone = start(), start()
    opt, _ = made(params, sync_every=4, outer=nesterov(1.0, 0.0), **how)
    near(walk(opt, params, 13), walk(ravine.SGD(alone, lr=0.1), alone, 13))


def test_fragments_of_one_size_each_are_sent_in_turn():
    params = start()
    opt, _ = made(params, sync_every=4, fragments=4, outer=nesterov(0.0, 0.0))  # its anchors never leave
    first = values(params)
    for t in range(1, 13):
        walk(opt, params, 1, t)
        back = [i for i, p in enumerate(params) if torch.equal(p, first[i])]
        assert back == [i for i, k in enumerate(opt.fragment.values()) if k == (t - 1) % 4]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_fragments_are_balanced(parts):
    sizes = [int(x) for x in torch.randint(1, 1000, (60,), generator=torch.Generator().manual_seed(parts))]
    where = balanced(sizes, parts)
    loads = [sum(s for s, k in zip(sizes, where, strict=True) if k == part) for part in range(parts)]
    assert sum(loads) == sum(sizes) and max(loads) <= 1.02 * min(loads)
    assert where == balanced(list(sizes), parts)
    assert sorted(balanced([0, 0, 0], 3)) == [0, 1, 2]
    times = offsets(100, parts)
    assert times[-1] == 100 and len(set(times)) == parts and min(times) >= 100 // parts


STREAM = {"sync_every": 6, "fragments": 3, "overlap": 3, "mix": 0.5}


@inners
@libraries
@pytest.mark.parametrize("how", [{"sync_every": 4}, STREAM], ids=["plain", "streaming"])
@pytest.mark.parametrize("steps", [0, 3, 4, 5, 7, 9, 11])
def test_a_checkpoint_anywhere_continues_bit_for_bit(name, hyper, library, how, steps):
    outer = nesterov(0.6, 0.8, library)
    params, others = start(), start()
    opt = DiLoCo(getattr(library, name)(params, **hyper), outer, **how)
    walk(opt, params, steps)
    copy(others, params)
    other = DiLoCo(getattr(library, name)(others, **hyper), nesterov(0.1, 0.1, library), sync_every=50)
    state = through_a_file(opt.state_dict())
    if steps == 0:
        state = opt.state_dict()
    other.load_state_dict(state)
    assert all(x["anchor"] is other.anchors[p] for p, x in other.kept.items())
    assert [getattr(other, k) for k in other.fields] == [getattr(opt, k) for k in opt.fields] and other.count == steps
    twin, third = copying.deepcopy(opt), pickle.loads(pickle.dumps(DiLoCo(getattr(library, name)(start(), **hyper))))
    assert third.sync_every == 500
    walk(opt, params, 13, steps)
    equal(params, walk(other, others, 13, steps))
    equal(params, walk(twin, twin.params, 13, steps))


def test_a_pickled_one_goes_on_too():
    params = start()
    opt = DiLoCo(ravine.SGD(params, lr=0.1), **STREAM)
    walk(opt, params, 8)
    other = pickle.loads(pickle.dumps(opt))
    equal(walk(opt, params, 9, 8), walk(other, other.params, 9, 8))


def test_moving_all_to_a_device_goes_on():
    params, others = start(), start()
    opt, other = made(params, **STREAM)[0], made(others, **STREAM)[0]
    walk(opt, params, 8)
    opt.to("cpu").to()
    assert all(opt.state[p]["diloco.anchor"] is opt.anchors[p] for p in params)
    equal(walk(opt, params, 9, 8), walk(other, others, 17))


def test_a_schedule_may_act_on_the_outer_optimizer():
    params, others = start(), start()
    opt, other = made(params, sync_every=2)[0], made(others, sync_every=2)[0]
    schedule = torch.optim.lr_scheduler.LambdaLR(opt.outer, lambda n: 0.5**n)
    walk(opt, params, 2)
    walk(other, others, 2)
    equal(params, others)
    schedule.step()
    other.outer.param_groups[0]["lr"] = 0.35
    equal(walk(opt, params, 3, 2), walk(other, others, 3, 2))


def test_eval_shows_the_anchors_and_train_brings_the_own_weights_back():
    opt, params = made(sync_every=4)
    walk(opt, params, 6)
    own = values(params)
    opt.eval()
    opt.eval()
    equal(params, [opt.state[p]["diloco.anchor"] for p in params])
    with pytest.raises(RuntimeError, match=r"DiLoCo: the model holds what eval\(\) put there; call train\(\)"):
        opt.step()
    opt.train()
    equal(params, own)


def test_weights_that_are_unfrozen_or_added_later_have_anchors_from_then_on():
    params = start()
    params[0].requires_grad_(False)
    late = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt = DiLoCo(ravine.SGD(params, lr=0.1), sync_every=2, fragments=2)
    walk(opt, params[1:], 3)
    assert "diloco.anchor" not in opt.state[params[0]]
    params[0].requires_grad_(True)
    opt.add_param_group({"params": [late]})
    walk(opt, [*params, late], 5, 3)
    for p in (*params, late):
        assert opt.state[p]["diloco.anchor"].shape == p.shape and opt.outer.state[opt.anchors[p]]
    again = DiLoCo(
        ravine.SGD([{"params": start()}, {"params": [late.detach().clone().requires_grad_()]}], lr=0.1),
        sync_every=2,
        fragments=2,
    )
    copy(again.params, opt.params)
    again.load_state_dict(through_a_file(opt.state_dict()))
    equal(walk(opt, opt.params, 5, 8), walk(again, again.params, 5, 8))


def test_a_closure_gives_the_loss():
    opt, params = made(sync_every=2)

    def closure():
        opt.zero_grad()
        loss = sum(p.square().sum() for p in params)
        loss.backward()
        return loss

    losses = [opt.step(closure).item() for _ in range(6)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 2


def test_what_is_not_its_state_is_refused_and_changes_nothing():
    opt, params = made(sync_every=3)
    walk(opt, params, 4)
    before = copying.deepcopy(opt.state_dict())
    wrong = copying.deepcopy(before)
    wrong["state"][0]["diloco.anchor"] = torch.zeros(2)
    other = copying.deepcopy(before)
    other["outer"]["optimizer"]["param_groups"].append({"params": [9]})
    others, adam = start(), start()
    for state, text in (
        (ravine.SGD(others, lr=0.1).state_dict(), "if it is one of SGD, load it into the SGD"),
        ({k: x for k, x in before.items() if k != "outer"}, "it has no 'outer'"),
        (wrong, "diloco.anchor|anchor of parameter 0"),
        (other, "outer optimizer has 5 tensors in the state_dict, not 4"),
        ({**before, "outer": {**before["outer"], "fragment": [5, 0, 0, 0]}}, "fragment is"),
        ({**before, "outer": {**before["outer"], "fragment": [0], "of": [0]}}, "anchors of 1 parameters, and other 4"),
        (DiLoCo(ravine.Adam(adam), sync_every=3).state_dict() | {"state": {0: {"exp_avg": torch.ones(6, 4)}}}, "SGD"),
    ):
        with pytest.raises(ValueError, match=text):
            opt.load_state_dict(state)
        now = opt.state_dict()
        for i, state in before["state"].items():
            equal([now["state"][i][k] for k in state], list(state.values()))
        for i, state in before["outer"]["optimizer"]["state"].items():
            equal([now["outer"]["optimizer"]["state"][i][k] for k in state], list(state.values()))


class Plain:
    def all_reduce_mean(self, tensors, group):
        return list(tensors)


def test_what_is_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for how in (
        {"sync_every": 0},
        {"fragments": 0},
        {"overlap": -1},
        {"overlap": 500},
        {"mix": 1.5},
        {"fragments": 2.5},
    ):
        with pytest.raises((ValueError, TypeError), match=f"DiLoCo: {next(iter(how))} is"):
            DiLoCo(opt, **how)
    with pytest.raises(ValueError, match="fragments is 5, and there are 4 tensors"):
        DiLoCo(opt, fragments=5)
    with pytest.raises(ValueError, match="fragments is 4; it must be at most sync_every, 3"):
        DiLoCo(opt, fragments=4, sync_every=3)
    with pytest.raises(TypeError, match="DiLoCo drives an optimizer"):
        DiLoCo(start())
    with pytest.raises(TypeError, match="cannot drive another"):
        DiLoCo(DiLoCo(opt))
    with pytest.raises(TypeError, match=r"outer is .*; it must be a function or a class"):
        DiLoCo(ravine.SGD(start()), ravine.SGD(start()))
    with pytest.raises(TypeError, match="outer has made 3"):
        DiLoCo(ravine.SGD(start()), lambda x: 3)
    with pytest.raises(ValueError, match="outer has made an optimizer of other tensors"):
        DiLoCo(ravine.SGD(start()), lambda x: ravine.SGD(x[:1]))
    with pytest.raises(TypeError, match=r"compressor is .*all_reduce_mean"):
        DiLoCo(ravine.SGD(start()), compressor="sign")
    with pytest.raises(TypeError, match=r"compressor is .*all_reduce_mean"):
        DiLoCo(ravine.SGD(start()), compressor=Plain)
