"""Which sample comes next: shuffling that resumes at the exact sample, and curricula."""

from ravine.data import difficulty as difficulty
from ravine.data import pacing as pacing
from ravine.data.curriculum import Curriculum as Curriculum
from ravine.data.mixed import Mixed as Mixed
from ravine.data.shuffle import Shuffle as Shuffle
