"""What a worker does between the gradients that it computes and a parameter server: one algorithm, one file."""

from ravine.parallel.workers.async_diloco import AsyncDiLoCo as AsyncDiLoCo
from ravine.parallel.workers.async_elastic import AsyncElasticAveraging as AsyncElasticAveraging
from ravine.parallel.workers.downpour import Downpour as Downpour
