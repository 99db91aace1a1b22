"""Gradient compression with error feedback: what a process could not send is kept, and sent later."""

from ravine.parallel.compress.compressor import Compressor
from ravine.parallel.compress.power_sgd import PowerSGD
from ravine.parallel.compress.sign import SignCompress
from ravine.parallel.compress.top_k import TopK

__all__ = ["Compressor", "PowerSGD", "SignCompress", "TopK"]
