"""Parallel training in simulated time: the same shards and workers, on clusters that exist on paper."""

from ravine.parallel.simulate.cluster import Cluster as Cluster
from ravine.parallel.simulate.cluster import Failures as Failures
from ravine.parallel.simulate.cluster import Network as Network
from ravine.parallel.simulate.distributions import Constant as Constant
from ravine.parallel.simulate.distributions import Distribution as Distribution
from ravine.parallel.simulate.distributions import Empirical as Empirical
from ravine.parallel.simulate.distributions import Exponential as Exponential
from ravine.parallel.simulate.distributions import LogNormal as LogNormal
from ravine.parallel.simulate.distributions import Pareto as Pareto
from ravine.parallel.simulate.distributions import ShiftedExponential as ShiftedExponential
from ravine.parallel.simulate.distributions import Uniform as Uniform
from ravine.parallel.simulate.distributions import distribution as distribution
from ravine.parallel.simulate.methods import Asynchronous as Asynchronous
from ravine.parallel.simulate.methods import Synchronous as Synchronous
from ravine.parallel.simulate.predict import Prediction as Prediction
from ravine.parallel.simulate.predict import predict as predict
from ravine.parallel.simulate.problems import Problem as Problem
from ravine.parallel.simulate.problems import Quadratic as Quadratic
from ravine.parallel.simulate.problems import SparseLogistic as SparseLogistic
from ravine.parallel.simulate.problems import Training as Training
from ravine.parallel.simulate.problems import digits as digits
from ravine.parallel.simulate.run import Run as Run
from ravine.parallel.simulate.simulator import simulate as simulate
from ravine.parallel.simulate.trace import Trace as Trace
