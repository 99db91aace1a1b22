"""A recorder keeps the weights that the model had, bounded in memory, and leaves the run as it is."""

import io

import pytest
import torch
from torch import nn

import ravine
from ravine.strategies import SAM, Lookahead, PathRecorder

OPTIMIZERS = {
    "ravine's": lambda ps: ravine.Adam(ps, lr=0.01),
    "torch's": lambda ps: torch.optim.Adam(ps, lr=0.01),
    "Lookahead": lambda ps: Lookahead(ravine.SGD(ps, lr=0.01), k=3),
    "SAM": lambda ps: SAM(torch.optim.SGD(ps, lr=0.01)),
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def train(model, opt, steps, after=lambda: None):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(8, 3, generator=generator)

        def closure(x=x):
            opt.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            return loss

        opt.step(closure)
        after()


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_snapshot_is_the_model_of_its_step_and_the_run_is_the_same_without(make):
    model, alone = net(), net()
    opt = make(model.parameters())
    path, seen = PathRecorder(model, every=3), [flat(model)]

    def after():
        path.step()
        seen.append(flat(model))

    train(model, opt, 10, after)
    train(alone, make(alone.parameters()), 10)
    assert torch.equal(flat(model), flat(alone))
    assert path.steps == [0, 3, 6, 9]
    assert torch.equal(path.weights, torch.stack([seen[i] for i in path.steps]))
    assert not path.weights.requires_grad and path.weights.device.type == "cpu"


def test_the_end_of_a_with_is_on_the_path_and_a_step_is_there_once():
    model = net()
    opt = ravine.SGD(model.parameters(), lr=0.1)
    with PathRecorder(model, every=5) as path:
        train(model, opt, 7, path.step)
    assert path.steps == [0, 5, 7] and torch.equal(path.weights[-1], flat(model))
    with torch.no_grad():
        model[0].weight.zero_()
    path.keep()  # the newest of step 7 stays
    assert path.steps == [0, 5, 7] and torch.equal(path.weights[-1], flat(model))


@pytest.mark.parametrize("most", [2, 3, 8])
def test_memory_is_bounded_and_snapshots_stay_evenly_spaced(most):
    model = net()
    path = PathRecorder(model, every=1, most=most)
    for _ in range(1000):
        path.step()
        assert len(path.rows) == len(path.steps) == len(path.buffers) <= most
    gaps = {b - a for a, b in zip(path.steps, path.steps[1:], strict=False)}
    assert gaps == {path.every} and path.steps[0] == 0 and path.steps[-1] > 1000 - path.every
    path.step()
    path.keep()
    assert path.steps[-1] == 1001 and len(path.steps) <= most


def test_restore_brings_back_weights_and_running_statistics():
    model = net()
    path = PathRecorder(model, every=4)
    opt, x = ravine.Adam(model.parameters(), lr=0.05), torch.randn(5, 3)
    train(model, opt, 4, path.step)
    then = model.eval()(x)
    model.train()
    train(model, opt, 4, path.step)
    assert not torch.equal(model.eval()(x), then)
    path.restore(1)
    assert torch.equal(model.eval()(x), then) and model[1].num_batches_tracked == 4
    path.restore(0)
    assert model[1].num_batches_tracked == 0 and torch.equal(flat(model), flat(net()))


def test_rows_are_of_the_type_asked_for_and_shared_parameters_are_there_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(torch.bfloat16)
    model[1].weight = model[0].weight
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        path = PathRecorder(model, dtype=dtype)
        assert path.weights.dtype == dtype and path.weights.shape == (1, 15)
        before = flat(model)
        with torch.no_grad():
            model[0].weight.zero_()
        path.restore(-1)
        assert torch.equal(flat(model), before)


def test_a_run_that_goes_on_from_a_file_goes_on_here():
    whole, first = net(), net()
    path, part = PathRecorder(whole, every=3), PathRecorder(first, every=3)
    opt, begun = ravine.SGD(whole.parameters(), lr=0.1), ravine.SGD(first.parameters(), lr=0.1)
    train(whole, opt, 5, path.step)
    train(whole, opt, 5, path.step)
    train(first, begun, 5, part.step)
    file = io.BytesIO()
    torch.save([first.state_dict(), part.state_dict()], file)
    file.seek(0)
    model, kept = torch.load(file)
    second = net()
    second.load_state_dict(model)
    again = PathRecorder(second)
    again.load_state_dict(kept)
    train(second, ravine.SGD(second.parameters(), lr=0.1), 5, again.step)
    assert again.steps == path.steps == [0, 3, 6, 9] and torch.equal(again.weights, path.weights)
    twin = PathRecorder(net())
    twin.load_state_dict(part.state_dict())
    train(twin.model, ravine.SGD(twin.model.parameters(), lr=0.1), 5, twin.step)
    assert part.steps == [0, 3] and twin.steps == [0, 3, 6, 9]  # one does not grow with the other
    taken = part.state_dict()
    part.keep()
    assert taken["steps"] == [0, 3] and part.steps == [0, 3, 5]


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="every is 0"):
        PathRecorder(net(), every=0)
    with pytest.raises(ValueError, match="ReLU has no parameters"):
        PathRecorder(nn.ReLU())
    model = net()
    path = PathRecorder(model)
    model.append(nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match=r"3\.bias, 3\.weight"):
        path.keep()
    with pytest.raises(ValueError, match="not a state_dict of PathRecorder: it has no buffers"):
        path.load_state_dict({"steps": 1})
    with pytest.raises(ValueError, match="of a model of 2 parameters; the recorder's has 29"):
        PathRecorder(net()).load_state_dict(PathRecorder(nn.Linear(1, 1)).state_dict())
