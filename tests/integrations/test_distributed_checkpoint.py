"""torch's distributed checkpoint saves and loads these optimizers as it does torch's own; one process is enough."""

import copy
import warnings

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import ravine
from ravine.mods import EMA, ClipNorm
from ravine.optimizer.state import is_zero
from ravine.strategies import ASAM, SAM, Lookahead


def routed(a, b, *rest):
    """Numbers of its own for one rule, other weights to evaluate for the other."""
    return ravine.Routed({ravine.Prodigy: [a, *rest], ravine.ScheduleFreeAdamW: [b]})


OPTIMIZERS = {
    "adam": ravine.Adam,
    "named": lambda params: ravine.Adam([(f"net.{i}", p) for i, p in enumerate(params)]),
    "int8": lambda params: ravine.AdamW(params, storage="int8"),
    "nadam": ravine.NAdam,
    "momo": ravine.MoMo,
    "momo-adam": lambda params: ravine.MoMoAdam(params, use_fstar=True),
    "prodigy": ravine.Prodigy,
    "schedule-free": ravine.ScheduleFreeAdamW,
    "mods": lambda params: ravine.Adam(params, mods=[ClipNorm(1.0), EMA(0.9)]),
    "groups": lambda params: ravine.SGD([{"params": [p], "lr": 0.01 * i} for i, p in enumerate(params)], momentum=0.9),
    "routed": lambda params: ravine.Routed(
        {ravine.Prodigy: (x := list(params))[::2], ravine.ScheduleFreeAdamW: x[1::2]}
    ),
    "sam": lambda params: SAM(ravine.SGD(params, lr=0.1, momentum=0.9)),
    "asam": lambda params: ASAM(ravine.Adam(params)),
    "sam of torch's": lambda params: SAM(torch.optim.SGD(params, lr=0.1, momentum=0.9)),
    "lookahead": lambda params: Lookahead(ravine.Adam(params), k=3),
    "lookahead of torch's": lambda params: Lookahead(torch.optim.Adam(params), k=3),
    "lookahead of momo": lambda params: Lookahead(ravine.MoMo(params), k=3, inner_state="interpolate"),
    "sam of lookahead": lambda params: SAM(Lookahead(ravine.Adam(params), k=3)),
}
every = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
both = pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 80), torch.nn.Tanh(), torch.nn.Linear(80, 2))


def train(model, opt, first, steps):
    """The losses of some steps, which depend on nothing but their numbers."""
    losses = []
    for t in range(first, first + steps):
        x = torch.randn(5, 64, generator=torch.Generator().manual_seed(t))

        def closure(x=x):
            opt.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            return loss

        losses.append(opt.step(closure).item())
    opt.zero_grad()
    return losses


@every
@both
def test_a_run_goes_on_in_a_new_process_as_if_not_stopped(make, flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model = network()
    opt = make(model.parameters())
    train(model, opt, 0, 4)
    saved = copy.deepcopy((model.state_dict(), get_optimizer_state_dict(model, opt, options=options)))
    after = train(model, opt, 4, 4)
    again = network()
    again.load_state_dict(saved[0])
    new = make(again.parameters())
    set_optimizer_state_dict(again, new, saved[1], options=options)
    assert train(again, new, 4, 4) == after


@every
def test_asking_a_run_that_goes_on_changes_nothing(make):
    """Also one that has just been loaded: torch makes a step of zeros where an optimizer has no state."""
    model = network()
    opt = make(model.parameters())
    train(model, opt, 0, 4)
    opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    other, twin = copy.deepcopy((model, opt))
    get_optimizer_state_dict(model, opt)
    assert train(model, opt, 4, 4) == train(other, twin, 4, 4)


@pytest.mark.parametrize("name", ["momo", "momo-adam", "lookahead of momo"])
def test_asking_a_new_one_that_needs_the_loss_changes_nothing(name):
    found = []
    for ask in (False, True):
        model = network()
        opt = OPTIMIZERS[name](model.parameters())
        if ask:
            get_optimizer_state_dict(model, opt)
        found.append(train(model, opt, 0, 4))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["momo", "momo-adam", "lookahead of momo"])
def test_a_warm_up_that_begins_at_zero_needs_the_loss(name):
    """A step without a rate is torch's own only where the gradients are zero too."""
    model = network()
    opt = OPTIMIZERS[name](model.parameters())
    for group in opt.param_groups:
        group["lr"] = 0.0
    model(torch.ones(2, 64)).sum().backward()
    with pytest.raises(TypeError, match="needs the loss"):
        opt.step()


def test_a_warm_up_of_a_strategy_that_begins_at_zero_makes_steps():
    p = torch.nn.Parameter(torch.ones(3))
    sam, lookahead = SAM(ravine.SGD([p], lr=0.0)), Lookahead(ravine.Adam([p], lr=0.0))
    p.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="SAM needs two gradients"):
        sam.step()
    lookahead.step()
    assert lookahead.count == 1


@pytest.mark.parametrize(
    ("g", "zero"),
    [
        (torch.zeros(0, 3), True),
        (torch.zeros(2, 3, dtype=torch.complex64), True),
        (torch.zeros(2, dtype=torch.bfloat16), True),
        (torch.empty(3, device="meta"), True),
        (torch.tensor([0.0, float("nan")]), False),
        (torch.eye(3).to_sparse(), False),
    ],
)
def test_a_gradient_of_zeros(g, zero):
    assert is_zero(g) == zero


def test_weights_to_train_with_are_not_lost_in_silence():
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    model = network()
    opt = OPTIMIZERS["mods"](model.parameters())
    train(model, opt, 0, 4)
    opt.eval()
    saved = copy.deepcopy((model.state_dict(), get_optimizer_state_dict(model, opt, options=options)))
    again = network()
    again.load_state_dict(saved[0])
    new = OPTIMIZERS["mods"](again.parameters())
    with pytest.raises(ValueError, match=r"made after eval\(\).*no train_weights"):
        set_optimizer_state_dict(again, new, saved[1], options=options)
    opt.train()
    saved = copy.deepcopy((model.state_dict(), get_optimizer_state_dict(model, opt, options=options)))
    again.load_state_dict(saved[0])
    set_optimizer_state_dict(again, new, saved[1], options=options)
    assert train(model, opt, 4, 3) == train(again, new, 4, 3)


def through_a_folder(model, opt, new_model, new, folder):
    """Save, and load into a new optimizer as torch's documentation has it: its own tensors are filled in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process
        dcp.save({"optim": get_optimizer_state_dict(model, opt)}, checkpoint_id=folder, no_dist=True)
        state = {"optim": get_optimizer_state_dict(new_model, new)}
        dcp.load(state, checkpoint_id=folder, no_dist=True)
    set_optimizer_state_dict(new_model, new, state["optim"])


@pytest.mark.parametrize("name", ["adam", "int8", "momo", "mods", "lookahead"])
def test_a_checkpoint_in_a_folder(name, tmp_path):
    model = network()
    opt = OPTIMIZERS[name](model.parameters())
    train(model, opt, 0, 4)
    again = copy.deepcopy(model)
    new = OPTIMIZERS[name](again.parameters())
    through_a_folder(model, opt, again, new, tmp_path)
    assert train(model, opt, 4, 4) == train(again, new, 4, 4)


def test_codes_that_were_read_as_numbers_are_refused(tmp_path):
    model = network()
    opt = ravine.AdamW(model.parameters(), storage="int8")
    train(model, opt, 0, 4)
    again = copy.deepcopy(model)
    new = ravine.AdamW(again.parameters())
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0\.weight was saved in 8-bit codes"):
        through_a_folder(model, opt, again, new, tmp_path)
