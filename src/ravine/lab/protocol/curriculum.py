"""In which order a trial meets its rows: shuffled, or by their difficulty.

| name | the rows of an epoch, as many as there are |
|---|---|
| none | all once, shuffled |
| baseline | of the highest level alone |
| naive | of the current level alone, which rises evenly and is the highest from the middle of the run on |
| mixed | of all levels, each as often |
| combined | four of five as naive, the fifth as mixed |

All but the first draw with replacement. Zaremba & Sutskever 2014, section 4    https://arxiv.org/abs/1410.4615
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ravine.data import Mixed, pacing

from ..errors import LabError
from ..tasks import Data, Task

CURRICULA = ("none", "baseline", "naive", "mixed", "combined")
Order = Callable[[int], Tensor]  # from the epoch to the numbers of its rows


def check(name: str, task: Task) -> None:
    """One clear error for a curriculum that this task cannot have."""
    if name not in CURRICULA:
        raise LabError(f"--curriculum {name}: known are {', '.join(CURRICULA)}")
    if name != "none" and task.difficulty is None:
        raise LabError(f"--curriculum {name}: task '{task.name}' does not say how difficult its rows are. Give it "
                       "difficulty=, a function of its data that returns the level of each training row")  # fmt: skip


def order(name: str, task: Task, data: Data, epochs: int, seed: int) -> Order:
    """The order of each epoch of a run of so many; to be asked for one after another."""
    check(name, task)
    if name == "none" or task.difficulty is None:
        generator = torch.Generator().manual_seed(seed)
        return lambda epoch: torch.randperm(data.rows, generator=generator)
    levels = task.difficulty(data)
    if levels.shape != (data.rows,):
        raise LabError(f"task '{task.name}': difficulty(data) must return one number for each of the {data.rows:,} "
                       f"training rows, and returned a tensor of shape {tuple(levels.shape)}")  # fmt: skip
    rising = pacing.linear(over=epochs / 2, start=1e-9)
    pace = {"baseline": lambda t: 1.0, "mixed": None}.get(name, rising)
    mixed = 0.2 if name == "combined" else 0.0
    return Mixed(levels, pace, mixed=mixed, seed=1_000_003 * seed).order  # it adds the epoch to its seed
