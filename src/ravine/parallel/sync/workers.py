"""The workers that train together: how many they are, and means over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from ravine.compile.geometry import real
from ravine.saved import told

MANAGER = ("allreduce", "start_quorum", "should_commit", "num_participants")  # what torchft's Manager is known by


class Workers:
    """The processes of a group, or this one alone.

    process_group: a ProcessGroup, a DeviceMesh of one dimension, or torchft's Manager or ManagedProcessGroup. None: the
        default group, or this process alone where no group is initialized. False: this process alone.

    `sent_bytes` counts the bytes that this process has handed to collectives. These are all-reduce and broadcast;
    under torchft all-reduce only.
    """

    def __init__(self, who: str, process_group: Any = None):
        self.who, self.apart = who, process_group is False
        self.manager, self.group = found(who, process_group)
        self.sent_bytes = 0

    @property
    def size(self) -> int:
        """How many workers there are; under torchft those of the present quorum."""
        if self.manager is not None:
            return max(1, self.manager.num_participants())
        return 1 if self.group is None else self.group.size()

    @property
    def rank(self) -> int:
        """Which of them this is."""
        return 0 if self.group is None else self.group.rank()

    def gather(self) -> None:
        """Before an exchange: torchft finds out who is there, and a worker that has come back is healed here."""
        if self.manager is not None:
            self.manager.start_quorum()

    def agreed(self) -> bool:
        """After an exchange: False where torchft has lost a worker on the way, and what came is not to be used."""
        return self.manager is None or self.manager.should_commit()

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The means of tensors over the workers, equal on all of them bit for bit; the tensors stay as they are."""
        return self.begin_mean(tensors).wait()

    def begin_mean(self, tensors: Sequence[Tensor]) -> Sent:
        """Begin to take means. One buffer, and one all-reduce, for all tensors of a type."""
        if self.group is None and self.manager is None:
            return Sent(self, [x.detach().clone() for x in tensors], [])
        parts: dict[Any, list[int]] = {}
        for i, x in enumerate(tensors):
            parts.setdefault((x.device, real(x).dtype), []).append(i)
        out = [torch.empty_like(x) for x in tensors]
        buffers = list[tuple[Tensor, list[int], Any]]()
        for places in parts.values():
            flat = torch.cat([real(tensors[i].detach()).flatten() for i in places])
            if flat.numel():
                buffers.append((flat, places, self.reduce(flat)))
        return Sent(self, out, buffers)

    def reduce(self, flat: Tensor) -> Any:
        """Begin to add a buffer up over the workers; under torchft, to take its mean."""
        self.sent_bytes += flat.numel() * flat.element_size()
        if self.manager is not None:
            return self.manager.allreduce(flat)
        how = dist.AllreduceOptions()
        how.reduceOp = dist.ReduceOp(dist.ReduceOp.SUM)
        return self.say(lambda: self.group.allreduce([flat], how))

    def largest(self, numbers: Sequence[int], device: torch.device) -> list[int]:
        """The largest of each whole number over the workers; the device is one that the group serves."""
        x = torch.tensor(numbers, dtype=torch.int64, device=device)
        how = dist.AllreduceOptions()
        how.reduceOp = dist.ReduceOp(dist.ReduceOp.MAX)
        self.sent_bytes += x.numel() * x.element_size()
        self.say(lambda: self.group.allreduce([x], how).wait())
        return x.tolist()

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Write the first worker's tensors into those of all others."""
        for x in tensors:
            flat = real(x.detach()).contiguous()
            how = dist.BroadcastOptions()
            how.rootRank = 0
            self.sent_bytes += flat.numel() * flat.element_size() if self.rank == 0 else 0
            if flat.numel():
                self.say(lambda flat=flat, how=how: self.group.broadcast([flat], how).wait())
            if self.rank:
                real(x.detach()).copy_(flat)

    @property
    def compare(self) -> bool:
        """True where workers can be asked whether they agree: not alone, and not under torchft, which heals instead."""
        return self.manager is None and self.group is not None and self.group.size() > 1

    def say(self, call: Callable[[], Any]) -> Any:
        """The call, whose failure says what it was for."""
        try:
            return call()
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.who}: an exchange of {self.size} workers failed, so one of them has stopped, hangs or is out "
                f"of step; the weights here are as they were before it. Start again from a checkpoint. ({error})"
            ) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.twin(self.__dict__)  # of the same group: a group cannot be copied

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: self.__dict__[k] for k in ("who", "apart", "sent_bytes")
        }  # a group cannot be saved: see __setstate__

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self.manager, self.group = found(self.who, False if self.apart else None)

    def twin(self, fields: Mapping[str, Any]) -> Self:
        """Another with these fields."""
        out = object.__new__(type(self))
        out.__dict__.update(fields)
        return out


class Sent:
    """Means that are under way."""

    def __init__(self, workers: Workers, out: list[Tensor], buffers: list[tuple[Tensor, list[int], Any]]):
        self.workers, self.out, self.buffers = workers, out, buffers

    def wait(self) -> list[Tensor]:
        """The means, when they are there. May be asked for again."""
        managed = self.workers.manager is not None
        while self.buffers:
            flat, places, work = self.buffers[-1]
            self.workers.say(work.wait)
            mean, at = flat if managed else flat / self.workers.size, 0
            for i in places:
                part = real(self.out[i])
                part.copy_(mean[at : at + part.numel()].view(part.shape))
                at += part.numel()
            self.buffers.pop()
        return self.out


def found(who: str, given: Any) -> tuple[Any, Any]:
    """torchft's manager and the group of what was given, of which one or both are None; or an error."""
    if given is False:
        return None, None
    if given is None:
        if dist.is_available() and dist.is_initialized():
            return None, dist.group.WORLD
        if (world := os.environ.get("WORLD_SIZE", "1")) not in ("", "1"):  # torchrun's: to train apart would be silent
            raise RuntimeError(
                f"{who}: {world} processes were started (WORLD_SIZE={world}) and no process group is initialized: call "
                "torch.distributed.init_process_group() before, or give process_group=False where each trains alone"
            )
        return None, None
    if not dist.is_available():
        raise RuntimeError(f"{who}: torch is built without torch.distributed, so process_group must be None")
    if all(hasattr(given, name) for name in MANAGER):
        return given, None
    if isinstance(given, DeviceMesh):
        if given.ndim != 1:
            names = given.mesh_dim_names or tuple(range(given.ndim))
            raise ValueError(
                f"{who}: process_group is a DeviceMesh of {given.ndim} dimensions, {names}; give the one over which "
                f"workers differ, as in mesh[{names[0]!r}]"
            )
        return None, given.get_group()
    if isinstance(given, dist.ProcessGroup):
        manager = getattr(given, "_manager", None)  # of torchft's ManagedProcessGroup: only it knows who is there
        return (manager, None) if manager is not None else (None, given)
    if isinstance(given, int) and given == dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError(f"{who}: this process is not in the process_group; make the optimizer in its members only")
    raise TypeError(
        f"{who}: process_group is {told(given)}; it must be a ProcessGroup, a DeviceMesh of one dimension, torchft's "
        "Manager, None for the default group, or False for this process alone"
    )
