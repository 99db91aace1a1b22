"""A state_dict that a strategy refuses changes nothing, of the strategy nor of what it drives."""

import copy
import re

import numpy as np
import pytest
import torch
from walks import closure_at, start

import ravine
from ravine.strategies import ASAM, GSAM, SAM, SNOO, Lookahead

MADE = {
    "lookahead": lambda params: Lookahead(ravine.Adam(params), k=4, inner_state="interpolate"),
    "lookahead of torch's": lambda params: Lookahead(torch.optim.Adam(params), k=4),
    "sam": lambda params: SAM(ravine.Adam(params), adaptive=True),
    "asam": lambda params: ASAM(ravine.SGD(params, lr=0.1, momentum=0.9)),
    "sam of lookahead": lambda params: SAM(Lookahead(ravine.Adam(params), k=4)),
    "gsam": lambda params: GSAM(ravine.Adam(params)),
    "snoo": lambda params: SNOO(ravine.Adam(params), k=2),
}
every = pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())


def go(opt, first, steps):
    for t in range(first, first + steps):
        opt.zero_grad()
        opt.step(closure_at(opt, opt.params, t))


def trained(make):
    opt = make(start())
    go(opt, 0, 3)
    return opt


def kept(opt):
    """All of it, as text: tensors are few and small."""
    return str(([dict(opt.state[p]) for p in opt.params], opt.param_groups, opt.params, vars(opt)["kept"]))


def refused(opt, given):
    before = kept(opt)
    with pytest.raises(ValueError) as raised:
        opt.load_state_dict(given)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400, raised.value
    assert kept(opt) == before


GARBAGE = ["text", (), 10**400, -5, 2.5, float("nan"), None, [1], torch.ones(7), torch.ones(6, 4, dtype=torch.int8)]


@every
def test_garbage_in_a_note_is_refused(make):
    opt = trained(make)
    twin = copy.deepcopy(opt)
    name, given = type(opt).__name__, twin.state_dict()
    for field in type(opt).fields:
        for x in GARBAGE:
            may = {("rho", "2.5"), ("eta", "2.5"), ("lr", "2.5"), ("lr_max", "2.5"), ("k", str(10**400))}
            if (field, str(x)) in may or (name, field, str(x)) == ("GSAM", "alpha", "2.5"):
                continue  # numbers that these may be
            note = given["param_groups"][0][name] | {field: x}
            refused(opt, given | {"param_groups": [given["param_groups"][0] | {name: note}]})
    for note in (None, 3, [], {}, "text"):
        refused(opt, given | {"param_groups": [given["param_groups"][0] | {name: note}]})
    for x in (opt, twin):
        go(x, 3, 3)
    assert kept(opt) == kept(twin)


@every
def test_garbage_in_what_is_kept_is_refused(make):
    opt = trained(make)
    if isinstance(opt, SAM):
        opt.zero_grad()
        closure_at(opt, opt.params, 3)()
        opt.first_step()
    twin = copy.deepcopy(opt)
    given = twin.state_dict()
    own = [k for k in given["state"][0] if k.startswith(opt.prefix)]
    assert own
    for k in [*own, f"{opt.prefix}nonsense"]:
        for x in GARBAGE:
            refused(opt, given | {"state": given["state"] | {0: given["state"][0] | {k: x}}})
    if isinstance(opt, SAM):
        opt.restore()
        twin.restore()
    for x in (opt, twin):
        go(x, 3, 3)
    assert kept(opt) == kept(twin)


@every
def test_what_has_not_the_form_is_refused(make):
    opt = trained(make)
    given = opt.state_dict()
    for wrong in (None, [], "x", {}, {"state": {}}, {"param_groups": []}, given | {"param_groups": [3]}):
        refused(opt, wrong)
    refused(opt, given | {"state": [1]})
    refused(opt, given | {"state": given["state"] | {0: 3}})
    refused(opt, given | {"state": given["state"] | {9: given["state"][0]}})
    refused(opt, given | {"param_groups": given["param_groups"] * 2})


@pytest.mark.parametrize("name", ["lookahead", "sam", "sam of lookahead"])
def test_what_the_driven_optimizer_refuses_changes_nothing(name):
    opt = trained(MADE[name])
    given = opt.state_dict()
    refused(opt, given | {"state": given["state"] | {1: given["state"][1] | {"step": 2.5}}})
    refused(opt, given | {"state": given["state"] | {1: given["state"][1] | {"exp_avg": "x"}}})


def test_partial_loads():
    old, params = Lookahead(ravine.Adam(list(zip("abc", start(), strict=True))), k=4), start()
    go(old, 0, 3)
    names = ["_orig_mod.c", "module.a", "new", "b"]
    wide = torch.nn.Parameter(torch.zeros(9, dtype=torch.float64))
    opt = Lookahead(ravine.Adam(list(zip(names, [params[2], params[0], start()[0], wide], strict=True))), k=4)
    report = opt.load_state_dict(old.state_dict(), strict=False)
    assert (report.loaded, report.missing, report.unexpected) == (["c", "a"], ["new"], [])
    assert list(report.unfit) == ["b"] and "(5,)" in report.unfit["b"] and "(9,)" in report.unfit["b"]
    assert torch.equal(opt.state[params[0]]["lookahead.slow"], old.state[old.params[0]]["lookahead.slow"])
    assert torch.equal(opt.state[params[2]]["exp_avg"], old.state[old.params[2]]["exp_avg"])
    assert not opt.state[wide] and opt.count == 0
    plain = ravine.Adam(start())
    plain.param_groups[0]["lr"] = 0.5
    report = Lookahead(plain).load_state_dict(old.optimizer.state_dict(), strict=False)
    assert len(report.loaded) == 3 and plain.param_groups[0]["lr"] == 0.5


def test_state_may_be_set_for_a_whole_parameter():
    """As Lightning moves an optimizer to a device."""
    opt = trained(MADE["sam of lookahead"])
    twin = copy.deepcopy(opt)
    for p, state in list(opt.state.items()):
        opt.state[p] = {k: x.clone() for k, x in state.items()}
    go(opt, 3, 3)
    go(twin, 3, 3)
    assert kept(opt) == kept(twin)
    assert len(opt.state) == 3 and opt.params[0] in opt.state and torch.zeros(2) not in opt.state
    del opt.state[opt.params[0]]
    assert len(opt.state) == 2 and not opt.state[opt.params[0]]
    with pytest.raises(KeyError):
        del opt.state[opt.params[0]]


# opt.state is written to as torch's


@every
def test_states_are_moved_by_the_loop_that_everybody_writes(make):
    opt, other = trained(make), trained(make)
    for state in opt.state.values():
        for k, x in state.items():
            if isinstance(x, torch.Tensor):
                state[k] = x.clone()
    go(opt, 3, 4)
    go(other, 3, 4)
    assert kept(opt) == kept(other)


def test_an_entry_is_written_and_deleted_where_it_is_kept():
    opt = trained(MADE["sam of lookahead"])
    p = opt.params[0]
    lookahead, adam = opt.optimizer, opt.optimizer.optimizer
    slow, m = torch.full_like(p, 2.0), torch.full_like(p, 3.0)
    opt.state[p]["lookahead.slow"], opt.state[p]["exp_avg"] = slow, m
    assert lookahead.kept[p]["slow"] is slow and adam.state[p]["exp_avg"] is m
    opt.state[p].update(note=1)
    assert adam.state[p]["note"] == 1 and opt.state[p].pop("note") == 1 and "note" not in adam.state[p]
    del opt.state[p]["lookahead.slow"]
    assert "slow" not in lookahead.kept[p] and "lookahead.slow" not in opt.state[p]
    with pytest.raises(KeyError, match=r"lookahead\.slow"):
        del opt.state[p]["lookahead.slow"]
    opt.state[p].clear()
    assert not opt.state[p] and not adam.state[p] and not lookahead.kept[p]
    opt.state[p]["exp_avg"] = m
    assert adam.state[p] == {"exp_avg": m}


@every
def test_what_is_copied_of_a_state_is_a_dict(make):
    opt = trained(make)
    for p in opt.params:
        for made in (copy.copy(opt.state[p]), copy.deepcopy(opt.state[p]), opt.state[p].copy(), opt.state[p] | {}):
            assert type(made) is dict and str(made) == str(dict(opt.state[p])) == repr(opt.state[p])


@pytest.mark.parametrize(
    ("name", "x", "said"),
    [
        ("k", 0, "Lookahead: k is 0; it must be a whole number from 1 to"),
        ("k", 2**60, "it must be a whole number from 1 to 2**53"),
        ("alpha", True, "Lookahead: alpha is True; it must be a number from 0 to 1"),
        ("alpha", float("nan"), "it must be a number from 0 to 1"),
        ("count", -1, "Lookahead: count is -1; it must be a whole number from 0 to 2**53"),
    ],
)
def test_own_numbers_of_lookahead_are_checked(name, x, said):
    opt = trained(MADE["lookahead"])
    given = copy.deepcopy(opt.state_dict())
    given["param_groups"][0]["Lookahead"][name] = x
    before = kept(opt)
    with pytest.raises(ValueError, match=re.escape(said)):
        opt.load_state_dict(given)
    assert kept(opt) == before


def test_own_numbers_of_lookahead_may_be_numpys():
    opt = trained(MADE["lookahead"])
    given = copy.deepcopy(opt.state_dict())
    given["param_groups"][0]["Lookahead"] |= {"k": np.int64(7), "alpha": np.float32(0.25), "count": np.int32(2)}
    opt.load_state_dict(given)
    assert (opt.k, opt.alpha, opt.count) == (7, 0.25, 2)
    assert (type(opt.k), type(opt.alpha), type(opt.count)) == (int, float, int)


@pytest.mark.parametrize("saved_after", ["eval", "train"])
def test_weights_that_lookahead_put_aside_are_not_lost_by_a_load_in_part(saved_after):
    a, b = trained(MADE["lookahead"]), trained(MADE["lookahead"])
    go(a, 3, 2)
    {"eval": a, "train": b}[saved_after].eval()
    before = kept(b)
    report = b.load_state_dict(copy.deepcopy(a.state_dict()), strict=False)
    assert len(report.unfit) == len(b.params) and not report.loaded and not report.missing
    said = {"eval": "saved after eval(); call eval() here first", "train": "saved in training, and eval() has been"}
    assert all(said[saved_after] in x for x in report.unfit.values())
    assert kept(b) == before
    {"eval": b.eval, "train": b.train}[saved_after]()
    assert len(b.load_state_dict(copy.deepcopy(a.state_dict()), strict=False).loaded) == len(b.params)
