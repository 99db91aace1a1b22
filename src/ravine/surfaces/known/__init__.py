"""Every surface, one file each; a line here puts it before every test, and into the commands."""

from ravine.surfaces.known.absolute import Absolute
from ravine.surfaces.known.ackley import Ackley
from ravine.surfaces.known.beale import Beale
from ravine.surfaces.known.booth import Booth
from ravine.surfaces.known.bounded_saddle import BoundedSaddle
from ravine.surfaces.known.bowl import Bowl
from ravine.surfaces.known.camel import Camel
from ravine.surfaces.known.factorization import Factorization
from ravine.surfaces.known.himmelblau import Himmelblau
from ravine.surfaces.known.matrix import Matrix
from ravine.surfaces.known.monkey_saddle import MonkeySaddle
from ravine.surfaces.known.noisy_quadratic import NoisyQuadratic
from ravine.surfaces.known.plateau import Plateau
from ravine.surfaces.known.quadratic import Quadratic
from ravine.surfaces.known.rastrigin import Rastrigin
from ravine.surfaces.known.ravine import Ravine
from ravine.surfaces.known.reddi import Reddi
from ravine.surfaces.known.rosenbrock import Rosenbrock
from ravine.surfaces.known.saddle import Saddle
from ravine.surfaces.known.styblinski_tang import StyblinskiTang
from ravine.surfaces.known.two_gaussians import TwoGaussians
from ravine.surfaces.surface import Surface

EVERY: tuple[type[Surface], ...] = (
    *(Ravine, Quadratic, Bowl, Beale, Saddle, BoundedSaddle, MonkeySaddle, Rosenbrock, Himmelblau, Rastrigin, Ackley),
    *(StyblinskiTang, Booth, Camel, Plateau, TwoGaussians, Absolute, NoisyQuadratic, Reddi, Matrix, Factorization),
)
