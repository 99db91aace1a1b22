"""Changes that any rule can wear, one file each: `opt = ravine.AdamW(params, mods=[ClipNorm(1.0), EMA(0.999)])`."""

from ravine.mods.clip import ClipNorm as ClipNorm
from ravine.mods.ema import EMA as EMA
