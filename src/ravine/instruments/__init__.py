"""What tells whether a model and its training are right: before a run, and while it runs."""

from ravine.instruments.curvature import exact_fisher as exact_fisher
from ravine.instruments.curvature import exact_hessian as exact_hessian
from ravine.instruments.curvature import solved as solved
from ravine.instruments.findings import Finding as Finding
from ravine.instruments.gradients import GradientError as GradientError
from ravine.instruments.gradients import GradientReport as GradientReport
from ravine.instruments.gradients import check_gradients as check_gradients
from ravine.instruments.initialize import gain as gain
from ravine.instruments.initialize import initialize as initialize
from ravine.instruments.monitor import Monitor as Monitor
from ravine.instruments.noise_scale import NoiseScale as NoiseScale
from ravine.instruments.noisy_quadratic import critical_batch as critical_batch
from ravine.instruments.scale import ScaleReport as ScaleReport
from ravine.instruments.scale import check_scale as check_scale
