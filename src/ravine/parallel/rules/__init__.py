"""What a parameter server does with what arrives: rules as those of `ravine.optim`, one paper, one file.

They are optimizers, and take what only a server knows as inputs of `update`: `meanwhile`, the sum of the gradients
applied since the worker read; `read`, the parameters as it read them. Any other optimizer is a server's rule, too.
"""

from ravine.parallel.rules.adaptive_revision import AdaptiveRevision as AdaptiveRevision
from ravine.parallel.rules.async_adagrad import AsyncAdaGrad as AsyncAdaGrad
from ravine.parallel.rules.dc_asgd import DCASGD as DCASGD
from ravine.parallel.rules.delayed_nesterov import DelayedNesterov as DelayedNesterov
from ravine.parallel.rules.dual_averaging_adagrad import DualAveragingAdaGrad as DualAveragingAdaGrad
from ravine.parallel.rules.elastic_center import ElasticCenter as ElasticCenter
