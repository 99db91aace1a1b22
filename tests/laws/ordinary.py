"""Optimizers of parameters of a few ordinary shapes, alone and beside torch's of the same name."""

from cases import near, parameters

SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2)]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def pair(cls, make=parameters, **hyper):
    return cls(make(SHAPES), **hyper), cls.twin(make(SHAPES), **hyper)


def agree(a, b, tolerance=2e-6):
    for p, q in zip(of(a), of(b), strict=True):
        near(p, q, tolerance)
