"""All tensors as one vector, and back: for papers whose numbers belong to all of them."""

import torch


def flat(tensors):
    return torch.cat([x.flatten() for x in tensors])


def unflat(vector, shapes):
    parts = vector.split([shape.numel() for shape in shapes])
    return [x.reshape(shape) for x, shape in zip(parts, shapes, strict=True)]
