"""torch's optimizer outside, a traced rule inside: groups and states, and how they become a step."""

from ravine.compile.block import Block as Block
from ravine.compile.block import Flat as Flat
from ravine.optimizer.optimizer import Optimizer as Optimizer
from ravine.optimizer.optimizer import Pair as Pair
from ravine.optimizer.optimizer import Triple as Triple
from ravine.optimizer.routed import Routed as Routed
