"""Training on several processes: with local steps, with a parameter server, lock-free, and simulated."""

from ravine.parallel.compress import PowerSGD as PowerSGD
from ravine.parallel.compress import SignCompress as SignCompress
from ravine.parallel.compress import TopK as TopK
from ravine.parallel.placement import ModelPlacement as ModelPlacement
from ravine.parallel.placement import Placement as Placement
from ravine.parallel.placement import place as place
from ravine.parallel.placement import place_model as place_model
from ravine.parallel.rules import DCASGD as DCASGD
from ravine.parallel.rules import AdaptiveRevision as AdaptiveRevision
from ravine.parallel.rules import AsyncAdaGrad as AsyncAdaGrad
from ravine.parallel.rules import DelayedNesterov as DelayedNesterov
from ravine.parallel.rules import DualAveragingAdaGrad as DualAveragingAdaGrad
from ravine.parallel.rules import ElasticCenter as ElasticCenter
from ravine.parallel.server.admit import Buffer as Buffer
from ravine.parallel.server.admit import ClipNorm as ClipNorm
from ravine.parallel.server.admit import Finite as Finite
from ravine.parallel.server.admit import ImportanceWeight as ImportanceWeight
from ravine.parallel.server.admit import MaxStaleness as MaxStaleness
from ravine.parallel.server.admit import StalenessLR as StalenessLR
from ravine.parallel.server.parameter_server import ParameterServer as ParameterServer
from ravine.parallel.sync.diloco import DiLoCo as DiLoCo
from ravine.parallel.sync.elastic_averaging import ElasticAveraging as ElasticAveraging
from ravine.parallel.sync.local_sgd import LocalSGD as LocalSGD
from ravine.parallel.workers import AsyncDiLoCo as AsyncDiLoCo
from ravine.parallel.workers import AsyncElasticAveraging as AsyncElasticAveraging
from ravine.parallel.workers import Downpour as Downpour
