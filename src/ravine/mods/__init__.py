"""Modifiers change any rule, one file each: `opt = ravine.AdamW(params, mods=[ClipNorm(1.0), EMA(0.999)])`.

Modifiers of the gradient (clipping, `AGC`, `Centralize`, `GradientNoise`, `GradientAveraging`) act before the rule;
modifiers of its step (`Cautious`, `Grams`, `UpdateFloor`), of the weights (`DecoupledDecay`, `CautiousDecay`, `L1`,
`Hyperball`, `RadialBrake`), averages (`EMA`, `Averaging`) and those that train at a point ahead (`EMANesterov`, `GPA`)
act after it. Within each kind they act in the order of the list, each on the result of the one before. A group may have
modifiers of its own: `{"params": biases, "mods": []}`. "Rows" are the rows of a tensor seen as a matrix, its first
dimension by all others; under a rule that works on batches of matrices, such as Adafactor, of its last two dimensions.
"""

from ravine.mods.agc import AGC as AGC
from ravine.mods.averaging import Averaging as Averaging
from ravine.mods.cautious import Cautious as Cautious
from ravine.mods.cautious_decay import CautiousDecay as CautiousDecay
from ravine.mods.centralize import Centralize as Centralize
from ravine.mods.clip import ClipNorm as ClipNorm
from ravine.mods.clip import ClipTensorNorm as ClipTensorNorm
from ravine.mods.clip import ClipValue as ClipValue
from ravine.mods.decoupled_decay import DecoupledDecay as DecoupledDecay
from ravine.mods.ema import EMA as EMA
from ravine.mods.ema_nesterov import EMANesterov as EMANesterov
from ravine.mods.gpa import GPA as GPA
from ravine.mods.gradient_averaging import GradientAveraging as GradientAveraging
from ravine.mods.gradient_noise import GradientNoise as GradientNoise
from ravine.mods.grams import Grams as Grams
from ravine.mods.hyperball import Hyperball as Hyperball
from ravine.mods.l1 import L1 as L1
from ravine.mods.radial_brake import RadialBrake as RadialBrake
from ravine.mods.update_floor import UpdateFloor as UpdateFloor
