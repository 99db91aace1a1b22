"""Where trials run: so many processes on the CPU, or one on each device that is named."""

import os
from collections.abc import Sequence

import torch

from .errors import LabError


def devices(asked: int | str | Sequence[str] | None) -> tuple[str, ...]:
    """`--workers` as a device for each: None is a process for each core, 2 are two, "cuda:0,cuda:1" one on each GPU."""
    if isinstance(asked, str) and not asked.lstrip("-").isdigit():
        asked = [name.strip() for name in asked.split(",")]
    if asked is None or isinstance(asked, int | str):
        count = cores() if asked is None else int(asked)
        if count < 1:
            raise LabError(f"--workers {asked}: must be 1 or more")
        return ("cpu",) * count
    for name in asked:
        kind, _, index = name.partition(":")
        if kind not in ("cpu", "cuda") or not (index.isdigit() if kind == "cuda" else name == "cpu"):
            raise LabError(f"--workers {','.join(asked)}: a number of processes, or devices such as cuda:0,cuda:1")
    if len({name.partition(":")[0] for name in asked}) > 1:
        raise LabError(f"--workers {','.join(asked)}: devices of one kind, or results would depend on who ran what")
    return tuple(asked)


def check(found: Sequence[str]) -> None:
    """Says at once which of the devices this machine does not have."""
    have = torch.cuda.device_count()
    for name in found:
        kind, _, index = name.partition(":")
        if kind == "cuda" and int(index) >= have:
            raise LabError(
                f"--workers {','.join(found)}: torch sees {have or 'no'} GPU{'s' * (have != 1)} here, and no {name}"
            )


def kind(found: Sequence[str]) -> str:
    """cpu or cuda: which of them a trial ran on makes no difference to it."""
    return found[0].partition(":")[0] if found else "cpu"


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
