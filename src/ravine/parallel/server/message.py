"""What workers and shards say to each other: three requests and a reply. They know no transport.

A shard answers alone and in the order in which requests reach it; between shards there is no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Status = Literal["read", "applied", "kept", "duplicate", "refused", "fenced", "left"]


@dataclass(frozen=True, slots=True)
class Pull:
    """Send me your parameters.

    known: the incarnation that the worker spoke to last, and the largest count of accepted pushes that it has heard of
        from it; a shard that was restored from a snapshot finds by it how many it has lost.
    number: counts the worker's pulls from this shard from 1.
    settled: all its pushes up to this sequence have been answered, and need not be waited for.
    """

    worker: int
    known: tuple[int, int] = (0, 0)
    number: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Push:
    """Here is what I computed; apply it once, however often it reaches you.

    sequence: counts the worker's pushes to this shard from 1.
    incarnation, base: of the shard, and its version, when the worker read what it computed this at.
    tensors: one for each piece of the shard: gradients, or whatever the server's rule takes in their place.
    square: ‖·‖² of the whole push, over all shards, so that all decide alike; None where nobody asked for it.
    weight: samples behind it.
    speed: local steps a second, where the worker says (DyLU).
    apart: ‖x − x̃‖² over the tensors of this shard, of the worker's copy x and the parameters x̃ that it read last, when
        it read them.
    want: the parameters in the reply: as they were "before" this push, "after" it, or none.
    """

    worker: int
    sequence: int
    incarnation: int
    base: int
    tensors: Sequence[Tensor]
    square: float | None = None
    weight: float = 1.0
    speed: float = 0.0
    apart: float = 0.0
    want: Literal["", "before", "after"] = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """I will not come back; forget what you keep for me, but what you have applied.

    number: the worker's next pull would have had it; 0 where the owner of the server says it for the worker.
    """

    worker: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a shard answers.

    status: "read"; "applied"; "kept", where a `Buffer` waits for more; "duplicate", a push that has been answered
        before; "refused" by an admission policy, for this `reason`; "fenced", a push computed at a shard that has died;
        "left".
    version: how many steps the rule has made. accepted: how many pushes are in them, or kept.
    fastest: the largest `speed` that a worker has told.
    """

    status: Status
    incarnation: int
    version: int
    accepted: int
    tensors: Sequence[Tensor] | None = None
    reason: str = ""
    fastest: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """What a shard answers where its rule or a policy raised an error: this one."""

    error: str


Request = Pull | Push | Leave
