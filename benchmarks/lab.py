"""Does the lab cost anything? Its trials against a bare PyTorch loop, two workers against one, and against Keras.

    RAVINE_DATA=FOLDER python benchmarks/lab.py     minutes on 2 cores: benchmarks/results/lab-cpu.json

FOLDER holds fashion-mnist/; without it the files are downloaded. All of it trains the network of the classic preset,
784-300-100-10 on Fashion-MNIST at batch 32, one thread a process.

overhead    a trial in a worker against the same steps and evaluations written by hand, which take turns; starting the
            worker is told apart
two workers the same jobs on two workers against one, starting excluded
classic     `ravine compare --preset classic`: SGD, NAdam and RMSprop with two workers, measured over fewer epochs and
            counted up to fifteen, against Keras after one another
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from bench import Record, arguments
from torch import nn

from ravine.lab.processes import Processes
