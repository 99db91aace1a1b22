"""Who is silent is given up; who only slept, because everything slept, is not."""

from collections import deque

import pytest

from ravine.lab.sweep import crew as room
from ravine.lab.sweep.crew import Clock, Crew

from .test_trial import TRIAL


class Silent:
    """Says that it is idle, and nothing more until it is killed."""

    name = "silent"

    def __init__(self, mailbox):
        self.mailbox = mailbox
        mailbox.put((self, ("idle", None, None)))

    def send(self, job):
        pass

    def kill(self):
        self.mailbox.put((self, ("gone", None, "killed")))


class Engine:
    def hire(self, mailbox, device):
        return Silent(mailbox)

    def close(self):
        pass


class Time:
    """Each look at the clock is so many seconds after the one before."""

    def __init__(self, pace: float):
        self.now, self.pace = 0.0, pace

    def monotonic(self) -> float:
        self.now += self.pace
        return self.now


def test_who_is_silent_loses_the_job(monkeypatch):
    monkeypatch.setattr(room, "time", Time(pace=0.05))
    crew, queue = Crew(Engine(), ["cpu"], None, patience=0.6), deque([(TRIAL,)])
    crew.give(queue)
    assert crew.hear() == ((), ("idle", None, None))
    crew.give(queue)
    assert crew.busy and not queue
    assert crew.hear() == ((TRIAL,), ("gone", None, "killed"))
    assert not crew.busy and crew.free == ["cpu"]
    assert crew.clock.now == pytest.approx(0.6, abs=0.2)


def test_an_hour_s_sleep_counts_as_a_moment(monkeypatch):
    time = Time(pace=1.0)
    monkeypatch.setattr(room, "time", time)
    clock = Clock(longest=5)
    for _ in range(10):
        clock.tick()
    assert clock.now == 10
    time.now += 3600
    clock.tick()
    assert clock.now == 20
