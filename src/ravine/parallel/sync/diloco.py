"""DiLoCo, and Streaming DiLoCo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.parallel.sync.fragments import balanced, offsets
from ravine.parallel.sync.local_steps import LocalSteps
from ravine.parallel.sync.outer import made, reordered
from ravine.parallel.sync.workers import Sent
from ravine.rule.hyper import integer, value_of
from ravine.saved import finite, told, whole


class DiLoCo(LocalSteps):
    """Workers step alone for H steps. How far they moved, averaged, is the gradient for an outer optimizer.

        θᵢ ← A(θᵢ, gᵢ)                    H steps of each worker i of n, with its own batches
        Δ  = mean over i of (φ − θᵢ)      then; φ, the anchor, is shared and begins as θ
        φ  ← B(φ, Δ)                      a step of the outer optimizer B, the same on all workers
        θᵢ ← φ

        >>> import torch, ravine
        >>> from ravine.parallel import DiLoCo
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = DiLoCo(ravine.AdamW(model.parameters(), lr=1e-3), sync_every=500)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()

    Use it for long runs of language models between machines with a slow network. An exchange is one all-reduce of as
    many numbers as there are weights; the anchors and the momentum of B are two more copies of them. One worker alone
    is `ravine.strategies.SNOO`.

    outer: a class or a function that makes B of a list of tensors, the anchors. None is
        `lambda params: ravine.SGD(params, lr=0.7, momentum=0.9, nesterov=True)`, the paper's choice. B is `opt.outer`;
        a schedule for it counts outer steps.
    sync_every: H. The papers have 500, and 30 to 100 for streaming.
    process_group: see `ravine.parallel.sync.workers.Workers`.

    Streaming DiLoCo sends the model in parts and does not wait for them:
    fragments: P, the number of parts. Each tensor is in one, and they have about the same size; the paper's parts are
        of whole layers. Part k, from 0, is sent after step ⌊(k + 1) H / P⌋ of each H.
    overlap: τ < H, the steps between sending a part and using its mean.
    mix: α in θᵢ ← α θᵢ + (1 − α) φ when a mean is used. With 0, as in DiLoCo, θᵢ ← φ, which drops the τ steps made
        since the part was sent.
    compressor: computes the means instead, by `all_reduce_mean(tensors, group)`; each fragment gets a copy of it. The
        call waits for its result, which is used τ steps later all the same.

    φ is `opt.state[p]["diloco.anchor"]`, with the same bits on all workers. `eval()` puts it into the model, `train()`
    puts the worker's own weights back. The state of A stays with its worker, from round to round. `state_dict()` has
    the anchors, the state of B under "outer", and those of the compressors. It waits for parts that are under way and
    saves their means. Each worker saves its own state_dict, and then continues bit for bit.

    A worker whose weights become NaN makes the anchors NaN: give A nonfinite="skip", or use a GradScaler. Under torchft
    a part is not used if a worker is lost meanwhile, and the next Δ contains it; there τ must be less than the steps
    between two parts. Δ points uphill, as a gradient does.

    Douillard et al. 2023, Algorithm 1    https://arxiv.org/abs/2311.08105
    Streaming: Douillard et al. 2025, Algorithm 2    https://arxiv.org/abs/2501.18512
    """

    papers = ("douillard2023diloco", "douillard2025streaming")
    fields = ("sync_every", "fragments", "overlap", "mix", "count")
    keeps = ("anchor", "incoming", "own")

    sync_every: int
    fragments: int
    overlap: int
    mix: float
    outer: torch.optim.Optimizer
    anchors: dict[Tensor, Tensor]  # of each parameter, the outer optimizer's
    fragment: dict[Tensor, int]  # of each parameter
    compressors: list[Any]  # of each fragment; or none
    under_way: dict[int, tuple[list[Tensor], Sent]]  # the fragments that were sent, and are not used yet

    def __init__(
        self,
        inner: torch.optim.Optimizer,
        outer: Callable[[list[Tensor]], torch.optim.Optimizer] | None = None,
        *,
        sync_every: int = 500,
        fragments: int = 1,
        overlap: int = 0,
        mix: float = 0.0,
        compressor: Any = None,
        process_group: Any = None,
    ):
        note = {
            "sync_every": integer("DiLoCo: sync_every", sync_every),
            "fragments": integer("DiLoCo: fragments", fragments),
            "overlap": integer("DiLoCo: overlap", overlap),
            "mix": value_of("DiLoCo: mix", float, mix),
        }
        note = {k: x for k, x in self.valid({**note, "count": 0}).items() if k != "count"}
        more = {"outer": None, "anchors": {}, "fragment": {}, "compressors": [], "under_way": {}}
        super().__init__(inner, process_group, **note, **more)
        self.anchors = {p: x.clone(memory_format=torch.preserve_format) for p, x in self.weights().items()}
        parts = balanced([p.numel() for p in self.anchors], self.fragments)
        if self.fragments > max(1, len(parts)):
            raise ValueError(
                f"DiLoCo: fragments is {self.fragments}, and there are {len(parts)} tensors; give at most {len(parts)}"
            )
        self.fragment = dict(zip(self.anchors, parts, strict=True))
        self.outer = made(outer, list(self.anchors.values()))
        if compressor is not None:
            self.compressors = self.one_each(compressor)
        gaps = [
            b - a for a, b in zip([0, *offsets(sync_every, fragments)], offsets(sync_every, fragments), strict=False)
        ]
        if self.workers.manager is not None and self.overlap >= min(gaps):
            raise ValueError(
                f"DiLoCo: overlap is {self.overlap}, and under torchft it must be less than the {min(gaps)} steps "
                "between two fragments"
            )

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        every = whole("DiLoCo: sync_every", note["sync_every"], 1, where="")
        fragments = whole("DiLoCo: fragments", note["fragments"], 1, where="")
        overlap = whole("DiLoCo: overlap", note["overlap"], where="")
        if fragments > every:
            raise ValueError(f"DiLoCo: fragments is {fragments}; it must be at most sync_every, {every}")
        if overlap >= every:
            raise ValueError(f"DiLoCo: overlap is {overlap}; it must be less than sync_every, {every}")
        return {
            "sync_every": every,
            "fragments": fragments,
            "overlap": overlap,
            "mix": finite("DiLoCo: mix", note["mix"], 0.0, 1.0, where=""),
            "count": whole("DiLoCo: count", note["count"], where=""),
        }

    def one_each(self, compressor: Any) -> list[Any]:
        """A compressor for each fragment: it remembers what it has not sent of the tensors it was given."""
        if isinstance(compressor, type) or not callable(getattr(compressor, "all_reduce_mean", None)):
            raise TypeError(
                f"DiLoCo: compressor is {told(compressor)}; it must be an object with all_reduce_mean(tensors, group)"
            )
        if self.workers.manager is not None:
            raise ValueError("DiLoCo: a compressor needs a fixed group of workers; leave it out under torchft")
        if self.workers.group is None and dist.is_available() and dist.is_initialized():
            raise ValueError("DiLoCo: a compressor would use the default group; leave it or process_group=False out")
        return [compressor, *(deepcopy(compressor) for _ in range(self.fragments - 1))]

    # a step

    def begin(self) -> None:
        for p, x in self.lacking("anchor").items():
            if p not in self.anchors:  # unfrozen later, or of a later group
                self.anchors[p] = x.clone(memory_format=torch.preserve_format)
                self.outer.add_param_group({"params": [self.anchors[p]]})
                loads = [sum(q.numel() for q, j in self.fragment.items() if j == k) for k in range(self.fragments)]
                self.fragment[p] = loads.index(min(loads))
            anchor = self.kept[p]["anchor"] = self.anchors[p]
            anchor.data = x.to(anchor.dtype, copy=True, memory_format=torch.preserve_format)

    def travel(self, inner: Callable[[], Any]) -> Any:
        loss = inner()
        self.count += 1
        if self.overlap:
            self.arrive()
        if self.leaving():
            self.workers.gather()  # a worker that is healed here goes on with the others' count
            for k in self.leaving():
                self.send(k)
        if not self.overlap:
            self.arrive()
        return loss

    def leaving(self) -> list[int]:
        """The fragments that are sent after this step."""
        at = (self.count - 1) % self.sync_every + 1
        return [k for k, offset in enumerate(offsets(self.sync_every, self.fragments)) if offset == at]

    @torch.no_grad()
    def send(self, k: int) -> None:
        """Begin to average what the steps have moved in a fragment."""
        weights = self.weights()
        params = [p for p, part in self.fragment.items() if part == k and p in weights]
        moved = [self.anchors[p] - weights[p] for p in params]
        if not self.compressors:
            self.under_way[k] = params, self.workers.begin_mean(moved)
            return
        compressor = self.compressors[k]
        before = getattr(compressor, "sent_bytes", 0)
        means = compressor.all_reduce_mean(moved, self.workers.group)
        self.workers.sent_bytes += getattr(compressor, "sent_bytes", 0) - before
        self.under_way[k] = params, Sent(self.workers, list(means), [])

    def arrive(self) -> None:
        """Use the fragments whose time has come."""
        at = (self.count - self.overlap - 1) % self.sync_every + 1
        for k, offset in enumerate(offsets(self.sync_every, self.fragments)):
            if offset == at and self.count > self.overlap:
                self.use(k)

    @torch.no_grad()
    def use(self, k: int) -> None:
        """A step of the outer optimizer with what has come of a fragment; the weights begin from there, or near."""
        params, sent = self.under_way.pop(k, ([], None))
        if sent is not None:
            means, agreed = dict(zip(params, sent.wait(), strict=True)), self.workers.agreed()
        else:  # it came before a checkpoint
            came = {p: self.kept[p].get("incoming") for p, part in self.fragment.items() if part == k}
            means, agreed = {p: x for p, x in came.items() if x is not None}, True
        for p in means:
            self.kept[p].pop("incoming", None)
        if not means or not agreed:
            return
        for p, mean in means.items():
            self.anchors[p].grad = mean.to(self.anchors[p].dtype)
        self.outer.step()
        weights = self.weights()
        for p in means:
            anchor = self.anchors[p]
            anchor.grad = None
            if p in weights:  # not frozen in between
                self.put(p, torch.lerp(anchor, weights[p], self.mix) if self.mix else anchor)

    # what the model shows

    def eval(self) -> None:
        """Put the anchors into the model. Call before validation."""
        self.show({p: self.anchors[p] for p in self.anchors if "anchor" in self.kept.get(p, {})})

    def to(self, device: torch.device | str | None = None) -> DiLoCo:
        """Move what it keeps, anchors and outer states too, and the states of the driven optimizer to a device."""
        super().to(device)
        for p, anchor in self.anchors.items():
            anchor.data = anchor.to(p.device if device is None else device)
            if "anchor" in self.kept.get(p, {}):
                self.kept[p]["anchor"] = anchor
            state = self.outer.state.get(anchor, {})
            state.update({k: x.to(anchor.device) for k, x in state.items() if isinstance(x, Tensor) and k != "step"})
        return self

    # saved and copied

    def finish(self) -> None:
        """Wait for what is under way, and keep it as what a state_dict has."""
        for params, sent in self.under_way.values():
            for p, x in zip(params, sent.wait(), strict=True):
                self.kept[p]["incoming"] = x

    def state_dict(self, **how: Any) -> dict[str, Any]:
        self.finish()
        out = super().state_dict(**how)
        numbers = {p: i for i, p in self.numbered(out["param_groups"])}
        part = {
            "of": [numbers[p] for p in self.outer_order()],
            "fragment": [self.fragment[p] for p in self.outer_order()],
            "optimizer": self.outer.state_dict(),
        }
        if self.compressors:
            part["compressors"] = [x.state_dict() for x in self.compressors]
        return {**out, "outer": part}

    def numbered(self, groups: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Tensor]]:
        """The parameters here with their numbers in saved groups."""
        return [
            (i, p)
            for saved, now in zip(groups, self.param_groups, strict=False)
            for i, p in zip(self.order(saved, now), now["params"], strict=False)
        ]

    def outer_order(self) -> list[Tensor]:
        """The parameters in the order in which the outer optimizer has their anchors."""
        of = {id(anchor): p for p, anchor in self.anchors.items()}
        return [of[id(x)] for group in self.outer.param_groups for x in group["params"]]

    def load_all(self, given: dict[str, Any]) -> None:
        outer, parts, memories = self.outer_part(given)
        kept = deepcopy((self.outer.state_dict(), [x.state_dict() for x in self.compressors]))
        try:
            self.outer.load_state_dict(outer)
            for compressor, memory in zip(self.compressors, memories, strict=True):
                compressor.load_state_dict(memory)
            super().load_all({k: x for k, x in given.items() if k != "outer"})
        except Exception:
            self.outer.load_state_dict(kept[0])
            for compressor, memory in zip(self.compressors, kept[1], strict=True):
                compressor.load_state_dict(memory)
            raise
        self.fragment = parts

    def outer_part(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Tensor, int], list[Any]]:
        """What a state_dict has for the outer optimizer, the fragments and the compressors; or ValueError."""
        note, outer = self.noted(given["param_groups"]), given.get("outer")
        if not isinstance(outer, Mapping) or not {"of", "fragment", "optimizer"} <= outer.keys():
            raise ValueError(
                "this is not a state_dict of DiLoCo: it has no 'outer' with the outer optimizer's. Those that "
                "torch.distributed.checkpoint makes have none, since each worker's is its own: use torch.save on each"
            )
        of, where, memories = outer["of"], outer["fragment"], outer.get("compressors", [])
        within = isinstance(where, list) and all(isinstance(k, int) and 0 <= k < note["fragments"] for k in where)
        if not within or not isinstance(of, list) or len(of) != len(where):
            raise ValueError(f"DiLoCo: fragment is {told(where)} in the state_dict; it must be a small number for each")
        if len(memories) != len(self.compressors) or (self.compressors and note["fragments"] != self.fragments):
            raise ValueError(
                f"DiLoCo: the state_dict is of {len(memories)} compressors in {note['fragments']} fragments, and here "
                f"are {len(self.compressors)} in {self.fragments}; make the optimizer with the same"
            )
        parameter = dict(self.numbered(given["param_groups"]))
        params = [parameter.get(i) for i in of]
        if set(params) != self.anchors.keys():
            raise ValueError(
                f"DiLoCo: the state_dict has anchors of {len(of)} parameters, and other {len(self.anchors)} require a "
                "gradient here; set requires_grad as it was when it was saved"
            )
        parts = dict(zip(params, where, strict=True))
        state = reordered(outer["optimizer"], params, self.outer, self.outer_order())
        return state, {p: parts[p] for p in self.anchors}, memories

    def loaded(self) -> None:
        for _, sent in self.under_way.values():
            sent.wait()
        self.under_way = {}
        for p, anchor in self.anchors.items():
            if (x := self.kept.get(p, {}).get("anchor")) is not None and x is not anchor:
                anchor.data = x
                self.kept[p]["anchor"] = anchor
        super().loaded()

    def __getstate__(self) -> dict[str, Any]:
        self.finish()
        names = ("outer", "anchors", "fragment", "compressors")
        return super().__getstate__() | {k: getattr(self, k) for k in names} | {"under_way": {}}
