"""How a parameter server steps with the gradients that arrive: optimizers like those of `ravine.optim`, for servers.

Some take inputs that only a server knows: `meanwhile`, the sum of the gradients applied since the worker read;
`read`, the parameters as the worker read them. Any other optimizer can be a server's rule, too.
"""

from ravine.parallel.rules.adaptive_revision import AdaptiveRevision as AdaptiveRevision
from ravine.parallel.rules.async_adagrad import AsyncAdaGrad as AsyncAdaGrad
from ravine.parallel.rules.dc_asgd import DCASGD as DCASGD
from ravine.parallel.rules.delayed_nesterov import DelayedNesterov as DelayedNesterov
from ravine.parallel.rules.dual_averaging_adagrad import DualAveragingAdaGrad as DualAveragingAdaGrad
from ravine.parallel.rules.elastic_center import ElasticCenter as ElasticCenter
