"""Changes that any rule can wear, one file each: `opt = ravine.AdamW(params, mods=[ClipNorm(1.0), EMA(0.999)])`.

Those that change the gradient (clipping, `AGC`, `Centralize`, `GradientNoise`, `GradientAveraging`) come before the
rule, those that change its step (`Cautious`, `Grams`, `DecoupledDecay`, `L1`) or watch it (`EMA`, `Averaging`) after
it; among themselves each acts on what the one before it in the list has made. A group may have mods of its own:
`{"params": biases, "mods": []}`. Rows are those of a tensor as a matrix of its first size by all others; under a rule
that sees batches of matrices, such as Adafactor, those of its last two.
"""

from ravine.mods.agc import AGC as AGC
from ravine.mods.averaging import Averaging as Averaging
from ravine.mods.cautious import Cautious as Cautious
from ravine.mods.centralize import Centralize as Centralize
from ravine.mods.clip import ClipNorm as ClipNorm
from ravine.mods.clip import ClipTensorNorm as ClipTensorNorm
from ravine.mods.clip import ClipValue as ClipValue
from ravine.mods.decoupled_decay import DecoupledDecay as DecoupledDecay
from ravine.mods.ema import EMA as EMA
from ravine.mods.gradient_averaging import GradientAveraging as GradientAveraging
from ravine.mods.gradient_noise import GradientNoise as GradientNoise
from ravine.mods.grams import Grams as Grams
from ravine.mods.l1 import L1 as L1
