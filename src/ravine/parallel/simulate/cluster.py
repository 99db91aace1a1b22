"""A cluster that exists on paper: how fast its workers are, how long messages travel, and what fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from ravine.parallel.simulate.distributions import Constant, Distribution, Empirical, LogNormal, Uniform
from ravine.saved import finite, told, whole

if TYPE_CHECKING:
    from ravine.parallel.simulate.trace import Trace

FOREVER = 1e12  # seconds
NOTHING, SECOND = Constant(0.0), Constant(1.0)
Compute = Distribution | Sequence[Distribution] | Callable[[int], Distribution]


@dataclass(frozen=True)
class Network:
    """How long a message travels: latency + bytes / bandwidth, each way.

    latency: seconds, drawn for each message. paired: a reply takes as long as its request, so that a measured round
    trip is met by twice one draw. bandwidth: bytes a second of a worker's line, drawn once for each worker; None: of
    any size in no time.
    """

    latency: Distribution = NOTHING
    bandwidth: Distribution | None = None
    paired: bool = False


@dataclass(frozen=True)
class Failures:
    """What goes wrong. Nothing, unless said.

    life: seconds from a worker's beginning to its death, without a word. back: seconds from then to the beginning of
        another in its place, which starts anew; None: never.
    day, swing: in a day of so many seconds, workers die (1 + swing · sin(2π t / day)) times as often: churn that
        follows the hour.
    nan: part of the workers whose gradients are NaN, always.
    lose: probability that a message is lost on its way; its sender waits `resend` seconds for the answer, and sends
        it again. duplicate: probability that a request arrives a second time, `late` seconds after the first: after
        younger ones, perhaps.
    shard_life: seconds from a shard's beginning to its death; it is away for `shard_back` seconds and goes on from
        its last snapshot, made at every `snapshot`-th accepted push.
    """

    life: Distribution | None = None
    back: Distribution | None = SECOND
    day: float = 0.0
    swing: float = 0.0
    nan: float = 0.0
    lose: float = 0.0
    resend: float = 1.0
    duplicate: float = 0.0
    late: Distribution = NOTHING
    shard_life: Distribution | None = None
    shard_back: float = 1.0
    snapshot: int = 100

    def __post_init__(self):
        for name, most in (("nan", 1.0), ("swing", 1.0), ("duplicate", 1.0), ("lose", 0.99)):
            finite(f"Failures: {name}", getattr(self, name), 0.0, most, where="")
        for name, least in (("day", 0.0), ("resend", 1e-9), ("shard_back", 0.0)):
            finite(f"Failures: {name}", getattr(self, name), least, FOREVER, where="")
        for name in ("life", "shard_life"):
            if (x := getattr(self, name)) is not None and not x.mean > 0:
                raise ValueError(f"Failures: {name} is {x!r}; its mean must be above 0")
        whole("Failures: snapshot", self.snapshot, 1, where="")
        if self.swing and not self.day:
            raise ValueError("Failures: swing needs day, the seconds of a day")

    @property
    def of_messages(self) -> bool:
        """True if a message may be lost, come twice, or find its shard dead."""
        return bool(self.lose or self.duplicate or self.shard_life)

    def death(self, start: float, lived: float) -> float:
        """When a worker dies that begins at `start` and would live so long if all hours were alike."""
        if not self.swing:
            return start + lived
        w = 2 * np.pi / self.day

        def exposed(t: float) -> float:  # ∫ 1 + swing sin(w s) ds
            return t - self.swing * float(np.cos(w * t)) / w

        wanted = exposed(start) + lived
        low, high = start, start + lived + 2 * self.swing / w + 1e-9
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if exposed(middle) < wanted else (low, middle)
        return high


@dataclass(frozen=True)
class Cluster:
    """Workers, and what lies between them and the shards.

        >>> from ravine.parallel.simulate import Cluster, Exponential, LogNormal, Network
        >>> Cluster(8, compute=Exponential(0.1), network=Network(Exponential(0.01), LogNormal(1e7, 1.0))).workers
        8

    compute: seconds for a gradient: a distribution for all, one for each worker, or a function of its number.
    pace: drawn once for each worker; its computing takes so many times as long.
    network: `Network`, or the distribution of the latency of a message.
    failures: `Failures`.
    service: seconds that a shard needs for a request; it answers one after the other.

    Every worker has generators of its own, keyed by (seed, worker, what is drawn), so one worker more changes nothing
    of what the others draw.
    """

    workers: int
    compute: Compute = SECOND
    network: Network | Distribution = field(default_factory=Network)
    failures: Failures = field(default_factory=Failures)
    service: Distribution = NOTHING
    pace: Distribution | None = None

    def __post_init__(self):
        whole("Cluster: workers", self.workers, 1, where="")
        if isinstance(self.network, Distribution):
            object.__setattr__(self, "network", Network(self.network))
        if isinstance(self.compute, Sequence) and len(self.compute) != self.workers:
            raise ValueError(f"Cluster: compute has {len(self.compute)} distributions for {self.workers} workers")
        if not isinstance(self.compute, Distribution) and not callable(self.compute) and not self.compute:
            raise TypeError(f"Cluster: compute is {told(self.compute)}; give a distribution")

    @property
    def wires(self) -> Network:
        """The network."""
        assert isinstance(self.network, Network)
        return self.network

    def computes(self, worker: int) -> Distribution:
        """How long a gradient takes this worker, but for its pace."""
        if isinstance(self.compute, Distribution):
            return self.compute
        return self.compute[worker] if isinstance(self.compute, Sequence) else self.compute(worker)

    @property
    def direct(self) -> bool:
        """True if messages take no time, and all arrive."""
        wires = self.wires.latency == NOTHING and self.wires.bandwidth is None
        return wires and self.service == NOTHING and not self.failures.of_messages

    def but(self, **changes: object) -> Self:
        """The same with some fields changed."""
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_trace(cls, trace: Trace, workers: int | None = None) -> Cluster:
        """A cluster whose delays are those of a recorded run: each worker's computing times, and all round trips.

        workers: more or fewer than were recorded; those beyond draw from what all have recorded. What is drawn is
        independent: a slow hour, which made many steps slow in a row, becomes many slow steps here and there.
        """
        named = sorted({x.worker for x in trace})
        if not named:
            raise ValueError("Cluster.from_trace: the trace has no rows")
        pooled = Empirical([x.compute for x in trace])
        own = [Empirical([x.compute for x in trace if x.worker == k]) for k in named]
        workers = len(named) if workers is None else whole("Cluster.from_trace: workers", workers, 1, where="")
        compute = [own[i] if i < len(own) else pooled for i in range(workers)]
        return cls(workers, compute, Network(Empirical([x.send / 2 for x in trace]), paired=True))

    @classmethod
    def internet(cls, workers: int, compute: float = 1.0) -> Cluster:
        """Volunteers' machines: paces and bandwidths that differ by orders of magnitude, churn by the hour, 1 % NaN.

        compute: median seconds of a gradient. Paces are log-normal with σ = 0.5, latencies with a median of 50 ms,
        bandwidths with a median of 10 MB/s and σ = 1; workers stay for 500 gradients on average, twice as long by
        night as by day, and are away for 100.
        """
        return cls(
            workers,
            LogNormal(compute, 0.3),
            Network(LogNormal(0.05, 0.5), LogNormal(10e6, 1.0)),
            Failures(
                life=LogNormal(500 * compute / np.exp(0.5), 1.0),
                back=Uniform(0.0, 200 * compute),
                day=2000 * compute,
                swing=1 / 3,
                nan=0.01,
            ),
            pace=LogNormal(1.0, 0.5),
        )


def generator(seed: int, worker: int, what: str) -> np.random.Generator:
    """The generator of one worker, for one purpose: no other draws from it."""
    purpose = int.from_bytes(what.encode()[:4].ljust(4), "little")
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), (purpose << 32) + worker]))


class Draws:
    """One worker's draws of one kind, in order."""

    __slots__ = ("constant", "distribution", "key", "left", "rng", "times")

    def __init__(self, distribution: Distribution, seed: int, worker: int, what: str, times: float = 1.0):
        self.distribution, self.key, self.times = distribution, (seed, worker, what), times
        self.constant = distribution.seconds * times if isinstance(distribution, Constant) else None
        self.rng: np.random.Generator | None = None
        self.left: list[float] = []

    def next(self) -> float:
        """One more."""
        if self.constant is not None:
            return self.constant
        if not self.left:
            if self.rng is None:
                self.rng = generator(*self.key)
            self.left = (self.distribution.draw(self.rng, 32) * self.times)[::-1].tolist()
        return self.left.pop()


def once(distribution: Distribution, seed: int, worker: int, what: str) -> float:
    """A draw that is made once for a worker."""
    return Draws(distribution, seed, worker, what).next()
