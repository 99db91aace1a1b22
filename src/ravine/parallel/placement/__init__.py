"""Where a model lives: which parameter on which shard or device, which device runs what, and the bytes between them."""

from ravine.parallel.placement.devices import ModelPlacement as ModelPlacement
from ravine.parallel.placement.devices import place_model as place_model
from ravine.parallel.placement.place import How as How
from ravine.parallel.placement.place import Piece as Piece
from ravine.parallel.placement.place import Placement as Placement
from ravine.parallel.placement.place import place as place
