"""Numbers as functions of the step: what the rate, the momentum or any other hyperparameter is to be.

schedule    what a schedule is; times, then, between
steps, decay, annealing, warmup, cyclical, one_cycle, wsd, plateau      the schedules, a family a file
scheduler   a torch LRScheduler that sets any hyperparameter by them
by_name     a schedule by its name, made for a run
scaling     rates for larger batches
cli         `ravine schedule`
"""

from ravine.schedules import scaling as scaling
from ravine.schedules.annealing import Cosine as Cosine
from ravine.schedules.annealing import Linear as Linear
from ravine.schedules.annealing import Polynomial as Polynomial
from ravine.schedules.annealing import WarmRestarts as WarmRestarts
from ravine.schedules.by_name import create as create
from ravine.schedules.by_name import find as find
from ravine.schedules.by_name import names as names
from ravine.schedules.cyclical import ExpRange as ExpRange
from ravine.schedules.cyclical import Triangular as Triangular
from ravine.schedules.cyclical import Triangular2 as Triangular2
from ravine.schedules.decay import Exponential as Exponential
from ravine.schedules.decay import InverseSqrt as InverseSqrt
from ravine.schedules.decay import InverseTime as InverseTime
from ravine.schedules.one_cycle import OneCycle as OneCycle
from ravine.schedules.one_cycle import Points as Points
from ravine.schedules.plateau import Plateau as Plateau
from ravine.schedules.schedule import Constant as Constant
from ravine.schedules.schedule import Schedule as Schedule
from ravine.schedules.scheduler import Scheduler as Scheduler
from ravine.schedules.steps import MultiStep as MultiStep
from ravine.schedules.steps import Step as Step
from ravine.schedules.warmup import ExponentialWarmup as ExponentialWarmup
from ravine.schedules.warmup import UntunedWarmup as UntunedWarmup
from ravine.schedules.warmup import Warmup as Warmup
from ravine.schedules.wsd import WSD as WSD
