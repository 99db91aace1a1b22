"""What users see as `ravine.NAME`, name by name."""

from ravine import blocks as blocks
from ravine import data as data
from ravine import groups as groups
from ravine import instruments as instruments
from ravine import loop as loop
from ravine import mods as mods
from ravine import optim as optim
from ravine import parallel as parallel
from ravine import schedules as schedules
from ravine import sources as sources
from ravine import strategies as strategies
from ravine import testing as testing
from ravine.catalog.create import create as create
from ravine.catalog.functional import functional as functional
from ravine.instruments import Monitor as Monitor
from ravine.instruments import NoiseScale as NoiseScale
from ravine.instruments import check_gradients as check_gradients
from ravine.optim import *  # noqa: F403
from ravine.optimizer import Optimizer as Optimizer
from ravine.optimizer import Routed as Routed
from ravine.optimizer.release import release as release
from ravine.schedules.scheduler import Scheduler as Scheduler
