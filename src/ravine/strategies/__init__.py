"""Optimizers that drive another: which weights it starts from, and where it is given its gradients."""

from ravine.loop.batch_norm import frozen_batch_norm as frozen_batch_norm
from ravine.loop.batch_norm import recompute_batch_norm as recompute_batch_norm
from ravine.loop.path_recorder import PathRecorder as PathRecorder
from ravine.strategies.gsam import GSAM as GSAM
from ravine.strategies.lookahead import Lookahead as Lookahead
from ravine.strategies.sam import ASAM as ASAM
from ravine.strategies.sam import SAM as SAM
from ravine.strategies.snoo import SNOO as SNOO
from ravine.strategies.strategy import Strategy as Strategy
