"""Where trials run: so many processes on the CPU, or one on each device that is named."""

import os
import re
from collections.abc import Sequence

import torch

from ravine.cli.answer import Whole

from ..errors import LabError

WORKERS = Whole(1, 1024)


def devices(workers: int | str | None) -> tuple[str, ...]:
    """`--workers` as a device for each: None is a process for each core, 2 are two, "cuda:0,cuda:1" one on each GPU."""
    typed = str(cores() if workers is None else workers)
    if re.fullmatch(r"[+-]?\d{1,40}", typed, re.ASCII):
        WORKERS.check("--workers", int(typed))
        return ("cpu",) * int(typed)
    found = tuple(name.strip() for name in typed.split(","))
    if not all(re.fullmatch(r"cpu|cuda:\d{1,4}", name, re.ASCII) for name in found):
        raise LabError(f"--workers {typed:.60}: a number of processes, or devices such as cuda:0,cuda:1")
    if len({kind([name]) for name in found}) > 1:
        raise LabError(f"--workers {typed}: devices of one kind, or results would depend on who ran what")
    return found


def check(found: Sequence[str]) -> None:
    """Says at once which of the devices this machine does not have."""
    have = torch.cuda.device_count()
    for name in found:
        if name != "cpu" and int(name.removeprefix("cuda:")) >= have:
            sees = "no GPU" if not have else f"{have} GPU{'s' * (have > 1)}"
            raise LabError(f"--workers {','.join(found)}: there is no {name} here, torch sees {sees}")


def kind(found: Sequence[str]) -> str:
    """cpu or cuda: which of them a trial ran on makes no difference to it."""
    return found[0].partition(":")[0]


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
