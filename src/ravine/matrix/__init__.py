"""Functions of matrices and of stacks of them (…, r, c), in torch; some are words of rules too."""

from ravine.matrix.eigen import basis as basis
from ravine.matrix.eigen import eigh as eigh
from ravine.matrix.eigen import follow as follow
from ravine.matrix.roots import inverse_root as inverse_root
