"""What tells whether a model and its training are right: looked at from outside, in a line each."""

from ravine.instruments.gradients import GradientError as GradientError
from ravine.instruments.gradients import GradientReport as GradientReport
from ravine.instruments.gradients import check_gradients as check_gradients
from ravine.instruments.initialize import gain as gain
from ravine.instruments.initialize import initialize as initialize
from ravine.instruments.scale import ScaleReport as ScaleReport
from ravine.instruments.scale import check_scale as check_scale
