"""Optimizers of parameters of a few ordinary shapes: beside torch's of the same name, saved, copied, counted."""

import io

import torch
from cases import near, parameters

SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2)]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def pair(cls, make=parameters, **hyper):
    return cls(make(SHAPES), **hyper), cls.twin(make(SHAPES), **hyper)


def agree(a, b, tolerance=2e-6):
    for p, q in zip(of(a), of(b), strict=True):
        near(p, q, tolerance)


def saved(opt):
    """A state_dict that has been through a file."""
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def copied(params):
    return [torch.nn.Parameter(p.detach().clone()) for p in params]


def count_of_programs(opt, more=()):
    """How many programs a group has: two for a rule that asks which are vectors, three if it asks for kernels too."""
    tensors = [*more, *(p for group in opt.param_groups for p in group["params"])]
    return len({id(opt.compiled(opt.param_groups[0], p)) for p in tensors})
