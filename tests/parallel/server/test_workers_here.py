"""Workers and shards of one process: an algorithm is its plain loop, whatever a network does to messages."""

from functools import partial

import pytest
import torch
from inprocess import Here, Network, backward, model

import ravine
from ravine.parallel.rules import DCASGD, AdaptiveRevision, DelayedNesterov, ElasticCenter
from ravine.parallel.server.admit import Buffer, Finite
from ravine.parallel.server.message import Push
from ravine.parallel.server.plan import Ask
from ravine.parallel.workers import AsyncDiLoCo, AsyncElasticAveraging, Downpour

SGD = partial(torch.optim.SGD, lr=0.1)


def equal(a, b):
    return len(a) == len(b) > 0 and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def near(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def weights(net):
    return [p.detach().clone() for p in net.parameters()]


def made(cls, server, net, **more):
    return cls(server.handle(), SGD(net.parameters()), **more)


def steps(worker, net, count, seed=0, start=0):
    for n in range(start, start + count):
        backward(net, torch.Generator().manual_seed(1000 * seed + n))
        worker.step()


def alone(make, count, net=None):
    """The same steps of an optimizer by itself."""
    net = net or model()
    opt = make(net.parameters())
    for n in range(count):
        backward(net, torch.Generator().manual_seed(n))
        opt.step()
    return net


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "rule, make",
    [
        (partial(ravine.SGD, lr=0.1), SGD),
        (SGD, SGD),
        (partial(ravine.Adam, lr=0.1), partial(ravine.Adam, lr=0.1)),
        (partial(torch.optim.Adagrad, lr=0.1), partial(torch.optim.Adagrad, lr=0.1)),
    ],
    ids=["sgd", "torch sgd", "adam", "torch adagrad"],
)
def test_one_downpour_worker_is_the_rule_by_itself_bit_for_bit(rule, make, shards):
    net = model()
    server = Here(net, rule, shards=shards)
    worker = made(Downpour, server, net)
    steps(worker, net, 20)
    assert equal(weights(net), weights(alone(make, 20)))
    assert equal(list(server.parameters().values()), weights(net))
    assert worker.client.acknowledged == 20 * shards


def test_workers_begin_with_the_servers_weights():
    for cls, rule in ((Downpour, SGD), (AsyncDiLoCo, SGD), (AsyncElasticAveraging, ElasticCenter)):
        server = Here(model(seed=3), rule, shards=2)
        for seed in (0, 1):
            net = model(seed=seed)
            made(cls, server, net)
            assert equal(weights(net), weights(model(seed=3)))


@pytest.mark.parametrize("rule", [partial(ravine.Adam, lr=0.1), AdaptiveRevision, DCASGD], ids=str)
def test_sharded_is_unsharded_for_rules_of_single_elements(rule):
    found = []
    for shards in (1, 3):
        server, nets = Here(model(), rule, shards=shards), [model() for _ in range(3)]
        workers = [made(Downpour, server, net, n_push=2, n_fetch=3) for net in nets]
        for n in range(30):
            steps(workers[n * n % 3], nets[n * n % 3], 1, start=n)
        found.append(server.parameters())
    assert any(not x.whole for x in server.plan.placement)  # a parameter was cut by rows
    assert all(torch.equal(x, found[1][k]) for k, x in found[0].items())


def test_gradients_are_summed_between_pushes_and_the_local_optimizer_moves_between_fetches():
    net, twin = model(), model()
    server = Here(net, partial(torch.optim.SGD, lr=0.05))
    worker = made(Downpour, server, net, n_push=2, n_fetch=4)
    center, total = weights(twin), [torch.zeros_like(p) for p in twin.parameters()]
    for n in range(1, 13):
        backward(net, torch.Generator().manual_seed(n))
        backward(twin, torch.Generator().manual_seed(n))
        worker.step()
        with torch.no_grad():
            for k, p in enumerate(twin.parameters()):
                total[k] += p.grad
                p -= 0.1 * p.grad
                if n % 2 == 0:
                    center[k] -= 0.05 * total[k]
                    total[k].zero_()
                if n % 4 == 0:
                    p.copy_(center[k])
        near(weights(net), weights(twin))
    near(list(server.parameters().values()), center)


def test_overlap_is_the_same_with_gradients_one_step_older():
    net, twin = model(), model()
    server = Here(net, partial(torch.optim.SGD, lr=0.05))
    worker = made(Downpour, server, net, overlap=True)
    center, sent = weights(twin), None
    for n in range(15):
        backward(net, torch.Generator().manual_seed(n))
        backward(twin, torch.Generator().manual_seed(n))
        worker.step()
        with torch.no_grad():
            for k, p in enumerate(twin.parameters()):
                grad = p.grad.clone()
                p -= 0.1 * grad
                if sent is not None:
                    p.copy_(sent[k])
                center[k] = center[k] - 0.05 * grad
            sent = [x.clone() for x in center]
        near(weights(net), weights(twin))
    worker.close()  # the last push arrives
    near(list(server.parameters().values()), center)


def test_a_warm_start_is_waited_for():
    import threading

    server = Here(model(), SGD)
    nets = [model(), model()]
    first = made(Downpour, server, nets[0], warm_start=5)
    number_one = server.handle()
    began = []
    late = threading.Thread(
        target=lambda: (
            Downpour(number_one, SGD(nets[1].parameters()), warm_start=5),
            began.append(server.each("version")[0]),
        )
    )
    late.start()
    steps(first, nets[0], 5)
    late.join(30)
    assert began and began[0] == 5
    made(Downpour, server, nets[0], warm_start=5)  # and who comes later begins at once


def test_bfloat16_travels_and_a_model_of_other_numbers_than_the_servers():
    for served, trained in (
        (torch.bfloat16, torch.bfloat16),
        (torch.float64, torch.float16),
        (torch.float64, torch.bfloat16),
    ):
        net = model(trained)
        server = Here(model(served), SGD, shards=2)
        steps(made(Downpour, server, net), net, 5)
        found = server.parameters()
        assert all(x.dtype == served for x in found.values())
        assert equal([x.to(trained) for x in found.values()], weights(net))
        assert not equal(weights(net), weights(model(trained)))


def test_frozen_parameters_stay_with_the_worker():
    net = model()
    net[0].weight.requires_grad_(False)
    server = Here(net, partial(torch.optim.SGD, lr=0.1, weight_decay=0.5))
    assert [x.name for x in server.plan.placement] == ["0.bias", "2.weight", "2.bias"]
    steps(made(Downpour, server, net), net, 3)
    assert torch.equal(net[0].weight, model()[0].weight) and not torch.equal(net[2].weight, model()[2].weight)


def test_sparse_and_missing_gradients_count_as_dense_ones():
    def net():
        torch.manual_seed(0)
        return torch.nn.ModuleList([torch.nn.Embedding(5, 2, sparse=True), torch.nn.Linear(2, 1)]).double()

    mine, theirs = net(), net()
    worker = made(Downpour, Here(mine, SGD), mine)
    for one in (mine, theirs):
        one[0](torch.tensor([1, 3])).sum().backward()
    worker.step()
    SGD(theirs.parameters()).step()
    assert equal(weights(mine), weights(theirs))


# EASGD


def test_an_elastic_worker_does_not_train_the_center():
    net = model()
    worker = made(AsyncElasticAveraging, Here(net, ElasticCenter), net)
    backward(net, torch.Generator().manual_seed(0))
    worker.step()
    own = weights(net)
    worker.eval()
    with pytest.raises(RuntimeError, match=r"holds the center, .* call train\(\) before step\(\)"):
        worker.step()
    worker.train()
    assert equal(weights(net), own)


def test_one_elastic_worker_is_algorithm_1():
    net, twin = model(), model()
    server = Here(net, partial(ElasticCenter, alpha=0.3))
    worker = made(AsyncElasticAveraging, server, net, sync_every=3)
    center = weights(twin)
    for n in range(12):
        backward(net, torch.Generator().manual_seed(n))
        backward(twin, torch.Generator().manual_seed(n))
        worker.step()
        with torch.no_grad():
            for k, p in enumerate(twin.parameters()):
                d = 0.3 * (p - center[k]) if n % 3 == 0 else torch.zeros_like(p)
                center[k] = center[k] + d
                p.sub_(d).sub_(0.1 * p.grad)
    near(weights(net), weights(twin))
    near(list(server.parameters().values()), center)


@pytest.mark.parametrize("fault", [{}, {"lost": 0.2}, {"unanswered": 0.3}, {"twice": 0.3}, {"late": 0.3}], ids=str)
@pytest.mark.parametrize("shards", [1, 2])
def test_the_sum_of_workers_and_center_is_conserved(fault, shards):
    network = Network(3, **fault)
    server = Here(model(), partial(ElasticCenter, alpha=0.2), shards=shards, network=network, admit=[Finite()])
    nets = [model(seed=n) for n in range(3)]
    workers = [
        AsyncElasticAveraging(server.handle(), torch.optim.SGD(net.parameters(), lr=0.0), sync_every=1) for net in nets
    ]
    with torch.no_grad():
        for n, net in enumerate(nets):  # they begin at the center
            for p in net.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(n), dtype=p.dtype))

    def total():
        center = list(server.parameters().values())
        return [sum(xs) for xs in zip(center, *(weights(net) for net in nets), strict=True)]

    before, center = total(), list(server.parameters().values())
    for n in range(50):
        for net in nets:
            for p in net.parameters():
                p.grad = torch.zeros_like(p)
        workers[n * n % 3].step()
    near(total(), before)
    assert not equal(list(server.parameters().values()), center)
    assert all(network.happened[k] > 5 for k in fault)


@pytest.mark.parametrize("shards", [1, 2])
def test_the_divergence_of_copies_is_told(shards):
    server = Here(model(), partial(ElasticCenter, alpha=0.2), shards=shards)
    nets = [model(seed=n) for n in range(3)]
    workers = [made(AsyncElasticAveraging, server, net, sync_every=1) for net in nets]
    for n in range(5):
        told, true = {}, {}
        for net, worker in zip(nets, workers, strict=True):
            backward(net, torch.Generator().manual_seed(n))
            told[worker.client.worker] = worker.divergence  # what its next push says
            center = server.parameters().values()
            true[worker] = float(sum((p - c).square().sum() for p, c in zip(weights(net), center, strict=True)).sqrt())
            worker.step()
        at = [x.about(Ask("metrics"))["divergence"] for x in server.shards]
        assert {k: pytest.approx(x) for k, x in told.items()} == {k: sum(x[k] ** 2 for x in at) ** 0.5 for k in at[0]}
        assert [worker.divergence for worker in workers] == pytest.approx([true[worker] for worker in workers])
    assert min(worker.divergence for worker in workers) > 0.05
    workers[0].close()
    assert list(server.shards[0].about(Ask("metrics"))["divergence"]) == [1, 2]
    one = made(Downpour, server := Here(model(), SGD, shards=shards), net := model())
    steps(one, net, 2)
    moved = 0.1 * sum(p.grad.square().sum() for p in net.parameters()).sqrt()
    assert one.divergence == pytest.approx(float(moved))


# DiLoCo


@pytest.mark.parametrize("h", [1, 4])
def test_one_diloco_worker_is_diloco(h):
    net, twin = model(), model()
    server = Here(net, partial(DelayedNesterov, lr=0.7, momentum=0.9, every=1), shards=2)
    worker = made(AsyncDiLoCo, server, net, sync_every=h)
    anchor, m = weights(twin), [torch.zeros_like(p) for p in twin.parameters()]
    for n in range(1, 13):
        backward(net, torch.Generator().manual_seed(n))
        backward(twin, torch.Generator().manual_seed(n))
        worker.step()
        with torch.no_grad():
            for k, p in enumerate(twin.parameters()):
                p -= 0.1 * p.grad
                if n % h == 0:
                    delta = anchor[k] - p
                    m[k] = 0.9 * m[k] + delta
                    anchor[k] = anchor[k] - 0.7 * (delta + 0.9 * m[k])
                    p.copy_(anchor[k])
        near(weights(net), weights(twin))


# what happens to messages


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rule", [SGD, AdaptiveRevision, partial(ravine.Adam, lr=0.1)], ids=["sgd", "revision", "adam"])
def test_lost_repeated_late_and_reordered_messages_change_nothing(rule, seed):
    found = []
    for network in (Network(), Network(seed, lost=0.2, unanswered=0.2, twice=0.2, late=0.3)):
        server, nets = Here(model(), rule, shards=2, network=network), [model() for _ in range(2)]
        workers = [made(Downpour, server, net, n_push=n + 1, n_fetch=2) for n, net in enumerate(nets)]
        for n in range(30):
            steps(workers[n % 2], nets[n % 2], 1, start=n)
        found.append(server)
        assert server.each("accepted") == [sum(x) for x in zip(*([15, 15], [7, 7]), strict=True)]
        assert sum(x.client.acknowledged for x in workers) == sum(server.each("accepted"))
        assert server.each("lost") == [{}, {}]
    assert all(count > 5 for count in network.happened.values())
    for k, x in found[0].parameters().items():
        assert torch.equal(x, found[1].parameters()[k])


@pytest.mark.parametrize("seed", range(4))
def test_a_shard_that_dies_loses_what_it_says_and_no_more(tmp_path, seed):
    import random

    rng = random.Random(seed)
    network = Network(seed, unanswered=0.1, twice=0.1)
    server = Here(model(), SGD, shards=2, folder=tmp_path, every=5, network=network)
    nets = [model() for _ in range(3)]
    workers, deaths, seen = [made(Downpour, server, net) for net in nets], 0, [0, 0]
    for n in range(80):
        if rng.random() < 0.08:
            before = server.each("accepted")
            server.restart(dead := rng.randrange(2))
            deaths += 1
            assert before[dead] - server.each("accepted")[dead] < 5
            seen = server.each("version")
        steps(workers[which := rng.randrange(3)], nets[which], 1, start=n)
        assert all(now >= then for now, then in zip(server.each("version"), seen, strict=True))
        seen = server.each("version")
    for worker in workers:  # all tell what they know
        worker.run(worker.call(worker.client.pull()))
    acknowledged = sum(x.client.acknowledged for x in workers)
    fenced = sum(x.client.fenced for x in workers)
    lost = sum(sum(x.values()) for x in server.each("lost"))
    assert deaths > 2 and lost > 0 and lost <= 4 * deaths
    assert acknowledged - lost <= sum(server.each("accepted")) <= acknowledged - lost + fenced
    assert all(
        max(x.floor for x in shard.shard.once.values()) and not any(x.above for x in shard.shard.once.values())
        for shard in server.shards
    )


def test_a_worker_may_make_two_optimizers_one_after_another():
    net = model()
    server, handle = Here(net, SGD), None
    handle = server.handle()
    for _ in range(2):
        worker = Downpour(handle, SGD(net.parameters()))
        steps(worker, net, 5)
        worker.close()
    assert server.each("accepted") == [10] and worker.client.acknowledged == 5
    assert all(not x.above for x in server.shards[0].shard.once.values())


def test_nan_is_refused_over_all_shards_and_named():
    net = model()
    server = Here(net, SGD, shards=2, admit=[Finite()])
    worker = made(Downpour, server, net)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    net[2].bias.grad[0] = torch.nan  # on one of the shards
    worker.step()
    assert server.each("refused") == [{(0, "not finite"): 1}] * 2 and worker.client.refused == 2
    steps(worker, net, 3)
    assert server.each("accepted") == [3, 3] and all(x.isfinite().all() for x in server.parameters().values())


def test_a_worker_of_another_model_or_rule_is_told():
    server = Here(model(), SGD)
    with pytest.raises(ValueError, match=r"Downpour: the optimizer has parameters of shapes \[\(1, 2\), \(1,\)\]"):
        made(Downpour, server, torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match="the server's rule is SGD; make the server with"):
        made(AsyncElasticAveraging, server, model())
    with pytest.raises(TypeError, match="give what a worker is handed"):
        Downpour(server, SGD(model().parameters()))


def test_a_patience_counts_on_a_clock_that_never_jumps(monkeypatch):
    """The time of day may go back for a day: who waits does not wait for a day, nor end before its time."""
    import time

    from inprocess import HereLine

    from ravine.parallel.engines.lines import ServerLost

    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now.append(now[-1] - 86400) or now[-1])
    ticks = [0.0]
    monkeypatch.setattr(HereLine, "clock", staticmethod(lambda: ticks[0]))
    monkeypatch.setattr(HereLine, "sleep", staticmethod(lambda s: ticks.__setitem__(0, ticks[0] + s)))
    network = Network()
    server = Here(model(), SGD, network=network, patience=7.0)
    worker = made(Downpour, server, net := model())
    network.p = (1.0, 0, 0, 0)
    backward(net, torch.Generator())
    with pytest.raises(ServerLost, match="shard 0 of the parameter server has not answered for 7 s"):
        worker.step()
    assert 7.0 <= ticks[0] < 8.0 and len(now) == 1


def test_a_push_of_other_shapes_is_refused():
    server = Here(model(), SGD)
    assert server.shards[0].answer(Push(0, 1, 1, 0, [torch.ones(1)])).status == "refused"


def test_a_buffer_of_two_workers_is_the_mean_of_both():
    nets = [model(), model()]
    server = Here(model(), SGD, admit=[Buffer(2)])
    workers = [made(Downpour, server, net) for net in nets]
    for n, (worker, net) in enumerate(zip(workers, nets, strict=True)):
        steps(worker, net, 1, start=n)
    twin = model()
    for n in range(2):
        backward(other := model(), torch.Generator().manual_seed(n))
        for p, q in zip(twin.parameters(), other.parameters(), strict=True):
            p.grad = q.grad / 2 if p.grad is None else p.grad + q.grad / 2
    SGD(twin.parameters()).step()
    near(list(server.parameters().values()), weights(twin))
