"""Who gives a rule what its `update` takes beside s, p, g and t.

The loss needs no source: `step(loss=loss)` gives it, or the closure of `step(closure)`. Others are given as
`sources=[…]`, and one of your own is a `Source` with a method `give`.
"""

from ravine.rule.source import Source as Source
from ravine.sources.gauss_newton_bartlett import GaussNewtonBartlett as GaussNewtonBartlett
from ravine.sources.hutchinson import Hutchinson as Hutchinson
from ravine.sources.kronecker_factors import KroneckerFactors as KroneckerFactors
