"""A server whose shards are objects of this process: real shards, clients, lines and wire, without other processes.

What a network may do to messages is done here by a seed: they get lost, arrive twice, late, or with others before them.
"""

import random
import threading

import torch

from ravine.parallel.engines.lines import Gone, Line, Lines
from ravine.parallel.server.handle import Handle
from ravine.parallel.server.message import Failed
from ravine.parallel.server.plan import open_shard
from ravine.parallel.server.planned import planned
from ravine.parallel.server.wire import packed, unpacked


class Network:
    """What happens to a message: nothing, unless told otherwise."""

    def __init__(self, seed=0, lost=0.0, unanswered=0.0, twice=0.0, late=0.0):
        self.random, self.p = random.Random(seed), (lost, unanswered, twice, late)
        self.old = []  # messages that arrive once more, later
        self.happened = {"lost": 0, "unanswered": 0, "twice": 0, "late": 0}

    def draw(self, what, p):
        hit = self.random.random() < p
        self.happened[what] += hit
        return hit

    def carry(self, deliver, i, message):
        """The reply; Gone where it, or the message, is lost."""
        lost, unanswered, twice, late = self.p
        if self.draw("lost", lost):
            raise Gone
        while self.old and self.draw("late", late):
            deliver(*self.old.pop(self.random.randrange(len(self.old))))
        reply = deliver(i, message)
        if self.draw("twice", twice):
            reply = deliver(i, message)
        if late:
            self.old.append((i, message))
        if self.draw("unanswered", unanswered):
            raise Gone
        return reply


class HereLine(Line):
    sleep = staticmethod(lambda seconds: None)

    def __init__(self, i, server, patience):
        self.server = server
        super().__init__(i, server.plan.dtypes(i), patience)

    def attempt(self, message, seconds):
        with self.server.lock:
            reply = self.server.network.carry(self.server.deliver, self.i, message)
        return reply


class Here:
    """A server in this process. made: as `planned` takes it."""

    def __init__(
        self, params, rule="adagrad", *, network=None, folder=None, every=100, patience=60.0, record=False, **made
    ):
        from dataclasses import replace

        self.made = planned(params, rule, **made)
        self.plan = replace(self.made.plan, folder=folder, every=every, record=record)
        self.network, self.lock, self.count, self.patience = network or Network(), threading.Lock(), 0, patience
        self.shards = [open_shard(self.plan, i) for i in self.plan.placement.places]

    def deliver(self, i, message):
        return packed(self.shards[i].answer(unpacked(message, self.plan.dtypes(i))))

    def restart(self, i):
        """Kill a shard: what its snapshot does not have is lost."""
        self.shards[i] = open_shard(self.plan, i)

    def connect(self, number):
        return Lines([HereLine(i, self, self.patience) for i in self.plan.placement.places])

    def handle(self):
        self.count += 1
        made = self.made
        return Handle(self.count - 1, self.plan.placement, made.rule, made.hyper, self.connect, made.measured)

    def parameters(self):
        client = Handle(-1, self.plan.placement, "", {}, self.connect).client()
        replies = {i: self.shards[i].answer(x) for i, x in client.pull()}
        assert not any(isinstance(x, Failed) for x in replies.values())
        return client.whole(replies)

    def each(self, name):
        return [getattr(x.shard, name) for x in self.shards]


def model(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    made = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    return made.to(dtype)


def backward(net, generator):
    """The gradient of a small problem, at a batch of this generator."""
    dtype = next(net.parameters()).dtype
    x = torch.randn(8, 4, generator=generator, dtype=torch.float64).to(dtype)
    for p in net.parameters():
        p.grad = None
    loss = (net(x) - x.sin()[:, :3]).square().mean()
    loss.backward()
    return loss
