"""Gradient-based optimizers for PyTorch: a page each, compiled into one pass, compared with evidence."""

from ravine import groups as groups
from ravine import mods as mods
from ravine import optim as optim
from ravine import schedules as schedules
from ravine import strategies as strategies
from ravine.catalog.create import create as create
from ravine.gradient_release import release as release
from ravine.optim import *  # noqa: F403
from ravine.optimizer import Optimizer as Optimizer
from ravine.schedules.scheduler import Scheduler as Scheduler
