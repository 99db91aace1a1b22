"""The lab: which optimizer for this task? Equal tuning for each, seeds, records that survive, and a report."""

from .errors import LabError
from .protocol.range_test import find_lr
from .protocol.suggestion import RangeTest
from .tasks import Task

__all__ = ["LabError", "RangeTest", "Task", "find_lr"]
