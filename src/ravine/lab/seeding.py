"""One seed for all the random numbers a person's task may draw: torch's, numpy's and Python's own."""

import random

import numpy
import torch

from ravine.cli.answer import Whole

SEEDS = Whole(0, 2**32 - 1)  # what numpy takes


def seed_all(seed: int) -> None:
    """Begins all three again."""
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
