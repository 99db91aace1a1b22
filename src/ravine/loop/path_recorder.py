"""The path of a run through the space of its parameters: the weights, every k steps."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from ravine.rule.hyper import integer
from ravine.saved import entries, has_memory, told, whole

FIELDS = ("every", "most", "count", "steps", "rows", "buffers")


class PathRecorder:
    """Keeps the weights of a training run every few steps: the path that an optimizer takes.

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> path = ravine.strategies.PathRecorder(model, every=10)
        >>> for step in range(40):
        ...     loss = model(torch.randn(8, 3)).square().mean()
        ...     opt.zero_grad()
        ...     loss.backward()
        ...     opt.step()
        ...     path.step()
        >>> path.steps, path.weights.shape
        ([0, 10, 20, 30, 40], torch.Size([5, 4]))

    The first snapshot is made at once, before any step; then each `every`-th call of `step()` makes one. `keep()` makes
    one now, and so does the end of a `with`: the last weights are then on the path, wherever the run stopped. It looks
    at the model and not at the optimizer, so it goes with ravine's, torch's, a strategy or none. Where the weights to
    evaluate are others than those trained (EMA, Schedule-Free, Lookahead), those that are in the model are kept: write
    `opt.eval(); path.keep(); opt.train()` for the others.

    A snapshot is one row in the memory of the CPU: all parameters in the order of `named_parameters()`, a shared one
    once, rounded to `dtype`; 4 bytes a parameter as float32. Beside it lie copies of the buffers that a checkpoint
    would have, such as the running statistics of batch norm, as they were then: `restore(i)` gives back the model of
    that step. They are no coordinates of the path.

    every: steps from one snapshot to the next.
    most: where there would be more, every second one is dropped and `every` doubles: memory is bounded for runs of any
        length, and the snapshots stay evenly spaced. What was kept by `keep()` goes by the same rule; the first stays.
    dtype: of the rows; float64 for a model of that, bfloat16 for half the memory. Near the end of a run steps are
        small, and coarse rows show rounding instead.

    `state_dict()` has it all, and a run that goes on from a checkpoint goes on here, too. Under FSDP each process would
    keep its own shards: gather the parameters first.

    Use it to draw where runs went, by `ravine.surfaces.Plane`, or to look at what changed when.

    Li, Xu, Taylor, Studer & Goldstein 2018, section 7    https://arxiv.org/abs/1712.09913
    """

    def __init__(self, model: nn.Module, every: int = 10, most: int = 200, *, dtype: torch.dtype = torch.float32):
        every, most = integer("PathRecorder: every", every), integer("PathRecorder: most", most)
        if every < 1 or most < 2:
            raise ValueError(f"PathRecorder: every is {every!r} and most {most!r}; they are at least 1 and 2")
        if not any(True for _ in model.parameters()):
            raise ValueError(f"PathRecorder: {type(model).__name__} has no parameters, so it has no path")
        self.model, self.every, self.most, self.dtype = model, every, most, dtype
        self.shapes = {name: p.shape for name, p in model.named_parameters()}  # of what a row has, in its order
        self.count = 0  # steps so far
        self.steps: list[int] = []  # of each snapshot
        self.rows: list[Tensor] = []
        self.buffers: list[dict[str, Tensor]] = []
        self.keep()

    @property
    def weights(self) -> Tensor:
        """All snapshots, (snapshots, parameters)."""
        return torch.stack(self.rows)

    def step(self) -> None:
        """Call after each `opt.step()`."""
        self.count += 1
        while len(self.steps) >= self.most and self.count % self.every == 0:
            self._thin()
        if self.count % self.every == 0:
            self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Make a snapshot of the model as it is now; of the same step there is only one, the newest."""
        shapes = {name: p.shape for name, p in self.model.named_parameters()}
        if shapes != self.shapes:
            changed = sorted(name for name, _ in shapes.items() ^ self.shapes.items())
            raise RuntimeError(f"the model has other parameters than at the path's start: {', '.join(changed)}")
        if self.steps and self.steps[-1] == self.count:
            self._drop(len(self.steps) - 1)
        while len(self.steps) >= self.most:
            self._thin()
        kept = self.model.state_dict()
        flat = [p.detach().flatten().to("cpu", self.dtype) for p in self.model.parameters()]
        self.steps.append(self.count)
        self.rows.append(torch.cat(flat))
        self.buffers.append({k: b.detach().to("cpu", copy=True) for k, b in self.model.named_buffers() if k in kept})

    def _thin(self) -> None:
        self.every *= 2
        for i in reversed(range(1, len(self.steps))):
            if self.steps[i] % self.every:
                self._drop(i)

    def _drop(self, i: int) -> None:
        for each in (self.steps, self.rows, self.buffers):
            del each[i]

    @torch.no_grad()
    def restore(self, i: int) -> None:
        """Put the weights and buffers of snapshot i (0 the first, -1 the last) into the model."""
        at = 0
        for p in self.model.parameters():
            p.copy_(self.rows[i][at : at + p.numel()].view(p.shape))
            at += p.numel()
        buffers = dict(self.model.named_buffers())
        for name, old in self.buffers[i].items():
            buffers[name].copy_(old)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.keep()

    def state_dict(self) -> dict[str, Any]:
        """The snapshots, and when the next one is due."""
        kept = {name: getattr(self, name) for name in FIELDS}
        return {name: list(x) if isinstance(x, list) else x for name, x in kept.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where state_dict() was taken; raises ValueError, and changes nothing, where it is another's."""
        given = entries("PathRecorder", state_dict, FIELDS, only=True)
        every, most, count = (
            whole(f"PathRecorder: {k}", given[k], least) for k, least in (("every", 1), ("most", 2), ("count", 0))
        )
        if any(not isinstance(given[k], list | tuple) for k in ("steps", "rows", "buffers")):
            raise ValueError("this is not a state_dict of PathRecorder: steps, rows and buffers are lists")
        steps, rows, buffers = (list(given[k]) for k in ("steps", "rows", "buffers"))
        if not len(steps) == len(rows) == len(buffers):
            raise ValueError(f"PathRecorder: the state_dict has {len(steps)} steps and {len(rows)} rows")
        steps = [whole("PathRecorder: a step", x) for x in steps]
        n = sum(map(torch.Size.numel, self.shapes.values()))
        for x in rows:
            if not isinstance(x, Tensor) or x.dim() != 1 or not has_memory(x):
                raise ValueError(f"PathRecorder: a row is {told(x)} in the state_dict; it must be a vector of weights")
            if len(x) != n:
                raise ValueError(f"this path is of a model of {len(x)} parameters; the recorder's has {n}")
        known = {k: b.shape for k, b in self.model.named_buffers()}
        for kept in buffers:
            if not isinstance(kept, Mapping) or not all(
                isinstance(x, Tensor) and has_memory(x) and x.shape == known.get(k) for k, x in kept.items()
            ):
                raise ValueError(f"PathRecorder: the buffers in the state_dict are {told(kept)}, and not the model's")
        self.every, self.most, self.count, self.steps, self.rows = every, most, count, steps, rows
        self.buffers = [dict(x) for x in buffers]
