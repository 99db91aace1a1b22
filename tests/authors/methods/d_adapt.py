"""D-Adaptation beside its authors' package."""

import dadaptation
from trajectory import Case

AT = "dadaptation 3.2"
SGD = {"lr": 1.0, "d0": 1e-2}
ADAM = {"lr": 1.0, "d0": 1e-3, "betas": (0.85, 0.97)}
HELD = {"lr": 1.5, "growth_rate": 1.05}


def scaled(params, hyper):
    """Their layer_scale is a key of groups only."""
    hyper = dict(hyper)
    group = {"params": params, "layer_scale": hyper.pop("layer_scale", 1.0)}
    return dadaptation.DAdaptAdam([group], **hyper)


def sgd(hyper):
    return Case("DAdaptSGD", AT, hyper, lambda params: dadaptation.DAdaptSGD(params, **hyper))


def adam(hyper):
    return Case("DAdaptAdam", AT, hyper, lambda params: scaled(params, hyper))


CASES = [
    sgd({"lr": 1.0}),
    sgd(SGD),
    sgd(SGD | {"momentum": 0.8, "weight_decay": 0.05}),
    sgd(SGD | {"momentum": 0.8} | HELD),
    adam({"lr": 1.0}),
    adam(ADAM | {"weight_decay": 0.05, "eps": 1e-6}),
    adam(ADAM | {"weight_decay": 0.05, "decouple": True, "layer_scale": 1.7}),
    adam(ADAM | {"use_bias_correction": True} | HELD),
]
