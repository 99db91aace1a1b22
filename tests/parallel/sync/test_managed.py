"""What is asked of torchft's manager, and what becomes of a round that it does not let stand; without torchft."""

import copy as copying

import pytest
import torch
import torch.distributed as dist
from roads import start, values
from walks import copy, equal, near, walk

import ravine
from ravine.parallel.sync.diloco import DiLoCo
from ravine.parallel.sync.elastic_averaging import ElasticAveraging
from ravine.parallel.sync.local_sgd import LocalSGD


class Done:
    def wait(self):
        return True


class Manager:
    """Two replicas, of which the other has weights of its own; rounds in `lost` are not let stand."""

    def __init__(self, lost=(), away=0.5, heal=None):
        self.lost, self.away, self.heal, self.asked, self.round = set(lost), away, heal, [], 0

    def start_quorum(self):
        self.asked.append("who")
        if self.heal is not None:
            self.heal()
            self.heal = None

    def num_participants(self):
        return 2

    def allreduce(self, x):
        assert self.asked[-1] in ("who", "mean"), self.asked
        self.asked.append("mean")
        if self.round in self.lost:
            x.fill_(float("nan"))  # what a broken exchange leaves is not to be used
        else:
            x.add_(self.away)
        return Done()

    def should_commit(self):
        assert self.asked[-1] == "mean", self.asked
        self.asked.append("kept?")
        self.round += 1
        return self.round - 1 not in self.lost


def test_each_round_asks_who_is_there_and_whether_it_stands():
    for make, rounds in (
        (lambda x, m: LocalSGD(x, sync_every=2, process_group=m), 4),
        (lambda x, m: DiLoCo(x, sync_every=2, process_group=m), 4),
        (lambda x, m: DiLoCo(x, sync_every=6, fragments=3, overlap=1, process_group=m), 4),
        (lambda x, m: ElasticAveraging(x, sync_every=2, process_group=m), 4),
    ):
        params, manager = start(), Manager()
        opt = make(ravine.SGD(params, lr=0.1), manager)
        walk(opt, params, 9 if "overlap" in opt.fields else 8)
        assert manager.asked == ["who", "mean", "kept?"] * rounds and opt.sent_bytes > 0


def test_local_sgd_leaves_out_a_round_that_does_not_stand():
    params, alone = start(), start()
    opt = LocalSGD(ravine.SGD(params, lr=0.1), sync_every=2, process_group=Manager(lost={0, 1}))
    walk(opt, params, 5)
    near(params, walk(torch.optim.SGD(alone, lr=0.1), alone, 5))
    walk(opt, params, 1, 5)
    near(params, [p + 0.5 for p in walk(torch.optim.SGD(alone, lr=0.1), alone, 1, 5)])


def test_elastic_averaging_leaves_out_a_round_that_does_not_stand():
    params, alone = start(), start()
    opt = ElasticAveraging(ravine.SGD(params, lr=0.1), sync_every=2, process_group=Manager(lost={0, 1, 2}))
    near(walk(opt, params, 6), walk(torch.optim.SGD(alone, lr=0.1), alone, 6))
    near([opt.state[p]["elasticaveraging.center"] for p in params], start())


@pytest.mark.parametrize("overlap", [0, 1])
def test_diloco_makes_up_for_a_round_that_does_not_stand(overlap):
    """The anchors stay, the weights go on, and the next round has what both have moved."""
    params, alone = start(), start()
    manager = Manager(lost={0}, away=0.0)
    opt = DiLoCo(
        ravine.SGD(params, lr=0.1),
        lambda x: torch.optim.SGD(x, lr=0.5),
        sync_every=2,
        overlap=overlap,
        process_group=manager,
    )
    walk(opt, params, 3)
    walk(torch.optim.SGD(alone, lr=0.1), alone, 3)
    near(params, alone)
    equal([opt.state[p]["diloco.anchor"] for p in params], start())
    walk(opt, params, 1 + overlap, 3)
    walk(torch.optim.SGD(alone, lr=0.1), alone, 1, 3)
    near(params, [0.5 * p + 0.5 * q for p, q in zip(start(), alone, strict=True)])


def test_a_replica_that_is_healed_goes_on_with_the_others_count():
    theirs, params = start(), start(seed=9)
    make = lambda x, m: DiLoCo(ravine.SGD(x, lr=0.1), sync_every=4, fragments=2, process_group=m)  # noqa: E731
    manager, given = Manager(away=0.0), dict[str, object]()
    peer = make(theirs, manager)
    walk(peer, theirs, 7)
    manager.heal = lambda: given.update(weights=values(theirs), state=copying.deepcopy(peer.state_dict()))
    walk(
        peer, theirs, 1, 7
    )  # while it asks who is there, before it sends its second fragment, another takes over its state

    def heal():
        copy(params, given["weights"])
        opt.load_state_dict(given["state"])

    opt = make(params, Manager(away=0.0, heal=heal))
    walk(opt, params, 2)
    assert opt.count == 8
    equal(params, theirs)
    equal(walk(opt, params, 7, 8), walk(peer, theirs, 7, 8))


def test_what_torchft_cannot_have():
    with pytest.raises(ValueError, match="overlap is 2, and under torchft it must be less than the 2 steps"):
        DiLoCo(ravine.SGD(start()), sync_every=4, fragments=2, overlap=2, process_group=Manager())

    class Plain:
        def all_reduce_mean(self, tensors, group):
            return list(tensors)

    with pytest.raises(ValueError, match="a compressor needs a fixed group"):
        DiLoCo(ravine.SGD(start()), compressor=Plain(), process_group=Manager())


def test_a_managed_group_stands_for_its_manager():
    class Managed(dist.ProcessGroup):
        def __init__(self, manager):
            super().__init__(0, 1)
            self._manager = manager

    manager = Manager()
    params = start()
    walk(LocalSGD(ravine.SGD(params, lr=0.1), sync_every=2, process_group=Managed(manager)), params, 2)
    assert manager.asked == ["who", "mean", "kept?"]
