"""Adam-mini beside the authors' package, which tells its blocks by the parameters' names."""

from adam_mini import Adam_mini
from trajectory import SHAPES, Case

HYPER = {"lr": 3e-3, "betas": (0.85, 0.97), "eps": 1e-6, "weight_decay": 0.2}
FREE = HYPER | {"weight_decay": 0.0}
MATRICES = ((6, 4), (5,), (3, 7))


def named(*names, **hyper):
    """Their optimizer over parameters that are called so."""
    return lambda params: Adam_mini(zip(names, params, strict=True), verbose=False, **hyper)


CASES = [
    Case(
        "AdamMini",
        "adam-mini 1.1.1",
        HYPER,
        named("mlp.weight", "scale", "wte.weight", **HYPER),
        shapes=MATRICES,
        note="a matrix of an MLP, a vector that is no bias, an embedding: their blocks are ours",
    ),
    Case(
        "AdamMini",
        "adam-mini 1.1.1",
        HYPER | {"partition": "tensor"},
        named("a", "b", "c", **HYPER),
        shapes=SHAPES,
        note="names that tell it nothing",
    ),
    Case(
        "AdamMini",
        "adam-mini 1.1.1",
        FREE | {"partition": "element"},
        named("a.bias", "b.bias", "c.bias", **FREE),
        shapes=SHAPES,
        note="biases, which theirs never decays",
    ),
]
