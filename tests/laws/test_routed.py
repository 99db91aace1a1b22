"""Several rules in one optimizer: each parameter moves as under its rule alone, and what is asked of all is of all."""

import copy
import pickle

import pytest
import torch
from cases import ALL, COVER, ci, equal, every_program, gathers, give, near, parameters, same_states, some

import ravine
from ravine.mods import EMA, ClipNorm

FIRST, REST = [(3, 5), (17,), ()], [(4, 3), (6,), (2, 3, 4)]


def both(seed=0):
    """Parameters of a first and of a second rule."""
    return parameters(FIRST, seed), parameters(REST, seed + 1)


def step(opts, params, t, **scaled):
    """A step of each optimizer with the gradients of this number."""
    give(params, t, **scaled)
    h = {p: p.grad.abs() for p in params if p.grad is not None}
    for opt in opts:
        routed = isinstance(opt, ravine.Routed)
        given = {"h": h, "u": {p: p.grad / 2 for p in h}}
        opt.step(loss=30.0, **{k: x for k, x in given.items() if routed and k in opt._takes})


def together(routed, apart, params, others, steps=4):
    """Assert that steps of one optimizer and of several leave the same, bit for bit."""
    for t in range(steps):
        step([routed], params, t)
        step(apart, others, t)
        for p, q in zip(params, others, strict=True):
            equal(p.detach(), q.detach())
    for opt in apart:
        for group in opt.param_groups:
            for q in group["params"]:
                p = next(p for p, x in zip(params, others, strict=True) if x is q)
                assert routed.state[p].keys() == opt.state[q].keys()
                for k, x in opt.state[q].items():
                    equal(routed.state[p][k], x)


@some(2, among=COVER)
def test_one_rule_is_that_optimizer(cls, hyper):
    (a, b), (c, d) = both(), both()
    routed, alone = ravine.Routed({cls: a + b}, **hyper), cls(c + d, **hyper)
    assert len(routed.param_groups) == 1 and routed.param_groups[0]["rule"] == cls.__name__
    routed.param_groups[0]["maximize"] = alone.param_groups[0]["maximize"] = False
    together(routed, [alone], a + b, c + d)
    assert len(routed._arranged.batches) == len(alone._arranged.batches)


@every_program
@pytest.mark.parametrize("beside", [ravine.AdamW, ravine.Prodigy])
def test_two_rules_are_the_two_optimizers(cls, beside):
    """Also rules that sum over all their parameters: these are not the other rule's."""
    if cls is beside:
        pytest.skip("one rule: its groups are those of one optimizer")
    (a, b), (c, d) = both(), both()
    routed = ravine.Routed({cls: a, beside: {"params": b, "lr": 0.02}})
    together(routed, [cls(c), beside(d, lr=0.02)], a + b, c + d)


def test_rules_that_share_numbers_of_one_name_do_not_share_them():
    (a, b), (c, d) = both(), both()
    routed = ravine.Routed({ravine.Prodigy: a, ALL["dadaptsgd"]: b})
    together(routed, [ravine.Prodigy(c), ALL["dadaptsgd"](d)], a + b, c + d)
    states = [routed.state[p] for p in a + b]
    assert states[0]["d"] is states[2]["d"] is not states[3]["d"] and states[3]["d"] is states[5]["d"]


@pytest.mark.parametrize("name", ["lion", *ci("lamb", "prodigy", "adafactor", "schedulefreeadamw")])
def test_clipping_is_by_one_norm_of_all(name):
    (a, b), (c, d) = both(), both()
    routed = ravine.Routed({ALL[name]: a, ravine.SGD: {"params": b, "momentum": 0.9}}, mods=[ClipNorm(0.5)])
    apart = [ALL[name](c), ravine.SGD(d, momentum=0.9)]
    for t in range(4):
        step([routed], a + b, t)
        give(c + d, t)
        torch.nn.utils.clip_grad_norm_(c + d, 0.5)
        for opt in apart:
            opt.step(loss=30.0)
    for p, q in zip(a + b, c + d, strict=True):
        near(p, q, 1e-5)


def test_only_those_that_wear_it_are_clipped():
    (a, b), (c, d) = both(), both()
    routed = ravine.Routed({ravine.Lion: {"params": a, "mods": [ClipNorm(0.5)]}, ravine.SGD: b})
    together(routed, [ravine.Lion(c, mods=[ClipNorm(0.5)]), ravine.SGD(d)], a + b, c + d)


def test_groups_of_one_rule_share_a_launch():
    a, b = both()
    groups = [{"params": [p], "lr": 0.1 * (1 + i)} for i, p in enumerate(a)]
    opt = ravine.Routed(
        {ravine.SGD: groups, ravine.AdamW: {"params": [{"params": b[:1]}, {"params": b[1:]}], "lr": 0.1}}
    )
    step([opt], a + b, 0)
    assert [group["lr"] for group in opt.param_groups] == [0.1, 0.2, pytest.approx(0.3), 0.1, 0.1]
    assert len(opt._arranged.batches) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_no_route_moves_where_any_gradient_is_not_finite(which):
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a, ravine.AdamW: b}, nonfinite="skip")
    step([opt], a + b, 0)
    before = copy.deepcopy([p.detach() for p in a + b])
    give(a + b, 1)
    (a, b)[which][0].grad[0] = float("nan")
    opt.step()
    assert opt.skipped == 1
    for p, x in zip(a + b, before, strict=True):
        equal(p.detach(), x)
    opt = ravine.Routed({ravine.Lion: a, ravine.AdamW: b}, nonfinite="raise")
    with pytest.raises(FloatingPointError, match="Routed: the gradient of parameter"):
        opt.step()


def test_gradscaler_skips_and_scales_all_routes():
    (a, b), (c, d) = both(), both()
    opt, apart = ravine.Routed({ravine.Lion: a, ravine.AdamW: b}), [ravine.Lion(c), ravine.AdamW(d)]
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for t in range(3):
        give(c + d, t)
        give(a + b, t, scale=8.0)
        if t == 1:
            b[-1].grad.fill_(float("inf"))
        scaler.scale(torch.ones(()))
        scaler.step(opt)
        scaler.update(8.0)
        for other in apart if t != 1 else ():
            other.step()
    for p, q in zip(a + b, c + d, strict=True):
        near(p, q, 1e-6)
    assert "grad_scale" not in opt.param_groups[0] and opt.skipped == 1


def test_evaluation_weights_are_those_of_the_route_that_has_them():
    (a, b), (c, d) = both(), both()
    opt, alone = ravine.Routed({ravine.ScheduleFreeAdamW: a, ravine.AdamW: b}), ravine.ScheduleFreeAdamW(c)
    step([opt], a + b, 0)
    step([alone], c + d, 0)
    before = copy.deepcopy([p.detach() for p in a + b])
    opt.eval()
    alone.eval()
    for p, q in zip(a, c, strict=True):
        equal(p.detach(), q.detach())
    for p, x in zip(b, before[3:], strict=True):
        equal(p.detach(), x)
    with pytest.raises(RuntimeError, match="call train"):
        opt.step()
    opt.train()
    for p, x in zip(a + b, before, strict=True):
        equal(p.detach(), x)
    opt.step()


def test_metrics_are_of_all_routes():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a, ravine.AdamW: b}, measured=True)
    step([opt], a + b, 0)
    norm = torch.cat([p.grad.double().flatten() for p in a + b]).norm()
    assert opt.metrics()["grad_norm"].item() == pytest.approx(norm.item())
    each = opt.metrics(each=True)["grad_norm"]
    assert each.tolist() == pytest.approx([p.grad.double().norm().item() for p in a + b])


def test_explain_has_a_page_for_each_rule():
    a, b = both()
    pages = ravine.Routed({ravine.Lion: a, ravine.AdamW: b}).explain()
    assert pages.count("Lion on cpu") == 1 and pages.count("AdamW on cpu") == 1


def test_states_move_with_to():
    a, b = both()
    opt = ravine.Routed({ravine.Prodigy: a, ravine.NAdam: b})
    step([opt], a + b, 0)
    assert opt.to("meta").state[a[0]]["m"].is_meta and opt.state[b[0]]["exp_avg"].is_meta
    assert not opt.state[a[0]]["d"].is_meta and not opt.state[b[0]]["step"].is_meta


class Net(torch.nn.Module):
    """A matrix and vectors in two layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def net():
    torch.manual_seed(0)
    return Net()


def test_gradients_are_released_to_each_route_without_a_second_pass():
    models = net(), net()
    first, second = (named(m, ravine.Lion, ravine.ScheduleFreeAdamW, storage="bf16") for m in models)
    released = ravine.release(models[0], first)
    steps(models[0], first, 4)
    released.remove()
    steps(models[1], second, 4)
    same_states(first, second)


@pytest.mark.parametrize("mods", [[], [ClipNorm(0.1)]], ids=["plain", "clip"])
def test_gradients_are_released_to_each_route(mods):
    """Step by step, with sums of the step itself."""
    models, x = (net(), net()), torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    first, second = (
        ravine.Routed(
            {ravine.Prodigy: ravine.groups.matrices(m), ravine.DAdaptAdam: ravine.groups.split(m)[1]}, mods=mods
        )
        for m in models
    )
    released = ravine.release(models[0], first, exact=True)
    for _ in range(4):
        loss = models[0](x).square().mean()
        released.measure(loss)
        loss.backward()
        first.step()
        second.zero_grad()
        models[1](x).square().mean().backward()
        second.step()
        for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
            equal(p.detach(), q.detach()) if not mods else near(p, q, 1e-6)
    with pytest.raises(ValueError, match="released already"):
        ravine.release(models[0], first, exact=True)


def test_schedules_are_over_all_groups():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: {"params": a, "lr": 1e-4}, ravine.AdamW: b}, lr=1e-2)
    assert [group["lr"] for group in opt.param_groups] == [1e-4, 1e-2]
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: 0.5**t)
    step([opt], a + b, 0)
    schedule.step()
    assert [group["lr"] for group in opt.param_groups] == [0.5e-4, 0.5e-2]
    opt = ravine.Routed({ravine.Lion: {"params": a, "lr": 1e-4}, ravine.AdamW: b}, lr=1e-2)
    own = ravine.Scheduler(opt, lr=lambda t: 0.5**t, weight_decay=lambda t: 1 / (1 + t))
    step([opt], a + b, 0)
    own.step()
    assert [group["lr"] for group in opt.param_groups] == [0.5e-4, 0.5e-2]
    assert opt.param_groups[1]["weight_decay"] == 0.005


def test_defaults_are_what_all_rules_have_and_no_group_takes_them():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a[:1], ravine.AdamW: b}, weight_decay=0.2)
    assert opt.defaults["betas"] == (0.9, 0.99) and opt.param_groups[1]["betas"] == (0.9, 0.999)
    assert opt.defaults["weight_decay"] == 0.2 == opt.param_groups[1]["weight_decay"]
    assert "eps" not in opt.defaults and "eps" not in opt.param_groups[0]
    torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=[0.1, 0.2], total_steps=10)  # which cycles betas
    opt.add_param_group({"params": a[1:], "rule": ravine.SGD})
    assert (
        "betas" not in opt.defaults
        and "betas" not in opt.param_groups[2]
        and opt.param_groups[2]["weight_decay"] == 0.2
    )


# what is saved


def named(model, *rules, **hyper):
    """The matrices of a model by the first rule, the rest by the second; all have names."""
    hidden, rest = ravine.groups.split(model, heads=None)
    return ravine.Routed({rules[0]: hidden, rules[1]: rest}, lr=1e-2, **hyper)


def steps(model, opt, count):
    x = torch.ones(3, 4)
    for _ in range(count):
        opt.zero_grad()
        model(x).square().mean().backward()
        opt.step()


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_go_on_as_the_original(way):
    model = net()
    opt = named(model, ravine.Prodigy, ravine.AdamW)
    steps(model, opt, 2)
    model2, opt2 = way((model, opt))
    assert type(opt2) is ravine.Routed and str(opt2.routes()) == str(opt.routes())
    steps(model, opt, 2)
    steps(model2, opt2, 2)
    same_states(opt, opt2)


@pytest.mark.ci  # torch.load imports much
@pytest.mark.parametrize("rules", [(ravine.Prodigy, ravine.AdamW), (ravine.Lion, ravine.ScheduleFreeAdamW)])
def test_a_state_loads_and_goes_on(rules, tmp_path):
    model, model2 = net(), net()
    a, b = named(model, *rules, mods=[EMA(0.9)]), named(model2, *rules, mods=[EMA(0.9)])
    steps(model, a, 3)
    torch.save([a.state_dict(), model.state_dict()], tmp_path / "x.pt")
    saved, weights = torch.load(tmp_path / "x.pt")
    model2.load_state_dict(weights)
    b.load_state_dict(saved)
    steps(model, a, 2)
    steps(model2, b, 2)
    same_states(a, b)
    assert [group["rule"] for group in b.param_groups] == [rule.__name__ for rule in rules]


def test_a_state_goes_into_other_groups_by_name():
    model, model2 = net(), net()
    a, b = named(model, ravine.Lion, ravine.AdamW), None
    pairs = [*model2.named_parameters()]
    b = ravine.Routed(
        {ravine.AdamW: [{"params": [pairs[1]]}, {"params": [pairs[3]]}], ravine.Lion: [pairs[2], pairs[0]]}
    )
    steps(model, a, 2)
    with pytest.raises(ValueError, match="2 parameter groups, this optimizer 3"):
        b.load_state_dict(a.state_dict())
    report = b.load_state_dict(a.state_dict(), strict=False)
    assert sorted(report.loaded) == ["a.bias", "a.weight", "b.bias", "b.weight"] and not report.unfit
    for p, q in zip(model.parameters(), model2.parameters(), strict=True):
        for k, x in a.state[p].items():
            equal(b.state[q][k], x)


def test_parts_go_to_and_come_from_optimizers_of_one_rule():
    model, model2, model3 = net(), net(), net()
    routed = named(model, ravine.Lion, ravine.AdamW)
    steps(model, routed, 2)
    part = ravine.AdamW([(k, p) for k, p in model2.named_parameters() if "bias" in k])
    report = part.load_state_dict(routed.state_dict(), strict=False)
    assert report.loaded == ["a.bias", "b.bias"] and report.unexpected == ["a.weight", "b.weight"]
    back = named(model3, ravine.Lion, ravine.AdamW)
    report = back.load_state_dict(part.state_dict(), strict=False)
    assert report.loaded == ["a.bias", "b.bias"] and report.missing == ["a.weight", "b.weight"]
    for p, q in zip(model.parameters(), model3.parameters(), strict=True):
        if p.dim() == 1:
            for k, x in routed.state[p].items():
                equal(back.state[q][k], x)
    other = named(net(), ravine.SGD, ravine.Lion, weight_decay=0.0)
    assert other.load_state_dict(routed.state_dict(), strict=False).unfit.keys() == {
        *("a.weight", "b.weight", "a.bias", "b.bias")
    }


def test_one_rule_and_its_optimizer_load_each_other_whole():
    model, model2 = net(), net()
    routed, alone = ravine.Routed({ravine.AdamW: model.named_parameters()}), ravine.AdamW(model2.named_parameters())
    steps(model, routed, 2)
    alone.load_state_dict(routed.state_dict())
    model2.load_state_dict(model.state_dict())
    assert "rule" not in alone.param_groups[0]
    same_states(routed, alone)
    again = ravine.Routed({ravine.AdamW: net().named_parameters()})
    again.load_state_dict(alone.state_dict())
    assert again.param_groups[0]["rule"] == "AdamW"
    torch.optim.AdamW(net().named_parameters()).load_state_dict(routed.state_dict())


def test_a_state_of_other_rules_is_refused_and_changes_nothing():
    model, model2 = net(), net()
    a, b = named(model, ravine.Lion, ravine.AdamW), named(model2, ravine.AdamW, ravine.Lion)
    steps(model, a, 1)
    steps(model2, b, 1)
    before = copy.deepcopy(b.state_dict())
    with pytest.raises(ValueError, match="group 0 is of the rule 'Lion' in the state_dict and AdamW here"):
        b.load_state_dict(a.state_dict())
    assert str(before) == str(b.state_dict())


def test_a_group_may_be_added_with_a_rule_that_is_there_or_a_new_one():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a[:1], ravine.AdamW: b}, mods=[ClipNorm(1.0)], nonfinite="skip")
    opt.add_param_group({"params": a[1:2], "rule": "Lion", "lr": 0.5})
    opt.add_param_group({"params": a[2], "rule": ravine.SGD, "momentum": 0.9})
    assert [group["rule"] for group in opt.param_groups] == ["Lion", "AdamW", "Lion", "SGD"]
    assert opt.rules == (ravine.Lion, ravine.AdamW, ravine.SGD) and ravine.SGD(b).rules == (ravine.SGD,)
    assert opt.param_groups[3]["nonfinite"] == "skip" and opt.param_groups[3]["mods"] == (ClipNorm(1.0),)
    step([opt], a + b, 0)
    assert "momentum_buffer" in opt.state[a[2]] and len({id(group["mods"][0]) for group in opt.param_groups}) == 4


def test_a_parameter_may_change_its_rule_by_the_name_in_its_group():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a, ravine.AdamW: b})
    step([opt], a + b, 0)
    opt.param_groups[0] |= {**opt.defaults_of(ravine.AdamW), "rule": "AdamW"}
    step([opt], a + b, 1)
    assert "exp_avg_sq" in opt.state[a[0]]
    opt.param_groups[0]["rule"] = "Muon"
    with pytest.raises(ValueError, match="a group has the rule 'Muon'; it must be one of 'Lion', 'AdamW'"):
        opt.step()


# what is wrong


class Lion(ravine.SGD):
    """Another rule of that name."""


@pytest.mark.parametrize(
    ("routes", "hyper", "said"),
    [
        (lambda a, b: a, {}, "routes is list; it must be a dict of rules"),
        (lambda a, b: {}, {}, "routes is empty; it must be a dict"),
        (lambda a, b: {"lion": a}, {}, "a rule is a class of ravine, .* given was 'lion'"),
        (lambda a, b: {torch.optim.Adam: a}, {}, "given was the class torch.optim.adam.Adam"),
        (lambda a, b: {ravine.Routed: a}, {}, "given was the class ravine.optimizer.routed.Routed"),
        (lambda a, b: {ravine.Lion: a, Lion: b}, {}, "two rules have the name Lion"),
        (lambda a, b: {ravine.Lion: [], ravine.SGD: b}, {}, "Lion has no parameters; leave it out"),
        (lambda a, b: {ravine.Lion: a, ravine.AdamW: a}, {}, r"of shape \(3, 5\) is in two routes, Lion and AdamW"),
        (lambda a, b: {ravine.Lion: [("w", a[0])], ravine.SGD: [("v", a[0])]}, {}, "'v' of shape .* in two routes"),
        (lambda a, b: {ravine.Lion: [{"params": a}, {"params": a}]}, {}, "is in two groups of Lion"),
        (lambda a, b: {ravine.Lion: a, ravine.AdamW: b}, {"eps": 1.0}, "Lion has no 'eps'; give it to AdamW alone"),
        (lambda a, b: {ravine.Lion: a, ravine.AdamW: b}, {"nope": 1.0}, "Lion has no 'nope'"),
        (lambda a, b: {ravine.Lion: {"params": a, "eps": 1.0}, ravine.AdamW: b}, {}, "Lion has no 'eps', which AdamW"),
        (lambda a, b: {ravine.Lion: {"params": a, "nonfinite": "skip"}}, {}, "nonfinite is the whole optimizer's"),
        (lambda a, b: {ravine.Lion: {"params": a, "measured": True}}, {}, "measured is the whole optimizer's"),
        (lambda a, b: {ravine.Lion: {"params": a, "lr": -1.0}}, {}, "Lion: lr is -1"),
        (lambda a, b: {ravine.Lion: {"lr": 1.0}}, {}, "a dict needs 'params'; this one has lr"),
        (lambda a, b: {ravine.Lion: 3}, {}, "its parameters are int"),
        (lambda a, b: {ravine.Lion: torch.nn.Linear(2, 2)}, {}, "give its parameters: model.parameters()"),
        (lambda a, b: {ravine.Lion: a}, {"backend": "cuda"}, "backend is 'cuda'"),
        (lambda a, b: {ravine.Lion: [torch.zeros(2, dtype=torch.complex64)]}, {}, "Lion is defined for real ones"),
    ],
)
def test_what_cannot_be_routed_is_said(routes, hyper, said):
    with pytest.raises((TypeError, ValueError), match=said):
        ravine.Routed(routes(*both()), **hyper)


def test_a_group_that_cannot_be_added_leaves_all_as_it_was():
    a, b = both()
    opt = ravine.Routed({ravine.Lion: a})
    before = str(opt.state_dict()), dict(opt._rules), dict(opt.defaults)
    for wrong in ({}, {"rule": "SGD"}, {"rule": ravine.SGD, "lr": -1.0}, {"rule": 3}, {"rule": ravine.SGD, "lrs": 1.0}):
        with pytest.raises((TypeError, ValueError)):
            opt.add_param_group({"params": b, **wrong})
        with pytest.raises((TypeError, ValueError)):
            opt.add_param_group(wrong)
    assert before == (str(opt.state_dict()), dict(opt._rules), dict(opt.defaults))


def test_what_has_no_meaning_for_several_rules_says_where_to_ask():
    opt = ravine.Routed({ravine.Lion: both()[0]})
    with pytest.raises(TypeError, match=r"opt\.rule_of"):
        opt.key("m")
    with pytest.raises(TypeError, match=r"AdamW\.equations"):
        opt.equations()


# what went where


def test_routes_say_what_went_where_and_why():
    model = torch.nn.ModuleDict({"wte": torch.nn.Embedding(9, 4), "layer": torch.nn.Linear(4, 4)})
    model["layer"].bias.requires_grad_(False)
    hidden, rest = ravine.groups.split(model)
    opt = ravine.Routed({ravine.Lion: hidden, ravine.AdamW: rest})
    lines = str(opt.routes()).splitlines()
    assert [x.split() for x in lines] == [
        ["name", "shape", "rule", "group", "why"],
        ["layer.weight", "4×4", "Lion", "0", "matrix"],
        ["wte.weight", "9×4", "AdamW", "1", "embedding"],
        ["layer.bias", "4", "AdamW", "1", "bias,", "frozen"],
        [],
        ["Lion:", "1", "parameter,", "16", "elements"],
        ["AdamW:", "2", "parameters,", "40", "elements"],
    ]
    assert all(x in repr(opt) for x in lines)
    assert str(pickle.loads(pickle.dumps(opt)).routes()) == str(opt.routes())
    assert [x.name for x in ravine.Routed({ravine.Lion: both()[0]}).routes()] == [f"parameter {i}" for i in range(3)]


def test_strategies_drive_it():
    for drive in (ravine.strategies.SAM, lambda opt: ravine.strategies.Lookahead(opt, k=2, inner_state="interpolate")):
        model = net()
        opt = drive(named(model, ravine.Lion, ravine.AdamW))

        def loss(model=model, opt=opt):
            opt.zero_grad()
            out = model(torch.ones(3, 4)).square().mean()
            out.backward()
            return out

        first = loss().item()
        for _ in range(6):
            opt.step(loss)
        assert loss().item() < first
    assert not gathers(named(net(), ravine.Lion, ravine.AdamW))
