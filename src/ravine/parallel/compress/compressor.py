"""What every compressor shares: the two ways to use it, the memory of errors, and how that is saved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ravine.compile.geometry import local, real
from ravine.rule.hyper import value_of
from ravine.saved import entries, told, whole

REFUSED = -1  # in place of a checksum of what a process has to send


class Compressor:
    """The base of `PowerSGD`, `TopK` and `SignCompress`: means over processes that send less than the whole tensors.

    Every process r adds to its tensor g what earlier calls have not sent, sends the sum in a compressed form C, and
    keeps the rest (error feedback):

        p_r = g_r + e_r
        e_r ← p_r − C(p_r)
        mean = (1/W) Σ_r C(p_r)        the same bits on every process

    so that everything is sent in the end: Σ_t C(p_r) + e_r = Σ_t g_r. The memory e is as large as the tensors. It has
    their type, or float32 for float16 and bfloat16. Complex tensors are treated as pairs of real numbers.

    `sent_bytes` counts the bytes that this process has handed to collectives, or would have, where it is alone.

    If a number is NaN or infinite on any process, the mean of that tensor is not finite on all of them, and no process
    changes its memory for that call (under DDP: for that bucket). So a step that GradScaler or `nonfinite="skip"` skips
    leaves the memory as it was.

    Learning rates: the memory holds gradients, not steps. The papers multiply by the rate before they compress; with a
    constant rate that is the same. After a change of the rate, the memory is sent at the new one.

    GradScaler: under DDP the memory holds scaled gradients. When the scale changes, call `rescale(new / old)` after
    `scaler.update()`; otherwise the memory is used once at the wrong scale.
    """

    complex: ClassVar[bool] = True  # whether complex tensors can be sent, as pairs

    def __init__(self) -> None:
        self.errors: dict[str, Tensor] = {}  # by the name of a tensor, in the shape of its real numbers
        self.sent_bytes = 0
        self.place: tuple[int, int] | None = None  # rank and number of processes, once they are known
        self.loaded: tuple[int, int] | None = None  # where a loaded memory is from, until `place` is known

    def all_reduce_mean(
        self, tensors: Sequence[Tensor], group: dist.ProcessGroup | None = None, *, key: str = ""
    ) -> list[Tensor]:
        """The compressed mean of each tensor over the processes of a group: new tensors, the same on all of them.

            >>> import torch
            >>> from ravine.parallel.compress import TopK
            >>> compressor = TopK(0.25)
            >>> compressor.all_reduce_mean([torch.tensor([1.0, -3.0, 2.0, 0.5])])  # one process: its mean is its own
            [tensor([ 0., -3.,  0.,  0.])]
            >>> compressor.errors
            {'0': tensor([1.0000, 0.0000, 2.0000, 0.5000])}

        tensors: all processes give the same number of them, of the same shapes and types, call after call.
        group: None is the default group; without torch.distributed the process is alone.
        key: the memory is kept by key and place in the list. If you call with several lists in turn, give each a key.

        Raises TypeError for anything but dense floating-point tensors. Raises ValueError if a tensor has another shape
        or type than in the call before, or if processes give different tensors. All processes raise then, and nothing
        has changed: 8 bytes are exchanged before the tensors, to compare.
        """
        there, named = self.among(group), dict[str, Any]({key: tensors})
        try:
            named = self.listed(tensors, key)
            self.checked(named)
        except (TypeError, ValueError):
            self.agree(None, named, there)
            raise
        self.agree(repr(self) + "".join(f"{k} {x.dtype} {tuple(x.shape)}" for k, x in named.items()), named, there)
        return self.settle(named, there)

    def listed(self, tensors: Any, key: str) -> dict[str, Any]:
        """The tensors of a call by key and place, or TypeError where it is not given a list."""
        if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable):
            raise TypeError(
                f"{type(self).__name__}: all_reduce_mean() is given {told(tensors)}; give a list of tensors, as [x]"
            )
        return {f"{key}{i}": x for i, x in enumerate(tensors)}

    def agree(self, what: str | None, tensors: Mapping[str, Any], group: Any) -> None:
        """Raise ValueError on every process unless all have the same to send. None: this one refuses, and raises."""
        if group is None:
            return
        device = next((x.device for x in tensors.values() if isinstance(x, Tensor)), None)
        mark = torch.tensor([REFUSED if what is None else crc32(what.encode())], device=device)
        marks = mark.new_empty(dist.get_world_size(group), 1)
        dist.all_gather(list(marks), mark, group=group)
        self.sent_bytes += mark.nbytes
        other = [(rank, x) for rank, x in enumerate(marks.flatten().tolist()) if x != mark.item()]
        if what is None or not other:
            return
        who, (rank, x) = type(self).__name__, next((o for o in other if o[1] == REFUSED), other[0])
        if x == REFUSED:
            raise ValueError(f"{who}: rank {rank} refuses its tensors, and says why; nothing was sent")
        raise ValueError(
            f"{who}: rank {rank} gives other tensors than rank {dist.get_rank(group)}, or has another compressor; all "
            "processes must give the same number of tensors, of the same shapes and types, to the same compressor"
        )

    def ddp_hook(self, model: DistributedDataParallel, process_group: dist.ProcessGroup | None = None) -> None:
        """Make a DDP model average its gradients with this compressor, from the next backward pass on.

        process_group: None is the group of the model.

        The memory is kept by the names of parameters, so it stays valid when DDP forms new buckets.
        With `find_unused_parameters=True`, DDP drops the gradients of parameters that no process has used; what is sent
        from their memory at that step is lost.

        Raises TypeError if the model is not a DDP model, or has parameters that cannot be compressed, and RuntimeError
        if it already has a communication hook.
        """
        own = self.group_of(model)
        group = own if process_group is None else process_group
        bad = [k for k, module in model.module.named_modules() if getattr(module, "sparse", False)]
        if bad:
            raise TypeError(f"{type(self).__name__}: {bad[0]} has sparse gradients; make it with sparse=False")
        self.checked({k: p for k, p in model.module.named_parameters() if p.requires_grad}, shapes=False)
        self.register(model, self.among(group), {id(p): name for name, p in model.module.named_parameters()})

    def register(self, model: DistributedDataParallel, group: Any, names: Mapping[int, str]) -> None:
        """Give DDP the hook; names: those of the parameters by their id."""
        raise NotImplementedError(f"{type(self).__name__} has no register()")

    def group_of(self, model: Any) -> Any:
        """The group of a DDP model."""
        if not isinstance(model, DistributedDataParallel):
            raise TypeError(
                f"{type(self).__name__}: ddp_hook() takes a DistributedDataParallel model, and this is a "
                f"{type(model).__name__}; wrap it first, or call all_reduce_mean()"
            )
        return model.process_group

    def settle(self, tensors: Mapping[str, Tensor], group: Any) -> list[Tensor]:
        """The means of these tensors over a group; None where the process is alone."""
        raise NotImplementedError(f"{type(self).__name__} has no settle()")

    def with_error(self, name: str, x: Tensor) -> Tensor:
        """p = g + e, as a tensor of its own that holds real numbers."""
        p, e = wide(x).contiguous(), self.errors.get(name)
        return p.clone() if e is None else p + e.view(p.shape)

    def checked(self, tensors: Mapping[str, Tensor], shapes: bool = True) -> Mapping[str, Tensor]:
        """The tensors, or TypeError or ValueError that names the one that cannot be compressed."""
        who = type(self).__name__
        for name, x in tensors.items():
            if not isinstance(x, Tensor):
                raise TypeError(f"{who}: tensor {name} is {told(x)}; it must be a tensor")
            if local(x) is not x:
                raise TypeError(f"{who}: tensor {name} is a DTensor; give the local part, x.to_local()")
            if x.layout is not torch.strided:
                raise TypeError(f"{who}: tensor {name} is sparse; give a dense one, or do not compress it")
            if not (x.is_floating_point() or (x.is_complex() and self.complex)):
                also = "" if self.complex else ", and not complex"
                raise TypeError(f"{who}: tensor {name} is {told(x)}; it must have a floating-point type{also}")
            e, real = self.errors.get(name), torch.view_as_real(x).shape if x.is_complex() else x.shape
            if shapes and e is not None and (e.numel() != real.numel() or e.dtype != wide_type(x)):
                raise ValueError(
                    f"{who}: tensor {name} is {told(x)}, and the memory of it is {told(e)}; give every call the same "
                    "tensors, or each list of tensors a key of its own: all_reduce_mean(…, key=…)"
                )
        return tensors

    def rescale(self, factor: float) -> None:
        """Multiply the memory by a number above 0, as by GradScaler's new scale over its old one."""
        factor = value_of(f"{type(self).__name__}: factor", float, factor)
        if not 0 < factor < math.inf:
            raise ValueError(f"{type(self).__name__}: factor is {factor:g}; it must be a finite number above 0")
        for e in self.errors.values():
            e.mul_(factor)

    def reset(self) -> None:
        """Forget the memory."""
        self.errors.clear()

    def among(self, group: Any) -> Any:
        """The group, None where the process is alone; a memory from another place is forgotten."""
        there = present(group)
        self.place = (0, 1) if there is None else (dist.get_rank(there), dist.get_world_size(there))
        self.compare()
        return there

    def compare(self) -> None:
        """Forget a loaded memory that is from another rank, or from another number of processes, and say so."""
        if self.place is None or self.loaded is None:
            return
        if self.loaded != self.place:
            (rank, world), (now, of) = self.loaded, self.place
            self.errors = {}
            warnings.warn(
                f"{type(self).__name__}: the memory of errors was saved by rank {rank} of {world}, and this is rank "
                f"{now} of {of}; it begins empty",
                stacklevel=4,
            )
        self.loaded = None

    def state_dict(self) -> dict[str, Any]:
        """The memory of this process, with its rank and the number of processes. torch.load with weights_only reads it.

        Every process has a memory of its own: save it on each, and load it on each.
        """
        rank, world = self.place or self.loaded or (0, 1)
        return {"rank": rank, "world": world, "errors": {k: e.clone() for k, e in self.errors.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the memory that state_dict() gave on the same rank of the same number of processes.

        The memory of another rank, or of another number of processes, is of no use here. Then the memory begins empty,
        and what was not sent yet is lost; a warning says so, now or at the next use.

        Raises ValueError, and changes nothing, if it is not a state_dict of this class.
        """
        found = self.valid(state_dict)
        self.take(found)
        self.loaded = found["rank"], found["world"]
        self.compare()

    def valid(self, given: Any) -> dict[str, Any]:
        """A state_dict of this class, or ValueError."""
        who = type(self).__name__
        found = entries(who, given, self.state_dict(), only=True)
        self.memories(found, "errors")
        return found | {
            "rank": whole(f"{who}: rank", found["rank"]),
            "world": whole(f"{who}: world", found["world"], 1),
        }

    def memories(self, found: Mapping[str, Any], kind: str) -> None:
        """Raise ValueError unless an entry holds a tensor of real, finite numbers for each name."""
        who = type(self).__name__
        if not isinstance(found[kind], Mapping):
            raise ValueError(f"{who}: {kind} is {told(found[kind])} in the state_dict; it must be a dict")
        for name, e in found[kind].items():
            if not isinstance(name, str) or not isinstance(e, Tensor) or not e.is_floating_point():
                raise ValueError(f"{who}: {kind} has {told(name)}: {told(e)}; it must be a name and a real tensor")
            if not bool(e.isfinite().all()):
                raise ValueError(f"{who}: {kind} of {name} has numbers that are not finite")

    def take(self, found: Mapping[str, Any]) -> None:
        """Put a valid state in place."""
        self.errors = {k: e.clone() for k, e in found["errors"].items()}


def present(group: Any) -> Any:
    """The group, None where the process is alone, or ValueError where the process is not in it."""
    if not (dist.is_available() and dist.is_initialized()):
        if group is not None:
            raise ValueError(f"the process group is {told(group)}, and torch.distributed is not initialized")
        return None
    if group is dist.GroupMember.NON_GROUP_MEMBER or dist.get_rank(group) < 0:
        raise ValueError("this process is not in the process group; only its members can call")
    return group if group is not None else dist.group.WORLD


def wide_type(x: Tensor) -> torch.dtype:
    """The type of the memory for a tensor."""
    return {torch.float64: torch.float64, torch.complex128: torch.float64}.get(x.dtype, torch.float32)


def wide(x: Tensor) -> Tensor:
    """The real numbers of a tensor, in the type of its memory."""
    return real(x.detach()).to(wide_type(x))


def narrow(mean: Tensor, x: Tensor) -> Tensor:
    """Real numbers in the type and shape of a tensor x."""
    if x.is_complex():
        return torch.view_as_complex(mean.reshape(*x.shape, 2)).to(x.dtype)
    return mean.reshape(x.shape).to(x.dtype)
