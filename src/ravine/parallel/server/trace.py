"""A trace: in which order each shard answered which requests. With it a run can be made again, bit for bit."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ravine.parallel.server.plan import Event
from ravine.saved import told, whole

KIND = "ravine.parallel.trace"
REQUESTS = ("push", "pull", "leave")


@dataclass(frozen=True)
class Trace:
    """For each shard, what it answered, in order: (request, worker, number, check).

    request: "push", "pull" or "leave". worker: its number; -1 is the owner of the server. number: counts a worker's
    pushes to a shard, and its pulls, from 1; one that was delivered twice is there twice. check: the CRC-32 of the
    numbers that were pushed, by which a replay knows that it computes the same; 0 for other requests.

    As a file it is JSON: {"kind": "ravine.parallel.trace", "version": 1, "shards": [[["pull", 0, 1, 0], …], …]}.

        >>> from ravine.parallel.server.trace import Trace
        >>> trace = Trace(((("pull", 0, 1, 0), ("push", 0, 1, 3421780262)),))
        >>> trace.workers
        [0]
    """

    shards: tuple[tuple[Event, ...], ...]

    @property
    def workers(self) -> list[int]:
        """The numbers of the workers in it."""
        return sorted({worker for events in self.shards for _, worker, _, _ in events if worker >= 0})

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all."""
        path = Path(path)
        aside = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            aside.write_text(json.dumps({"kind": KIND, "version": 1, "shards": self.shards}), encoding="utf-8")
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """What `save` wrote; ValueError where a file is something else."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not a trace of a parameter server: {error}") from None
        if not isinstance(found, dict) or found.get("kind") != KIND or not isinstance(found.get("shards"), list):
            raise ValueError(f"{path} is not a trace of a parameter server; it has {told(found)}")
        if found.get("version") != 1:
            raise ValueError(f"{path} is a trace of version {told(found.get('version'))}, and this ravine reads 1")
        shards = [x if isinstance(x, list) else [x] for x in found["shards"]]
        return cls(
            tuple(
                tuple(event(f"{path}: shard {i}, event {n}", x) for n, x in enumerate(s)) for i, s in enumerate(shards)
            )
        )


def event(what: str, x: Any) -> Event:
    """An event of a file, or a ValueError."""
    if not isinstance(x, list) or len(x) != 4 or x[0] not in REQUESTS:
        raise ValueError(f"{what} is {told(x)}; it must be [{' or '.join(REQUESTS)}, worker, number, check]")
    request, worker, number, check = x
    numbers = [
        whole(f"{what}: {k}", n, low, where="")
        for k, n, low in (("worker", worker, -1), ("number", number, 0), ("check", check, 0))
    ]
    return request, numbers[0], numbers[1], numbers[2]
