"""Parts of a training loop, around any optimizer: steps of several batches, when to stop, the path, batch norm."""

from ravine.loop.accumulate import accumulate as accumulate
from ravine.loop.early_stopping import EarlyStopping as EarlyStopping
from ravine.loop.qk_clip import QKClip as QKClip
