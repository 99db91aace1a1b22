"""Functions of matrices and of stacks of them (…, r, c), in torch, that rules share; some are words of rules."""

from ravine.matrix.eigen import basis as basis
from ravine.matrix.eigen import eigh as eigh
from ravine.matrix.eigen import follow as follow
from ravine.matrix.newton_schulz import Polynomials as Polynomials
from ravine.matrix.newton_schulz import newton_schulz as newton_schulz
from ravine.matrix.newton_schulz import orthogonal as orthogonal
from ravine.matrix.roots import inverse_root as inverse_root
from ravine.matrix.subspaces import Projection as Projection
from ravine.matrix.subspaces import low_rank as low_rank
from ravine.matrix.subspaces import sides as sides
from ravine.matrix.subspaces import subspace as subspace
from ravine.matrix.subspaces import whole_and_positive as whole_and_positive
from ravine.matrix.whitening import fitted as fitted
from ravine.matrix.whitening import whitened as whitened
