"""A shard: some of the parameters, and the rule that moves them. It answers one request after the other.

It knows no transport, no clock and no other shard: the same object answers in a process, in an actor of Ray, in a
replay and in the simulator, with the same bits.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.optimizer.step import again
from ravine.parallel.server.admit import Buffer, Policy, Refused
from ravine.parallel.server.message import Leave, Pull, Push, Reply, Request, Status
from ravine.parallel.server.once import Once

KNOWS = {"meanwhile", "read"}  # what a shard can give a rule beside the gradient
Rule = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


class Shard:
    """Some of the parameters, and the rule that moves them.

    tensors: its pieces; it owns them from now on.
    rule: makes an optimizer of them.
    admit: policies, asked in this order; a Buffer is the last.
    """

    def __init__(self, tensors: Sequence[Tensor], rule: Rule, admit: Sequence[Policy] = ()):
        self.params = [torch.nn.Parameter(x.detach().clone(), requires_grad=True) for x in tensors]
        self.shapes = [p.shape for p in self.params]
        self.opt = rule(self.params)
        self.admit = [deepcopy(x) for x in admit]
        self.buffer = self.admit[-1] if self.admit and isinstance(self.admit[-1], Buffer) else None
        self.takes = frozenset(self.opt.inputs) if isinstance(self.opt, Optimizer) else frozenset[str]()
        self.check()
        self.grads = [torch.zeros_like(p) for p in self.params]
        for p, g in zip(self.params, self.grads, strict=True):
            p.grad = g
        self.incarnation, self.version, self.accepted = 1, 0, 0
        self.began = {1: 0}  # accepted when each incarnation began
        self.lost: dict[int, int] = {}  # of each incarnation that died: how many accepted pushes died with it
        self.once: defaultdict[int, Once] = defaultdict(Once)
        self.last: dict[int, tuple[int, Reply]] = {}  # of each worker: its last push, and the answer
        self.bases: defaultdict[int, dict[int, Sequence[Tensor]]] = defaultdict(dict)  # what a worker read, by version
        self.sums = [torch.zeros_like(p) for p in self.params] if "meanwhile" in self.takes else []
        self.speeds: dict[int, float] = {}
        self.apart: dict[int, float] = {}  # ‖x − x̃‖² of each worker's copy, as it told last
        self.refused: Counter[tuple[int, str]] = Counter()
        self.staleness: Counter[int] = Counter()
        self.recent: deque[tuple[int, int, int]] = deque(maxlen=100_000)  # (version, worker, staleness) of each push

    def check(self) -> None:
        """Raise unless the rule and the policies fit each other, and a shard."""
        name = type(self.opt).__name__
        if unknown := self.takes - KNOWS:
            raise ValueError(
                f"{name} takes {', '.join(sorted(unknown))}, which a server does not know; as a server's rule it may "
                f"take {' and '.join(sorted(KNOWS))}"
            )
        if any(isinstance(x, Buffer) for x in self.admit[:-1]):
            raise ValueError("admit: a Buffer must be the last policy: what it keeps has been admitted")
        if getattr(self.opt, "takes_parameters", False) and (scaling := [x for x in self.admit if x.scales]):
            raise ValueError(
                f"admit: {scaling[0]} changes what a worker sends, and {name} is sent parameters, not gradients; give "
                "policies that only refuse, such as Finite() and MaxStaleness(…)"
            )
        if self.buffer is not None and self.takes:
            raise ValueError(
                f"admit: {name} takes what one worker read, and a Buffer makes one step of the pushes of several"
            )

    def answer(self, request: Request) -> Reply:
        """What it says to a request."""
        if torch.is_grad_enabled():  # the simulator has turned it off for all its requests
            with torch.no_grad():
                return self.answer(request)
        if isinstance(request, Push):
            return self.push(request)
        if isinstance(request, Pull):
            return self.pull(request)
        return self.leave(request)

    # the requests

    def pull(self, pull: Pull) -> Reply:
        known, accepted = pull.known
        if 0 < known < self.incarnation:
            successor = min(x for x in self.began if x > known)
            self.lost[known] = max(self.lost.get(known, 0), accepted - self.began[successor])
        self.once[pull.worker].settle(pull.settled)
        return self.reply("read", self.read(pull.worker))

    def push(self, push: Push) -> Reply:
        seen = self.once[push.worker]
        if push.sequence in seen:
            sequence, reply = self.last.get(push.worker, (0, None))
            if sequence != push.sequence or reply is None:
                return self.reply("duplicate")
            return self.reply(reply.status, self.read(push.worker), reply.reason) if push.want == "after" else reply
        if push.incarnation != self.incarnation:
            return self.reply("fenced")
        before = [p.detach().clone() for p in self.params] if push.want == "before" else None
        status, reason = self.take(push)
        seen.add(push.sequence)
        if push.speed:
            self.speeds[push.worker] = push.speed
        self.apart[push.worker] = push.apart
        reply = self.reply(status, before, reason)
        self.last[push.worker] = push.sequence, reply
        return self.reply(status, self.read(push.worker), reason) if push.want == "after" else reply

    def leave(self, leave: Leave) -> Reply:
        for kept in (self.last, self.bases, self.speeds, self.apart):
            kept.pop(leave.worker, None)
        return self.reply("left")

    # their parts

    def take(self, push: Push) -> tuple[Status, str]:
        """Apply a push, keep it, or refuse it."""
        stale = self.version - push.base
        try:
            factor = 1.0
            self.fit(push)
            for policy in self.admit:
                factor *= policy.factor(push, stale)
            tensors = push.tensors if factor == 1.0 else [x * factor for x in push.tensors]
            given = self.given(push)
        except Refused as why:
            self.refused[push.worker, str(why)] += 1
            return "refused", str(why)
        version, mean = self.version, self.buffer.add(tensors) if self.buffer is not None else tensors
        if mean is not None:
            self.step(mean, given)
        self.accepted += 1
        self.staleness[stale] += 1
        self.recent.append((version, push.worker, stale))
        return ("applied" if mean is not None else "kept"), ""

    def fit(self, push: Push) -> None:
        """Refuse tensors that are not those of this shard."""
        got = [x.shape for x in push.tensors]
        if got != self.shapes:
            raise Refused(f"shapes {[tuple(x) for x in got]}, not {[tuple(x) for x in self.shapes]}")

    def given(self, push: Push) -> Mapping[str, Sequence[Tensor]]:
        """What the rule takes beside the gradient."""
        if not self.takes:
            return {}
        bases = self.bases[push.worker]
        if (base := bases.get(push.base)) is None:
            raise Refused(f"version {push.base} was not read by worker {push.worker}")
        for version in [k for k in bases if k < push.base]:
            del bases[version]
        if "read" in self.takes:
            return {"read": base}
        return {"meanwhile": [now - then for now, then in zip(self.sums, base, strict=True)]}

    def step(self, tensors: Sequence[Tensor], given: Mapping[str, Sequence[Tensor]]) -> None:
        """Make a step of the rule."""
        for grad, g in zip(self.grads, tensors, strict=True):
            grad.copy_(g)
        if not isinstance(self.opt, Optimizer):
            self.opt.step()
        elif self.takes and not self.version:
            inputs: dict[str, Any] = {k: dict(zip(self.params, x, strict=True)) for k, x in given.items()}
            self.opt.step(None, **inputs)
        else:
            for k, arrays in given.items():
                for p, x in zip(self.params, arrays, strict=True):
                    self.opt.state[p][k].copy_(x)
            again(self.opt)
        if self.sums:
            self.sums = [x + g for x, g in zip(self.sums, self.grads, strict=True)]  # new ones: bases stay as they are
        self.version += 1

    def read(self, worker: int) -> list[Tensor]:
        """A copy of the parameters, and a note of what the rule will ask about it."""
        tensors = [p.clone() for p in self.params]
        if self.takes and worker >= 0:  # the owner of the server pushes nothing
            self.bases[worker][self.version] = tensors if "read" in self.takes else self.sums
        return tensors

    def reply(self, status: Status, tensors: Sequence[Tensor] | None = None, reason: str = "") -> Reply:
        """Where the shard stands."""
        fastest = max(self.speeds.values()) if self.speeds else 0.0
        return Reply(status, self.incarnation, self.version, self.accepted, tensors, reason, fastest)

    # to be saved, and to go on as another

    def state_dict(self) -> dict[str, Any]:
        """All that a successor needs: with it a push counts once across the death of a shard."""
        return {
            "incarnation": self.incarnation,
            "version": self.version,
            "accepted": self.accepted,
            "began": dict(self.began),
            "lost": dict(self.lost),
            "once": {worker: [x.floor, sorted(x.above)] for worker, x in self.once.items()},
            "last": {worker: [sequence, asdict(reply)] for worker, (sequence, reply) in self.last.items()},
            "params": [p.detach().clone() for p in self.params],
            "optimizer": deepcopy(self.opt.state_dict()),
            "buffer": deepcopy(self.buffer.state()) if self.buffer is not None else None,
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot as another incarnation: what was read from those before is fenced."""
        shapes = [tuple(x.shape) for x in state["params"]], [tuple(p.shape) for p in self.params]
        if shapes[0] != shapes[1]:
            raise ValueError(f"this snapshot is of tensors of shapes {shapes[0]}, and the shard's have {shapes[1]}")
        if (state["buffer"] is None) != (self.buffer is None):
            raise ValueError("this snapshot is of a server with other policies: only one of the two has a Buffer")
        self.opt.load_state_dict(state["optimizer"])
        for p, x in zip(self.params, state["params"], strict=True):
            p.copy_(x)
        self.incarnation = max(self.incarnation, state["incarnation"]) + 1
        self.version, self.accepted = state["version"], state["accepted"]
        self.began = {**state["began"], self.incarnation: self.accepted}
        self.lost = dict(state["lost"])
        self.once = defaultdict(Once, {worker: Once(floor, above) for worker, (floor, above) in state["once"].items()})
        self.last = {worker: (sequence, Reply(**reply)) for worker, (sequence, reply) in state["last"].items()}
        self.bases.clear()
        if self.buffer is not None and state["buffer"] is not None:
            self.buffer.load(state["buffer"])
