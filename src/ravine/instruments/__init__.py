"""What tells whether a model and its training are right: looked at from outside, in a line each."""

from ravine.instruments.gradients import GradientError as GradientError
from ravine.instruments.gradients import GradientReport as GradientReport
from ravine.instruments.gradients import check_gradients as check_gradients
