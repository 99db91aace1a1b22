"""Loss surfaces of two numbers, and the paths of optimizers down them. An extra: it needs numpy, pictures matplotlib.

surface        what a surface is
known          every one, one file each
find           a surface by its name
path           runs in lock-step, each as a training loop by hand makes it
crew, tape     whose rows move together; autograd's operations, played again
entrants       optimizers by their names, with settings
rates          the same for all, the defaults, or tuned on the surface
race           a picture or a film of several
maps, lessons  what many runs say; the pictures of textbooks
observations   what the literature says of its two animations, measured
plane          of a real network: through its training paths, by their principal directions
pictures       plots of formulas, measured
"""

from ravine.surfaces.find import NAMES, find
from ravine.surfaces.path import Path, Run, descend
from ravine.surfaces.plane import Plane
from ravine.surfaces.surface import Surface

__all__ = ["NAMES", "Path", "Plane", "Run", "Surface", "descend", "find"]
