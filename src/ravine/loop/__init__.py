"""Parts of a training loop that is written by hand: one step from several batches, and when to stop."""

from ravine.loop.accumulate import accumulate as accumulate
from ravine.loop.early_stopping import EarlyStopping as EarlyStopping
