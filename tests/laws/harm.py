"""What may be done to one tensor between two steps: harm, which is refused, and moves, which change nothing."""

import faulthandler

import torch
from cases import ALL, give, parameters, walk
from ordinary import of
from torch import nn

from ravine.mods import ClipNorm

faulthandler.enable()  # harm that is not seen ends the process
BACKENDS = ("llvm", "reference")


def shortened(x, size):
    if x.is_shared():
        raise RuntimeError("torch itself crashes where shared memory is resized")
    x.untyped_storage().resize_(size)


def freed(x):
    shortened(x, 0)


def halved(x):
    shortened(x, x.untyped_storage().nbytes() // 2)


def freed_under_an_offset(x):
    whole = torch.cat([x.data[:3], x.data])
    x.data = whole[3:]
    whole.untyped_storage().resize_(0)


def replaced(x):
    x.data = torch.zeros(10, dtype=x.dtype)


def resized(x):
    x.resize_(10)


def given_other_memory(x):
    x.set_(torch.zeros(10, dtype=x.dtype))


def larger(x):
    x.data = torch.zeros(100, 100, dtype=x.dtype)


def expanded(x):
    x.data = x.data[:1].expand(80, 80)


def as_zeros(x):
    x.data = torch._efficientzerotensor(80, 80, dtype=x.dtype)


HARM = [freed, halved, freed_under_an_offset, replaced, resized, given_other_memory, larger, expanded, as_zeros]


def cloned(x):
    x.data = x.data.clone()


def in_shared_memory(x):
    x.share_memory_()


def under_an_offset(x):
    x.data = torch.cat([x.data[:3], x.data])[3:]


def columns_first(x):
    x.data = x.data.t().contiguous().t()


def spread(x):
    x.data = torch.stack([x.data, x.data], 1)[:, 0]


def swapped(x):
    other = x.detach().clone()
    if isinstance(x, nn.Parameter):
        other = nn.Parameter(other)
        other.grad = x.grad
    torch.utils.swap_tensors(x, other)


HARMLESS = [cloned, in_shared_memory, under_an_offset, columns_first, spread, swapped]
KINDS = {
    "adam": ("adam", {}, torch.float32),
    "clipped lamb": ("lamb", {"mods": [ClipNorm(1.0)]}, torch.float32),
    "adafactor": ("adafactor", {}, torch.float32),
    "codes": ("adamw", {"storage": "int8", "master_bits": 16}, torch.bfloat16),
}


def begun(kind, backend, seed=0):
    name, hyper, dtype = KINDS[kind]
    opt = ALL[name](parameters([(80, 80), (80, 80)], seed, dtype), backend=backend, **hyper)
    walk(opt, 2)
    give(of(opt), 2)
    return opt
