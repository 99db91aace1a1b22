"""Numbers over all tensors, where groups have other modifiers and after copies."""

import copy
import pickle

import pytest
import torch
from torch import nn

import ravine


def of_two(*, mods=((), ()), cls=ravine.DoG):
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4))
    return a, b, cls([{"params": [a], "mods": mods[0]}, {"params": [b], "mods": mods[1]}])


@pytest.mark.parametrize("cls", [ravine.DoG, ravine.DoWG])
def test_groups_with_other_modifiers_meet_in_their_sums(cls):
    far = 1e9  # a norm that clips nothing
    a, b, opt = of_two(mods=([ravine.mods.ClipNorm(far)], []), cls=cls)
    c, d, plain = of_two(cls=cls)
    for _ in range(3):
        for p in (a, b, c, d):
            p.grad = torch.ones_like(p)
        opt.step()
        plain.step()
    assert torch.equal(a, c) and torch.equal(b, d)


def test_groups_that_wait_for_each_other_are_refused_before_anything_moves():
    class Reach(ravine.mods.ClipNorm):
        pass

    mods = [ravine.mods.ClipNorm(1.0), Reach(1.0)]
    a, b, opt = of_two(mods=(mods, mods[::-1]), cls=ravine.SGD)
    a.grad, b.grad = torch.ones(3), torch.ones(4)
    with pytest.raises(ValueError, match="in different orders"):
        opt.step()
    assert (a == 1).all() and (b == 1).all()


@pytest.mark.parametrize("way", ["copy", "pickle", "save", "load"])
def test_what_all_share_is_one_after_a_copy(way):
    def walk_on(opt, a, b):
        for _ in range(5):
            a.grad, b.grad = torch.ones(3), torch.ones(4)
            opt.step()
        return [a.detach(), b.detach()]

    found = []
    for again in (False, True):
        a, b, opt = of_two()
        for _ in range(10):
            a.grad, b.grad = torch.ones(3), None
            opt.step()
        for _ in range(5):
            a.grad, b.grad = None, torch.ones(4)
            opt.step()
        if again and way == "copy":
            a, b, opt = copy.deepcopy((a, b, opt))
        elif again and way == "pickle":
            a, b, opt = pickle.loads(pickle.dumps((a, b, opt)))
        elif again:
            saved = opt.state_dict()
            _ = opt.load_state_dict(saved) if way == "load" else None
        found.append(walk_on(opt, a, b))
    for x, y in zip(*found, strict=True):
        assert torch.equal(x, y)
