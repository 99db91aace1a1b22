"""Gradient-based optimizers for PyTorch: a page each, compiled into one pass, compared with evidence."""

from ravine import optim as optim
from ravine.optim import *  # noqa: F403
from ravine.optimizer import Optimizer as Optimizer
