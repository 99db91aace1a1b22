"""Whatever is lost, comes twice or dies: what counts is counted once, and what is lost is told."""

from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import ravine
from ravine.parallel.rules import AdaptiveRevision, DelayedNesterov, ElasticCenter
from ravine.parallel.server.admit import Buffer, Finite, MaxStaleness
from ravine.parallel.simulate import (
    Asynchronous,
    Cluster,
    Constant,
    Exponential,
    Failures,
    Network,
    Quadratic,
    SparseLogistic,
    Synchronous,
    simulate,
)  # fmt: skip
from ravine.parallel.simulate.world import World
from ravine.parallel.workers import AsyncDiLoCo, AsyncElasticAveraging, Downpour

SGD = "sgd:lr=0.05"
ALL = Failures(life=Exponential(9.0), lose=0.1, duplicate=0.2, shard_life=Exponential(9.0))


def downpour(server, params):
    return Downpour(server, torch.optim.SGD(params, lr=0.05))


def overlapping(server, params):
    return Downpour(server, torch.optim.SGD(params, lr=0.05), overlap=True, n_push=2, n_fetch=3)


def easgd(server, params):
    return AsyncElasticAveraging(server, torch.optim.SGD(params, lr=0.05), sync_every=2)


def diloco(server, params):
    return AsyncDiLoCo(server, torch.optim.SGD(params, lr=0.05), sync_every=3, dynamic=True)


METHODS = {
    "plain": Asynchronous(SGD),
    "refusing": Asynchronous(SGD, admit=[Finite(), MaxStaleness(3)]),
    "buffer": Asynchronous(SGD, admit=[Buffer(3)]),
    "downpour": Asynchronous(SGD, downpour, shards=2),
    "overlapping": Asynchronous(SGD, overlapping, shards=2),
    "easgd": Asynchronous(partial(ElasticCenter, alpha=0.1), easgd),
    "diloco": Asynchronous(partial(DelayedNesterov, every=4), diloco),
    "revision": Asynchronous(AdaptiveRevision),
}

failures = st.builds(
    Failures,
    life=st.sampled_from([None, Exponential(8.0), Constant(5.0)]),
    back=st.sampled_from([None, Exponential(2.0)]),
    nan=st.sampled_from([0.0, 0.3]),
    lose=st.sampled_from([0.0, 0.2]),
    resend=st.just(0.5),
    duplicate=st.sampled_from([0.0, 0.3]),
    late=st.sampled_from([Constant(0.0), Exponential(3.0)]),
    shard_life=st.sampled_from([None, Exponential(6.0)]),
    shard_back=st.sampled_from([0.0, 1.0]),
    snapshot=st.sampled_from([1, 7]),
)


class Watched(World):
    """Sees each shard's numbers after every event."""

    def run(self, until):
        seen = [(1, 0, 0)] * len(self.sites)  # incarnation, version, accepted
        while self.heap and self.heap[0][0] <= until:
            super().run(self.heap[0][0])
            for i, site in enumerate(self.sites):
                shard = site.shard
                incarnation, version, accepted = seen[i]
                now = shard.incarnation, shard.version, shard.accepted
                if now[0] == incarnation:
                    assert now[1] >= version and now[2] >= accepted
                else:
                    assert now[0] == incarnation + 1
                    assert shard.began[now[0]] <= accepted  # it goes on where the one before was, or earlier
                seen[i] = now


@pytest.mark.ci
@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(fails=failures, seed=st.integers(0, 1000), latency=st.sampled_from([0.0, 0.2]))
def test_what_counts_is_counted_once(name, fails, seed, latency):
    cluster = Cluster(4, Exponential(1.0), Network(Exponential(latency) if latency else Constant(0.0)), fails)
    world = Watched(Quadratic(6, noise=0.1), METHODS[name], cluster, seed, record=True)
    world.advance(15.0)
    for site in world.sites:
        assert len(site.order) == len(set(site.order))  # each push of a worker once
        assert len(site.order) == site.accepted  # what is accepted is what was accepted, less what has died
        lost = sum(site.shard.lost.values())
        assert 0 <= lost <= site.died
        if name != "buffer":
            assert site.shard.version == site.shard.accepted
    clients = [x.agent.client for x in world.lanes if x.alive] + world.gone
    acknowledged = sum(x.acknowledged for x in clients)
    accepted, died = sum(x.accepted for x in world.sites), sum(x.died for x in world.sites)
    assert acknowledged <= accepted + died
    if not fails.lose and not fails.duplicate and not fails.shard_life and not fails.life and not latency:
        overlapped = name == "overlapping"  # its last push is acknowledged with the next one
        assert acknowledged == accepted or overlapped


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), snapshot=st.integers(1, 9))
def test_accepted_is_acknowledged_less_what_is_reported_lost(seed, snapshot):
    """Exactly, where no message is under way when a shard dies, and all workers have spoken to its successor."""
    fails = Failures(shard_life=Exponential(4.0), shard_back=0.0, resend=0.1, snapshot=snapshot)
    world = World(Quadratic(4, noise=0.1), Asynchronous(SGD), Cluster(3, Exponential(1.0), failures=fails), seed)
    world.advance(30.0)
    world.heap[:] = sorted(x for x in world.heap if x[1] >= 0)  # no shard dies any more
    world.advance(60.0)
    site = world.sites[0]
    acknowledged = sum(x.agent.client.acknowledged for x in world.lanes)
    lost = sum(site.shard.lost.values())
    assert lost == site.died and site.up
    assert site.shard.accepted == acknowledged - lost


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), lose=st.sampled_from([0.0, 0.3]), duplicate=st.sampled_from([0.0, 0.5]))
def test_a_spring_pulls_both_ends_alike(seed, lose, duplicate):
    """η = 0: center + workers is conserved, whatever is lost or comes twice."""
    fails = Failures(lose=lose, resend=0.3, duplicate=duplicate, late=Exponential(3.0))
    method = Asynchronous(
        partial(ElasticCenter, alpha=0.2),
        lambda server, params: AsyncElasticAveraging(server, torch.optim.SGD(params, lr=0.0), sync_every=1),
    )
    cluster = Cluster(3, Exponential(1.0), Network(Exponential(0.1)), fails)
    world = World(Quadratic(5, noise=0.0, dtype=torch.float64), method, cluster, seed)
    world.advance(0.5)
    while any(not x.at for x in world.lanes):  # until all have begun, and compute
        world.advance(world.heap[0][0])
    for i, lane in enumerate(world.lanes):
        with torch.no_grad():
            lane.agent.params[0].add_(float(i + 1))

    def total():
        return sum((x.agent.params[0].detach() for x in world.lanes), world.center[0])

    before = total()
    world.advance(20.0)
    while any(not x.at for x in world.lanes):  # no exchange is half done
        world.advance(world.heap[0][0])
    assert (total() - before).abs().max() < 1e-11 * before.abs().max()
    assert world.sites[0].shard.accepted > 3


def test_a_dead_workers_push_counts_at_most_once_and_others_go_on():
    cluster = Cluster(8, Exponential(1.0), Network(Constant(0.5)), Failures(life=Exponential(3.0), back=None))
    run = simulate(Quadratic(10), Asynchronous(SGD), cluster, until=100.0, record=True)
    assert run.deaths == 8 and run.lanes[0][-1][2] == "dead" and run.lanes[0][-1][1] == 100.0
    assert run.acknowledged <= run.accepted <= run.acknowledged + 8
    assert len(set(run.order[0])) == run.accepted


def test_nan_workers_are_refused_and_harm_nobody():
    bad = Cluster(20, Exponential(1.0), failures=Failures(nan=0.2))
    alone = simulate(Quadratic(10, noise=0.0), Asynchronous(SGD), bad, until=30.0)
    assert alone.loss != alone.loss
    run = simulate(Quadratic(10, noise=0.0), Asynchronous(SGD, admit=[Finite()]), bad, until=30.0)
    assert run.loss < 0.2 and run.reasons["not finite"] > 0 and run.refused == run.reasons["not finite"]
    rounds = simulate(Quadratic(10, noise=0.0), Synchronous("sgd:lr=0.5", admit=[Finite()]), bad, until=60.0)
    assert rounds.loss < 1.0 and rounds.refused == rounds.version * round(rounds.refused / rounds.version)


@pytest.mark.parametrize("fails", [Failures(), ALL])
def test_the_plain_worker_is_downpour_bit_for_bit(fails):
    cluster = Cluster(5, Exponential(1.0), Exponential(0.1), fails)
    for problem in (Quadratic(12, noise=0.1), SparseLogistic(100, 20, 3)):
        plain = simulate(problem, Asynchronous(SGD), cluster, 3, until=40.0, record=True)
        full = simulate(problem, Asynchronous(SGD, downpour), cluster, 3, until=40.0, record=True)
        assert torch.equal(plain.parameters[0], full.parameters[0])
        assert plain.order == full.order and plain.rows == full.rows and plain.losses == full.losses


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits_in_any_order_of_making(name):
    cluster = Cluster(5, Constant(1.0), Constant(0.25), ALL)  # ties everywhere
    worlds = []
    for order in (None, None, [3, 1, 4, 0, 2]):
        world = World(Quadratic(12, noise=0.1), METHODS[name], cluster, 7, record=True, order=order)
        world.advance(30.0)
        worlds.append(world)
    first, *others = worlds
    for other in others:
        assert torch.equal(first.center[0], other.center[0])
        assert [x.order for x in first.sites] == [x.order for x in other.sites]
        assert first.rows == other.rows
    another = World(Quadratic(12, noise=0.1), METHODS[name], cluster, 8)
    another.advance(30.0)
    assert not torch.equal(first.center[0], another.center[0])


def test_a_cluster_of_thousands_shares_what_the_server_keeps():
    """AdaptiveRevision's sums are kept by version, and not copied for each worker."""
    world = World(Quadratic(100, noise=0.0), Asynchronous(AdaptiveRevision), Cluster(2000, Constant(1.0)), watched=0)
    world.advance(0.5)
    kept = {id(x) for bases in world.sites[0].shard.bases.values() for sums in bases.values() for x in sums}
    assert len(kept) == 1  # all have read the same version
    world.advance(1.5)
    per_worker = [len(x) for x in world.sites[0].shard.bases.values()]
    assert max(per_worker) <= 2


def test_without_a_length_there_is_no_run():
    with pytest.raises(ValueError, match="how long"):
        simulate(Quadratic(4), Asynchronous(SGD), Cluster(1))
    with pytest.raises(TypeError, match="the method is"):
        simulate(Quadratic(4), ravine.SGD, Cluster(1), until=1.0)
    with pytest.raises(ValueError, match="seed is -1"):
        simulate(Quadratic(4), Asynchronous(SGD), Cluster(1), -1, until=1.0)
    with pytest.raises(ValueError, match="fewer shards"):
        simulate(Quadratic(4), Asynchronous(SGD, shards=9), Cluster(1), until=1.0)


def test_what_would_never_end_is_told():
    with pytest.raises(ValueError, match="one of both must take time"):
        simulate(Quadratic(4), Asynchronous(SGD), Cluster(2, Constant(0.0)), until=1.0)
    with pytest.raises(ValueError, match="its mean must be above 0"):
        Failures(life=Constant(0.0))
    dying = Failures(life=Constant(3.0), back=None)
    for method in (Asynchronous(SGD), Synchronous(SGD)):
        with pytest.raises(RuntimeError, match="all workers are dead"):
            simulate(Quadratic(4), method, Cluster(2, failures=dying), pushes=100)
    for method in (Asynchronous(SGD, admit=[Finite()]), Synchronous(SGD, admit=[Finite()])):
        with pytest.raises(RuntimeError, match="were refused"):
            simulate(Quadratic(4), method, Cluster(2, failures=Failures(nan=1.0)), pushes=1)


def test_a_round_whose_workers_all_die_is_followed_by_another():
    fails = Failures(life=Constant(0.5), back=Constant(0.1))  # nobody lives long enough for a gradient
    run = simulate(Quadratic(4), Synchronous(SGD), Cluster(3, failures=fails), until=500.0)
    assert run.version == 0 and run.deaths > 1000
